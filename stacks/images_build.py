"""Pulls and builds images with the Docker SDK's classic builder (dockerd 20.10 and later).

Everything here talks to the Docker daemon; ``images`` decides what is needed.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from stacks import paths
from stacks.errors import CrmError
from stacks.images_debian import LOG, Report, debian_mirror, debootstrap, last_error
from stacks.images_recipes import (
    LABEL_PRODUCTION,
    LABEL_RECIPE,
    PYTHON,
    Recipe,
    base_name,
    dockerfile,
    service_name,
)

if TYPE_CHECKING:
    from docker import DockerClient

PROBE_SECONDS = 10
SILENCE_SECONDS = 600
"""How long a pull or a build may say nothing before it counts as stuck."""

_unreachable: set[str] = set()
"""Registries that did not answer in this run: asked once, not once an image."""


@contextlib.contextmanager
def docker_client(timeout: int = SILENCE_SECONDS) -> "Iterator[DockerClient]":
    """A client of the daemon that ``DOCKER_HOST`` or the usual socket names, checked to answer."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=timeout)
    except DockerException as error:
        raise CrmError(
            f"Docker does not answer ({reason_of(error)}); start its daemon, "
            "or run `make up`, which installs and starts it on Debian"
        ) from None
    try:
        yield client
    finally:
        client.close()


def local_names(client: "DockerClient") -> frozenset[str]:
    """Every name (tags and digests) an image has on this machine, as ``docker images`` shows it."""
    # Not `images.list()`, which asks for each again and fails if it was removed meanwhile.
    return frozenset(
        name
        for image in client.api.images()
        for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ()))
        if "<none>" not in name
    )


