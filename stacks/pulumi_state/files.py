"""The files of a stack, in the layout of Pulumi's own ``file://`` backend (pkg/backend/diy).

``.pulumi/stacks/crm/<stack>.json`` is the checkpoint; ``.pulumi/locks/organization/crm/<stack>/``
holds locks. As long as the embedded engine owns a stack a lock of ours stays there, so that the
plain CLI refuses the stack and shows the command that hands it over.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stacks.errors import CrmError

PROJECT = "crm"


def now() -> str:
    """This moment as checkpoints and locks write it: RFC 3339, UTC."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Store:
    """Reads and writes what ``backend`` holds of one stack; files 0600, folders 0700."""

    def __init__(self, backend: Path, stack: str) -> None:
        home = backend / ".pulumi"
        self._stack = stack
        self._home = home
        self._meta = home / "meta.yaml"
        self._run_lock = backend / f"{stack}.lock"
        self._claim = home / "locks" / "organization" / PROJECT / stack / "crm-embedded.json"
        self.checkpoint = home / "stacks" / PROJECT / f"{stack}.json"

    def read(self) -> dict[str, Any]:
        """The checkpoint; empty where there is no such stack."""
        if not self.checkpoint.exists():
            return {}
        checkpoint: dict[str, Any] = json.loads(self.checkpoint.read_bytes())["checkpoint"]
        return checkpoint

    def write(self, checkpoint: dict[str, Any]) -> None:
        """Replaces the checkpoint: a reader, or a kill, meets the old one or the new, whole."""
        if not self._meta.exists():
            _write(self._meta, "version: 1\n")
        _write(self.checkpoint, json.dumps({"version": 3, "checkpoint": checkpoint}))

    def claim(self) -> None:
        """Has the plain CLI refuse the stack: it prints user and host of the locks it meets."""
        user = f"the embedded engine (to hand over: crm handover {self._stack} --to pulumi) "
        lock = {"pid": 0, "username": user, "hostname": socket.gethostname(), "timestamp": now()}
        _write(self._claim, json.dumps(lock))

    def release(self) -> None:
        """Has the plain CLI accept the stack."""
        self._claim.unlink(missing_ok=True)

    def forget(self) -> None:
        """Removes what there is of the stack."""
        self.checkpoint.unlink(missing_ok=True)
        self.release()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time; the kernel frees the lock even when the process is killed.

        Raises ``CrmError`` naming the process that holds it, or the lock that the CLI left.
        """
        _make_folder(self._run_lock.parent)
        descriptor = os.open(self._run_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = f"process {file.read()} is changing this stack"
                raise CrmError(f"{self._stack}: {who}; wait for it to end") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self.refuse_cli_locks()
            yield

    def refuse_other_run(self) -> None:
        """Raises ``CrmError`` where a run holds the lock; makes none where there never was one."""
        if self._run_lock.exists():
            with self.locked():
                pass

    def cli_locks(self) -> list[Path]:
        """The locks that runs of the CLI hold, or held when they were killed."""
        return sorted(set(self._claim.parent.glob("*.json")) - {self._claim})

    def drop_empty_sidecars(self) -> None:
        """Removes the ``.attrs`` that a killed CLI had no time to fill: it reads a file that has
        none, but not one whose is empty (gocloud.dev/blob/fileblob). Harms no run that lives."""
        for path in self._home.rglob("*.attrs"):
            with suppress(FileNotFoundError):
                if not path.stat().st_size:
                    path.unlink()

    def drop_unfinished(self) -> None:
        """Removes what a killed CLI was writing beside the stack's whole files: among the locks
        it would take it for one. Only while no run lives."""
        states = self.checkpoint.parent.glob(f"{self._stack}.json*.tmp")
        for path in [*states, *self._claim.parent.glob("*.tmp")]:
            path.unlink()

    def refuse_cli_locks(self, *, killed: bool = False) -> None:
        """Raises ``CrmError`` for a lock of the CLI's, with ``killed`` only for one whose process
        is not known to be gone."""
        for path in self.cli_locks():
            lock = json.loads(path.read_text(encoding="utf-8"))
            here = lock.get("hostname") == socket.gethostname()
            is_gone = here and not _is_alive(int(lock.get("pid") or 0))
            if is_gone and killed:
                continue
            who = f"{lock.get('username')} on {lock.get('hostname')}, process {lock.get('pid')}"
            hint = f"wait for it to end, or, if it is gone: pulumi cancel {self._stack}"
            if is_gone:
                hint = f"it was killed; to go on: crm up {self._stack} --engine pulumi"
            raise CrmError(f"{self._stack}: locked by a run of the Pulumi CLI ({who}); {hint}")


def _is_alive(process: int) -> bool:
    with suppress(OSError):  # Linux tells those that ended, and that no parent has asked about yet
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        return state.split()[0] not in "ZX"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(path: Path, text: str) -> None:
    _make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _make_folder(path: Path) -> None:
    if not path.exists():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
