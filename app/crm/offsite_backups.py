"""Backups, from a keeper's volume to a bucket, and out of it once they are kept too long."""

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from crm import offsite_names as names
from crm.errors import CrmError
from crm.files import sha256_of
from crm.offsite_bucket import ArchivedError, Bucket
from crm.offsite_names import SUMS, DamagedError
from crm.offsite_volume import Volume

DAMAGED_SECONDS = 3600
"""So long a damaged backup that nobody touched is not read again."""

Say = Callable[[str], None]


class Needs:
    """Which logs backups go on in. Each manifest of the bucket is read once."""

    def __init__(self, bucket: Bucket, volume: Volume) -> None:
        self._bucket = bucket
        self._volume = volume
        self._known: dict[str, str] = {}

    def first(self, there: dict[str, int]) -> dict[str, str]:
        """For each server, by its UUID, the first log that a backup, here or there, goes on in.
        That need not be the oldest backup's: a clock may have been set back."""
        first: dict[str, str] = {}
        here = self._volume.backups()
        for backup in sorted({*here, *names.backups(there)}):
            log = self._known.get(backup) or self._goes_on_in(backup, there, is_here=backup in here)
            if log is None:
                # What it needs is not known: then all of it is.
                return dict.fromkeys({names.server(n) for n in [*there, *self._volume.logs()]}, "")
            self._known[backup] = log
            server = names.server(log)
            first[server] = min(first.get(server, log), log)
        return first

    def _goes_on_in(self, backup: str, there: dict[str, int], *, is_here: bool) -> str | None:
        path = f"backups/{backup}/manifest.json"
        try:
            text = (self._volume.root / path).read_bytes() if is_here else b""
        except FileNotFoundError:
            text = b""
        try:
            if not text and path in there:
                text = b"".join(self._bucket.chunks(path, there[path]))
            manifest = json.loads(text)
            return f"binlogs/{manifest['server_uuid']}/{manifest['binlog']}"
        except (ArchivedError, ValueError, KeyError, TypeError):
            return None


class Backups:
    """Copies the backups of one volume, and removes logs that none of them ``needs``.

    ``clock`` says the time in seconds since 1970. What it remembers saves requests and reading, no
    more.
    """

    def __init__(
        self,
        bucket: Bucket,
        volume: Volume,
        needs: Needs,
        say: Say,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bucket = bucket
        self._volume = volume
        self._say = say
        self._clock = clock
        self._needs = needs
        self._sent: dict[str, str] = {}
        self._damaged: dict[str, tuple[int, float, str]] = {}

    def copy(self, keep: int, keep_seconds: int) -> dict[str, int]:
        """Have every whole backup in the bucket, the newest first: it is worth most. Then remove
        what is kept there too long.

        Returns what the bucket has. Raises ``CrmError`` at the end where a backup is damaged.
        """
        there = self._bucket.sizes()
        damaged = []
        for backup in reversed(self._volume.backups()):
            if f"backups/{backup}/{SUMS}" in there:
                continue
            try:
                self._copy_one(backup, there)
            except FileNotFoundError:
                continue  # The keeper removed it meanwhile.
            except DamagedError as error:
                damaged.append(f"{backup}/{error}")
            else:
                self._say(f"backup {backup} is in the bucket")
        now = datetime.fromtimestamp(self._clock(), UTC)
        for name in self._prune(keep, keep_seconds, now, there):
            self._say(f"{name} is no longer kept in the bucket")
        if damaged:
            raise CrmError(
                f"damaged, and not copied: {', '.join(damaged)}; "
                "run crm drill, and remove that backup once you have looked at it"
            )
        return there

    def _copy_one(self, backup: str, there: dict[str, int]) -> None:
        folder = self._volume.root / "backups" / backup
        changed = _changed(folder)
        known, until, problem = self._damaged.get(backup, (0, 0.0, ""))
        if known == changed and self._clock() < until:
            raise DamagedError(problem)
        try:
            sums = (folder / SUMS).read_bytes()
            listed = names.listed(sums.decode("utf-8", errors="replace"))
            _verify(folder, listed)
        except DamagedError as error:
            self._damaged[backup] = (changed, self._clock() + DAMAGED_SECONDS, str(error))
            raise
        for file, sha256 in listed.items():
            path = f"backups/{backup}/{file}"
            size = (folder / file).stat().st_size
            # One that this process has read back needs no second time.
            if there.get(path) != size or self._sent.get(path) != sha256:
                self._bucket.put(path, folder / file, sha256)
                self._sent[path] = sha256
                there[path] = size
        path = f"backups/{backup}/{SUMS}"
        self._bucket.put(path, sums, hashlib.sha256(sums).hexdigest())
        there[path] = len(sums)
        self._sent = {name: s for name, s in self._sent.items() if name.split("/")[1] != backup}

    def _prune(
        self, keep: int, keep_seconds: int, now: datetime, there: dict[str, int]
    ) -> list[str]:
        """Remove what the keeper's own rule would: backups beyond the ``keep`` newest that are
        older than ``keep_seconds``, and logs that lead on from none. Returns what was removed.

        Nothing that the volume still has goes, and nothing at all while the volume has no backup:
        that it lacks one is no reason to remove any here.
        """
        here = self._volume.backups()
        if not here:
            return []
        whole = names.backups(there)
        removed = []
        for backup in whole[:-keep]:
            age = (now - names.time_of(backup)).total_seconds()
            if backup not in here and age > keep_seconds:
                # No longer a backup before the first of its files goes.
                files = [path for path in there if path.startswith(f"backups/{backup}/")]
                files.sort(key=lambda path: not path.endswith(f"/{SUMS}"))
                self._delete(files, there)
                removed.append(f"backups/{backup}")
        whole = names.backups(there)
        unfinished = [
            path
            for path in there
            if (found := names.FILE.fullmatch(path))
            and found[1] not in {*whole, *here}
            and found[1] < min(whole, default="")
        ]
        first = self._needs.first(there)
        local = {names.server(name) for name in self._volume.logs()}
        logs = [
            path
            for path in there
            if path.startswith("binlogs/")
            and (
                path < first[names.server(path)]
                if names.server(path) in first
                else names.server(path) not in local and bool(whole)
            )
        ]
        self._delete([*unfinished, *logs], there)
        return [*removed, *unfinished, *logs]

    def _delete(self, paths: list[str], there: dict[str, int]) -> None:
        self._bucket.delete(paths)
        for path in paths:
            del there[path]


def _changed(folder: Path) -> int:
    """When something in it was changed at last, in nanoseconds."""
    return max(path.stat().st_mtime_ns for path in (folder, *folder.iterdir()))


def _verify(folder: Path, listed: dict[str, str]) -> None:
    """Raises ``DamagedError``, or ``FileNotFoundError`` where the keeper removes it meanwhile."""
    for file, sha256 in listed.items():
        if not (folder / file).is_file():
            if not folder.is_dir():
                raise FileNotFoundError(folder)
            raise DamagedError(f"{file}: is not there, and is named in {SUMS}")
        if sha256_of(folder / file) != sha256:
            raise DamagedError(f"{file}: its SHA-256 is not the one in {SUMS}")