@contextlib.contextmanager
def lock(report: Report) -> Iterator[None]:
    """One builder at a time in this checkout; the others wait and then find the work done."""
    try:
        paths.LOCAL.mkdir(mode=0o700, exist_ok=True)
        # Opened for reading, so that a lock file left by root still locks for everybody.
        file = os.open(paths.LOCAL / "images.lock", os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("another process is making images in this checkout; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            sweep()
            yield
        finally:
            os.close(file)
    except PermissionError as error:
        raise CrmError(
            f"{error.filename}: not writable for this user, perhaps since a run with sudo; "
            f"give it back with: sudo chown -R $(id -u) {paths.LOCAL}"
        ) from None


def sweep() -> None:
    """Remove what killed runs left half-made; only the holder of the lock makes any of it."""
    table = Path("/proc/self/mounts")
    mounts = table.read_text(encoding="utf-8") if table.exists() else ""
    for folder in (paths.CACHE, paths.CACHE / "wheels"):
        for path in folder.glob("tmp-*"):
            # Where namespaces are refused, debootstrap's mounts outlive it: /dev may be below.
            if str(path) not in mounts:
                shutil.rmtree(path, ignore_errors=True)


def pull(client: "DockerClient", reference: str, report: Report) -> str | None:
    """Pull the image; None when it is here, else why it could not be had, as half a sentence.

    The daemon is asked about the registry first, with a short time limit, so that a machine
    without a registry loses seconds and not minutes. Raises CrmError when the registry answers
    that there is no such image: a mistyped tag must not quietly become something else.
    """
    from docker.errors import APIError, NotFound
    from requests.exceptions import RequestException

    registry = registry_of(reference)
    if registry in _unreachable:
        return f"{registry} does not answer"
    started = time.monotonic()
    try:
        with docker_client(PROBE_SECONDS) as probe:
            probe.images.get_registry_data(reference)
    except NotFound as error:
        raise CrmError(
            f"image {reference}: {registry} does not have it ({reason_of(error)}); "
            "name one that exists under `images` in the stack file"
        ) from None
    except (APIError, RequestException) as error:
        if isinstance(error, APIError) and not error.is_server_error():
            return f"{registry} says: {reason_of(error)}"
        _unreachable.add(registry)
        return f"{registry} does not answer: {reason_of(error)}"
    report(f"pulling {reference} from {registry}")
    try:
        for event in client.api.pull(reference, stream=True, decode=True):
            if "error" in event:
                return f"{registry} says: {event['error']}"
    except (APIError, RequestException) as error:
        return f"{registry} stopped answering: {reason_of(error)}"
    report(f"pulled {reference} in {time.monotonic() - started:.0f} s")
    return None


def registry_of(reference: str) -> str:
    """The host a reference is pulled from: Docker Hub unless its first part looks like a host."""
    first, slash, _ = reference.partition("/")
    return (
        first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
    )


def build_base(client: "DockerClient", report: Report) -> str:
    """The Debian base every equivalent stands on: debootstrap's minbase, imported. About a minute.

    Its tarball is kept in ``.crm/cache``, so that a second import takes a second.
    """
    name = base_name()
    repository, _, tag = name.partition(":")
    tarball = paths.CACHE / f"debian-{tag}.tar.gz"
    started = time.monotonic()
    if not tarball.exists():
        debootstrap(tarball, report)
    labels = {LABEL_PRODUCTION: "false", LABEL_RECIPE: tag}
    changes = [f"LABEL {key}={value}" for key, value in labels.items()]
    client.api.import_image_from_file(str(tarball), repository, tag, [*changes, 'CMD ["sh"]'])
    report(f"made {name} in {time.monotonic() - started:.0f} s")
    return name


def build_service(client: "DockerClient", recipe: Recipe, base: str, report: Report) -> str:
    """Build a service's equivalent on ``base``, which must be present."""
    name = service_name(recipe)
    labels = {LABEL_PRODUCTION: "false", LABEL_RECIPE: name.partition(":")[2]}
    arguments = {"BASE": base, "MIRROR": debian_mirror()}
    context = [("Dockerfile", dockerfile(recipe).encode())]
    build(client, name, context, arguments, labels, report)
    return name


def build_app(
    client: "DockerClient",
    name: str,
    base: str,
    files: Iterable[tuple[str, bytes]],
    report: Report,
) -> str:
    """Build the app's image on ``base``; wheels come from the host, which can reach an index."""
    context = list(files)
    requirements = dict(context)["requirements.txt"]
    folder = wheels(requirements, report)
    context += [(f"wheels/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]
    labels = {LABEL_RECIPE: name.partition(":")[2]}
    build(client, name, context, {"BASE": base}, labels, report)
    return name


def build(
    client: "DockerClient",
    name: str,
    context: Iterable[tuple[str, bytes]],
    arguments: dict[str, str],
    labels: dict[str, str],
    report: Report,
) -> None:
    """Build ``context`` (path → content, a Dockerfile among them) and tag it ``name``.

    The whole output goes to ``.crm/images.log``. The host's proxy settings reach the build as
    Docker's predefined arguments, which no layer and no history keeps.
    """
    from docker.errors import APIError
    from requests.exceptions import RequestException

    started = time.monotonic()
    report(f"building {name}")
    proxies = {key: os.environ[key] for key in _PROXIES if key in os.environ}
    failure = None
    LOG.unlink(missing_ok=True)
    with context_tar(context) as tar, LOG.open("w", encoding="utf-8") as log:
        try:
            for event in client.api.build(
                fileobj=tar,
                custom_context=True,
                tag=name,
                buildargs=arguments | proxies,
                labels=labels,
                rm=True,
                forcerm=True,
                decode=True,
            ):
                log.write(event.get("stream") or event.get("error") or "")
                failure = event.get("error") or failure
        except (APIError, RequestException) as error:
            failure = reason_of(error)
    if failure is not None:
        detail = last_error(LOG.read_text(encoding="utf-8")) or failure
        raise CrmError(
            f"image {name}: its build failed: {detail}; the whole output is in "
            f"{LOG.relative_to(paths.ROOT)}. Containers must reach the Debian mirror "
            f"{debian_mirror()}; CRM_DEBIAN_MIRROR=<url> names another one"
        )
    report(f"built {name} in {time.monotonic() - started:.0f} s")


_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@contextlib.contextmanager
def context_tar(context: Iterable[tuple[str, bytes]]) -> Iterator[IO[bytes]]:
    """A build context whose bytes depend on the content alone, so that the build cache holds."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, content in sorted(context):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
        file.seek(0)
        yield file


def wheels(requirements: bytes, report: Report) -> Path:
    """The folder with every wheel the app's image needs, downloaded once per requirements.txt.

    They are for the image's Python and machine, not for the host's. Downloaded on the host
    because its certificates and index settings need not exist inside a build.
    """
    machine = platform.machine()
    digest = hashlib.sha256(f"{PYTHON} {machine}\n".encode() + requirements).hexdigest()[:12]
    folder = paths.CACHE / "wheels" / digest
    if folder.exists():
        return folder
    report(f"downloading the app's Python packages for Python {PYTHON}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Any glibc the base has or an older one; pip does not derive the older ones by itself.
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(41, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="tmp-") as scratch:
        listing = Path(scratch) / "requirements.txt"
        listing.write_bytes(requirements)
        target = Path(scratch) / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        command += ["--python-version", PYTHON, "--implementation", "cp"]
        command += [word for tag in platforms for word in ("--platform", tag)]
        command += ["--dest", str(target), "--requirement", str(listing)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CrmError(
                f"app/requirements.txt: pip could not download its packages: "
                f"{last_error(done.stderr)}; check the package index (PIP_INDEX_URL, PIP_CERT)"
            )
        target.replace(folder)
    return folder


def reason_of(error: Exception) -> str:
    """An SDK error as part of one line: the daemon's own words, without the address it asked."""
    text = " ".join(str(getattr(error, "explanation", None) or error).split())
    return re.sub(r'^Get "[^"]*": ', "", text)[:300]
