"""A keeper's volume, as what copies it sees it: whole backups, binary logs, and what comes back."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from crm.files import sync
from crm.offsite_names import SUMS, DamagedError, is_log


class Volume:
    """The keeper's volume at ``root``. Nothing of the keeper's is changed here, but what it lacks
    is put there, whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "offsite" / "incoming"
        self._coming = root / "offsite" / "coming"

    def backups(self) -> list[str]:
        """The times of all whole backups, the oldest first."""
        return sorted(path.parent.name for path in self.root.glob(f"backups/*/{SUMS}"))

    def logs(self) -> dict[str, int]:
        """The bytes of every binary log, by name in the bucket, the oldest of a server first."""
        found = {}
        for path in sorted(self.root.glob("binlogs/*/*")):
            name = path.relative_to(self.root).as_posix()
            if is_log(name):
                found[name] = _size(path)
        return {name: size for name, size in found.items() if size is not None}

    def put(self, name: str, content: Iterable[bytes], sha256: str | None = None) -> Path:
        """Write a file beside all others, to be moved to its place; with ``sha256`` compared."""
        path = self._incoming / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for chunk in content:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if sha256 not in (None, digest.hexdigest()):
            raise DamagedError(f"{name}: its SHA-256 is not the one in {SUMS}")
        return path

    def take(self, name: str) -> None:
        """Move what is under ``name`` there to its place, unless something is there by now."""
        goal = self.root / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        if not goal.exists():
            (self._incoming / name).rename(goal)
            sync(goal.parent)

    def clear(self) -> None:
        """Forget what was written and not taken."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    def announce(self) -> None:
        """Say to who restores that not all is back yet: the folder ``offsite/coming`` is there."""
        self._coming.mkdir(parents=True, exist_ok=True)
        sync(self._coming.parent)

    def complete(self) -> None:
        """All is back, or somebody goes on without the rest and has removed the folder."""
        try:
            self._coming.rmdir()
        except FileNotFoundError:
            return
        sync(self._coming.parent)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
