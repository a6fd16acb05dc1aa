"""Builds the cluster's programs from Go modules, once for every checkout of this user.

The Go toolchain checks every module against go.sum. The first build takes about ten minutes on
two cores; what is compiled stays in Go's own cache, so that the next version takes less.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.errors import CrmError
from tests.cluster import needs, recipe

REPORT_SECONDS = 30

Say = Callable[[str], None]


def build(say: Say) -> Path:
    """The folder of the built programs; builds what is missing. CrmError when it cannot."""
    with _lock(say):
        folder = recipe.programs_folder()
        if folder.is_dir():
            return folder
        go = needs.find_go()
        if go is None:
            raise CrmError(
                f"Go {needs.GO_VERSION} or later is needed to build Kubernetes: run `make cluster`"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=folder.parent))
        try:
            _compile(go, scratch / "bin", say)
            for program, name in recipe.IMAGES.items():
                archive = scratch / "images" / f"{program}.tar"
                archive.parent.mkdir(exist_ok=True)
                _pack(scratch / "bin" / program, f"localhost/{name}", archive)
                (scratch / "bin" / program).unlink()
            scratch.chmod(0o755)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        _forget_old(folder)
        return folder


@contextmanager
def _lock(say: Say) -> Iterator[None]:
    """One build at a time for this user; the others wait and then find it done."""
    recipe.cache_folder().mkdir(parents=True, exist_ok=True)
    with (recipe.cache_folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building the cluster's programs; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        for left in recipe.cache_folder().glob(".build-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _forget_old(current: Path, kept: int = 3) -> None:
    """Remove builds of versions long gone; each is about 700 MB."""
    builds = [path for path in current.parent.iterdir() if len(path.name) == 16 and path.is_dir()]
    for path in sorted(builds, key=lambda path: path.stat().st_mtime)[:-kept]:
        if path != current:
            shutil.rmtree(path, ignore_errors=True)


def _compile(go: str, target: Path, say: Say) -> None:
    """``go build`` of everything at once, so that what they share is compiled once."""
    major, minor, _ = recipe.KUBERNETES.removeprefix("v").split(".")
    version = {"gitVersion": recipe.KUBERNETES, "gitMajor": major, "gitMinor": minor}
    links = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in version.items()
    ]
    target.mkdir(parents=True)
    command = [go, "build", "-v", "-trimpath", "-ldflags", " ".join(["-s", "-w", *links])]
    # In the background's place: tests and people that share the machine come first.
    process = subprocess.Popen(
        ["nice", "-n", "10", *command, "-o", f"{target}/", *recipe.PACKAGES],
        cwd=recipe.SOURCES,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = _follow(process, say)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        raise CrmError(
            f"go build failed with exit code {process.returncode}; its last lines:\n"
            + "\n".join(f"  {line}" for line in said)
        )


def _follow(process: subprocess.Popen[str], say: Say) -> deque[str]:
    """Count what is compiled until the end, with a word every half minute; the last lines."""
    assert process.stderr is not None
    started = time.monotonic()
    compiled = 0
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_SECONDS):
            minutes, seconds = divmod(int(time.monotonic() - started), 60)
            say(
                f"building Kubernetes {recipe.KUBERNETES}: {compiled} Go packages in "
                f"{minutes}:{seconds:02} (the first time: about 2900 in ten minutes on two cores)"
            )

    threading.Thread(target=report, daemon=True).start()
    said: deque[str] = deque(maxlen=12)
    try:
        for line in process.stderr:
            said.append(line.rstrip())
            # A package's path has neither spaces nor a colon; downloads and errors have.
            compiled += " " not in line and ":" not in line
        process.wait()
    finally:
        ended.set()
    return said


def _pack(program: Path, name: str, archive: Path) -> None:
    """An image as ``docker save`` writes it, with one static program and nothing else."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as content:
            tar.addfile(entry, content)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": "65532:65532"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    parts = {
        "config.json": config,
        "layer.tar": layer.getvalue(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for path, content_bytes in parts.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content_bytes), 0o644
            tar.addfile(entry, io.BytesIO(content_bytes))


def main() -> int:
    """``python -m tests.cluster.build``: what the bootstrap runs in the environment."""
    try:
        build(lambda line: print(f"  {line}", flush=True))
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
