"""The state's files, in the layout of Pulumi's own ``file://`` backend.

``.pulumi/stacks/crm/<stack>.json`` is the checkpoint, ``.pulumi/locks/organization/crm/<stack>/``
holds locks (pkg/backend/diy). While the embedded engine owns a stack, a lock of ours stays there,
so that the plain CLI refuses it and shows the command that hands it over.
"""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

PROJECT = "crm"


def now() -> str:
    """This moment as checkpoints and locks write it: RFC 3339, UTC."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Store:
    """Reads and writes the files of one stack below ``backend``; everything 0600 in 0700."""

    def __init__(self, backend: Path, stack: str) -> None:
        home = backend / ".pulumi"
        self._stack = stack
        self._meta = home / "meta.yaml"
        self._locks = home / "locks" / "organization" / PROJECT / stack
        self._claim = self._locks / "crm-embedded.json"
        self.checkpoint = home / "stacks" / PROJECT / f"{stack}.json"
        self.run_lock = backend / f"{stack}.lock"

    def read(self) -> dict[str, Any] | None:
        """The checkpoint's document, or None where there is no such stack."""
        try:
            document = json.loads(self.checkpoint.read_bytes())
        except FileNotFoundError:
            return None
        return cast(dict[str, Any], document["checkpoint"])

    def write(self, checkpoint: dict[str, Any]) -> None:
        """Replaces the checkpoint: a reader, or a kill, meets the old one or the new, whole."""
        if not self._meta.exists():
            _write(self._meta, b"version: 1\n")
        document = {"version": 3, "checkpoint": checkpoint}
        _write(self.checkpoint, json.dumps(document, separators=(",", ":")).encode())

    def claim(self) -> None:
        """Makes the plain CLI refuse the stack, in the format of its own locks."""
        if not self._claim.exists():
            user = f"the embedded engine (to hand over: crm handover {self._stack} --to pulumi) "
            lock = {"pid": 0, "username": user, "hostname": socket.gethostname()}
            _write(self._claim, json.dumps({**lock, "timestamp": now()}).encode())

    def release(self) -> None:
        """Lets the plain CLI use the stack."""
        self._claim.unlink(missing_ok=True)

    def other_locks(self) -> list[Path]:
        """Locks that the plain CLI holds, or left behind when it was killed."""
        return sorted(path for path in self._locks.glob("*.json") if path != self._claim)


def private_folder(path: Path) -> None:
    """Makes ``path`` and what is missing above it, for nobody else to read."""
    if not path.exists():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    private_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
