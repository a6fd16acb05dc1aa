"""One run at a time: a lock the kernel releases even when the process is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.embedded.store import private_folder
from stacks.errors import CrmError


@contextmanager
def run_lock(path: Path, stack: str) -> Iterator[None]:
    """Holds the lock of ``stack``; raises ``CrmError`` naming the process that has it."""
    private_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            raise CrmError(
                f"{stack}: another run is changing this stack (process {holder});"
                " wait for it to end, or end it and run again"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
