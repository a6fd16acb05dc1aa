"""A server that speaks S3, for tests: Versity's gateway in front of a folder, with TLS.

The Go toolchain checks every module against go.sum. The first build takes about two minutes on two
cores; the program is kept for every checkout of this user.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trustme

from stacks.errors import CrmError
from tests.cluster import needs
from tests.s3 import recipe

START_SECONDS = 60
_BUILD_SECONDS = 900

Say = Callable[[str], None]


def build(say: Say) -> Path:
    """The program; builds it where it is missing. CrmError when it cannot."""
    program = recipe.program()
    folder = program.parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.is_file():
            return program
        go = needs.find_go()
        if go is None:
            raise CrmError(f"Go {needs.GO_VERSION} or later is needed to build {recipe.PROGRAM}")
        say(f"building {recipe.PROGRAM}: about two minutes the first time")
        scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=folder.parent))
        try:
            made = scratch / recipe.PROGRAM
            flags = ["-trimpath", "-ldflags", "-s -w", "-o", str(made), recipe.PACKAGE]
            done = subprocess.run(
                # In the background's place, as the cluster's programs are.
                ["nice", "-n", "10", go, "build", *flags],
                cwd=recipe.SOURCES,
                env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
                capture_output=True,
                text=True,
                timeout=_BUILD_SECONDS,
                check=False,
            )
            if done.returncode != 0:
                raise CrmError(f"go build failed: {done.stderr[-2000:]}")
            made.rename(program)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return program


class Server:
    """One in ``folder``, at the port ``port`` of ``address``, with a key, a bucket and a
    certificate of its own. Objects are files there, so that a test sees them without a client."""

    bucket = "crm-backups"

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind((address, 0))
            self.port = int(probe.getsockname()[1])
        self.key_id = f"id-{secrets.token_hex(10)}"
        self.secret = secrets.token_urlsafe(30)
        authority = trustme.CA()
        self.authority = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        made = authority.issue_cert(address)
        made.private_key_pem.write_to_path(str(folder / "key.pem"))
        made.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        self.objects = folder / "data" / self.bucket
        self.objects.mkdir(parents=True)
        (folder / "attributes").mkdir()

    @property
    def endpoint(self) -> str:
        return f"https://{self._address}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = build(print)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(program),
                    *("--port", f"{self._address}:{self.port}", "--quiet"),
                    *("--cert", str(self._folder / "cert.pem")),
                    *("--key", str(self._folder / "key.pem")),
                    *("posix", "--sidecar", str(self._folder / "attributes")),
                    str(self._folder / "data"),
                ],
                env={
                    "PATH": os.environ.get("PATH", ""),
                    "ROOT_ACCESS_KEY": self.key_id,
                    "ROOT_SECRET_KEY": self.secret,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex((self._address, self.port)) == 0:
                    return
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it; what it holds stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def names(self) -> set[str]:
        """The names of all objects."""
        return {
            path.relative_to(self.objects).as_posix()
            for path in self.objects.rglob("*")
            if path.is_file()
        }
