"""The root file system of the Debian base: from which mirror, and how it is made."""

import os
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from stacks import paths
from stacks.errors import CrmError
from stacks.images_recipes import BASE_LITTER, DEBIAN, NO_SERVICES, SUITE

Report = Callable[[str], None]

LOG = paths.LOCAL / "images.log"
"""The whole output of the last tool that made an image, for when its last line is not enough."""


def debian_mirror() -> str:
    """The mirror images are made from: CRM_DEBIAN_MIRROR, else the host's own if it is Debian.

    Only plain http is taken from the host: packages are signed, and a minimal base has no
    certificates to check https with.
    """
    chosen = os.environ.get("CRM_DEBIAN_MIRROR")
    return chosen.rstrip("/") if chosen else host_mirror(Path("/etc")) or DEBIAN


def host_mirror(etc: Path) -> str | None:
    """The first mirror in the apt sources under ``etc`` that serves this Debian release's main."""
    try:
        release = (etc / "os-release").read_text(encoding="utf-8")
    except OSError:
        return None
    codename = re.search(r'^VERSION_CODENAME="?(\w+)', release, re.MULTILINE)
    if not re.search(r'^ID="?debian"?$', release, re.MULTILINE) or codename is None:
        return None
    for path in [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*"))]:
        if path.suffix not in {".list", ".sources"} or not path.is_file():
            continue
        for uri, suites in _sources(path.read_text(encoding="utf-8")):
            if codename[1] in suites and uri.startswith("http://"):
                return uri.rstrip("/")
    return None


def _sources(text: str) -> Iterator[tuple[str, list[str]]]:
    """(URI, suites) of every binary source, in either of apt's two formats."""
    for line in text.splitlines():
        if match := re.match(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", line):
            yield match[1], [match[2]]
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.+)$", paragraph, re.MULTILINE))
        if "deb" in fields.get("Types", "").split():
            for uri in fields.get("URIs", "").split():
                yield uri, fields.get("Suites", "").split()


def debootstrap(tarball: Path, report: Report) -> None:
    """Make the base's root file system and pack it; ``tarball`` appears only when it is whole."""
    if os.geteuid() != 0:
        raise CrmError(
            "the Debian base image is made by debootstrap, which needs root; "
            "run once: sudo .venv/bin/python -m stacks.images ensure debian:13.1-slim"
        )
    if shutil.which("debootstrap") is None:
        raise CrmError(
            "the Debian base image is made by debootstrap, which is not installed; "
            "run: apt-get install debootstrap"
        )
    mirror = debian_mirror()
    report(f"making the Debian {SUITE} base with debootstrap from {mirror} (about a minute)")
    tarball.parent.mkdir(parents=True, exist_ok=True)
    # In a mount namespace of its own, what debootstrap mounts goes when it does, killed or not.
    wrap = ["unshare", "--mount", "--propagation", "private"]
    if subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode != 0:
        wrap = []
    with tempfile.TemporaryDirectory(dir=tarball.parent, prefix="tmp-debian-") as scratch:
        root = Path(scratch) / "root"
        command = [*wrap, "debootstrap", "--variant=minbase", SUITE, str(root), mirror]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        LOG.unlink(missing_ok=True)
        LOG.write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode != 0:
            raise CrmError(
                f"debootstrap could not make the Debian base: {last_error(done.stdout)} "
                f"(ran: {shlex.join(command)}); the whole output is in "
                f"{LOG.relative_to(paths.ROOT)}. CRM_DEBIAN_MIRROR=<url> names another mirror"
            )
        for litter in BASE_LITTER:
            for path in (root / litter).glob("*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        refuse = root / "usr/sbin/policy-rc.d"
        refuse.write_text(NO_SERVICES, encoding="utf-8")
        refuse.chmod(0o755)
        packed = Path(scratch) / "base.tar.gz"
        with tarfile.open(packed, "w:gz", compresslevel=1) as tar:
            tar.add(root, arcname=".")
        packed.replace(tarball)


def last_error(output: str) -> str:
    """The line of a tool's output that most likely says why it failed."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", output).splitlines()]
    lines = [line for line in lines if line and "returned a non-zero code" not in line]
    errors = [line for line in lines if re.match(r"(E:|ERROR|error|fatal)", line)]
    return (errors or lines or [""])[-1]
