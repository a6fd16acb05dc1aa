"""What is copied of a keeper's volume to a bucket, what comes back, what goes there in the end.

In the volume: ``backups/<time>/`` with a ``SHA256SUMS``, put there whole by the keeper, and
``binlogs/<server's UUID>/<name>``, of which the last one of a server may still grow. In the bucket
the same names, but of a log that grows the pieces: ``<name>.from-<first byte, 15 digits>``.
A backup counts there once its ``SHA256SUMS``, which goes last, is there.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from crm.errors import CrmError
from crm.offsite_bucket import CHUNK, Bucket

SUMS = "SHA256SUMS"
_PIECE = re.compile(r"(binlogs/[^/]+/[^/]+)\.from-(\d{15})")
_LOG = re.compile(r"binlogs/[0-9a-f-]{36}/[A-Za-z0-9_-]+\.\d{6,}")
_FILE = re.compile(r"backups/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/([A-Za-z0-9._-]+)")

Say = Callable[[str], None]


class _DamagedError(Exception):
    """A file of a backup is not what it was when the backup was made."""


class Volume:
    """The keeper's volume at ``root``. Nothing of the keeper's is changed here, but what it lacks
    is put there, whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "offsite" / "incoming"

    def backups(self) -> list[str]:
        """The times of all whole backups, the oldest first."""
        return sorted(path.parent.name for path in self.root.glob(f"backups/*/{SUMS}"))

    def logs(self) -> dict[str, int]:
        """The bytes of every binary log, by name in the bucket, the oldest of a server first."""
        found = {}
        for path in sorted(self.root.glob("binlogs/*/*")):
            name = path.relative_to(self.root).as_posix()
            if _LOG.fullmatch(name):
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
            raise _DamagedError(f"{name}: its SHA-256 is not the one in {SUMS}")
        return path

    def take(self, name: str) -> None:
        """Move what is under ``name`` there to its place, unless something is there by now."""
        goal = self.root / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        if not goal.exists():
            (self._incoming / name).rename(goal)
            _sync(goal.parent)

    def clear(self) -> None:
        """Forget what was written and not taken."""
        shutil.rmtree(self._incoming, ignore_errors=True)


# --- Down ----------------------------------------------------------------------------------------


def bring_back(bucket: Bucket, volume: Volume, say: Say) -> None:
    """Have everything in the volume that the bucket has and the volume lacks.

    Backups first: the keeper removes the logs of servers of which it knows no backup. Raises
    ``CrmError`` before anything is sent where the volume has no room for it.
    """
    volume.clear()
    there = bucket.sizes()
    here, have = volume.backups(), volume.logs()
    backups = [name for name in _backups(there) if name not in here]
    logs = {name: size for name, size in _logs(there).items() if name not in have}
    need = sum(logs.values()) + sum(
        size
        for path, size in there.items()
        if (found := _FILE.fullmatch(path)) and found[1] in backups
    )
    free = shutil.disk_usage(volume.root).free
    if need > free:
        raise CrmError(
            f"{bucket.where}: {need >> 20} MiB are to come back, and the volume has {free >> 20} "
            "MiB free; make room, or have the volume larger"
        )
    try:
        _bring_backups(bucket, volume, backups, there, say)
        for name in logs:
            if name in there:
                content = bucket.chunks(name, there[name])
            else:
                content = _joined(bucket, name, there)
            volume.put(name, content)
            volume.take(name)
    finally:
        volume.clear()
    if logs:
        say(f"{len(logs)} binary logs are back from the bucket")


def _bring_backups(
    bucket: Bucket, volume: Volume, names: Iterable[str], there: dict[str, int], say: Say
) -> None:
    for name in names:
        try:
            _bring_backup(bucket, volume, name, there)
        except _DamagedError as error:
            say(f"error: {bucket.where}: {error}; it stays there, and is not brought back")
        else:
            say(f"backup {name} is back from the bucket")


def _bring_backup(bucket: Bucket, volume: Volume, name: str, there: dict[str, int]) -> None:
    folder = f"backups/{name}"
    for file, sha256 in _sums(bucket, name, there).items():
        path = f"{folder}/{file}"
        if path not in there:
            raise _DamagedError(f"{path}: is not there, and is named in {SUMS}")
        volume.put(path, bucket.chunks(path, there[path]), sha256)
    sums = f"{folder}/{SUMS}"
    made = volume.put(sums, bucket.chunks(sums, there[sums]))
    _sync(made.parent)
    volume.take(folder)


def _joined(bucket: Bucket, name: str, there: dict[str, int]) -> Iterator[bytes]:
    for piece, size in _pieces(there, name):
        yield from bucket.chunks(piece, size)


# --- Up ------------------------------------------------------------------------------------------


def copy_logs(bucket: Bucket, volume: Volume) -> None:
    """Have every binary log in the bucket that some backup needs, to its present end."""
    there, have = bucket.sizes(), volume.logs()
    first = _first_needed(bucket, volume, there)
    last = {_server(name): name for name in have}
    for name, size in have.items():
        if name >= first.get(_server(name), ""):
            finished = last[_server(name)] != name
            _copy_log(bucket, volume, name, size, there, finished=finished)


def _copy_log(
    bucket: Bucket, volume: Volume, name: str, size: int, there: dict[str, int], *, finished: bool
) -> None:
    """A shorter log never takes the place of a longer one."""
    path = volume.root / name
    pieces = _pieces(there, name)
    sent = sum(length for _, length in pieces)
    if there.get(name, -1) < size:
        try:
            if (finished and size >= sent) or name in there:
                bucket.put(name, path, _sha256(path))
                there[name] = size
            elif not finished:
                with path.open("rb") as file:
                    file.seek(sent)
                    while sent < size and (chunk := file.read(min(CHUNK, size - sent))):
                        piece = f"{name}.from-{sent:015}"
                        bucket.put(piece, chunk, hashlib.sha256(chunk).hexdigest())
                        sent += len(chunk)
        except FileNotFoundError:
            return  # The keeper removed it meanwhile.
    if pieces and there.get(name, -1) >= sent:
        # Also what a break between the two left.
        bucket.delete([piece for piece in there if piece.startswith(f"{name}.from-")])


def copy_backups(bucket: Bucket, volume: Volume, say: Say) -> None:
    """Have every whole backup in the bucket, the newest first: it is worth most."""
    there = bucket.sizes()
    damaged = []
    for name in reversed(volume.backups()):
        if f"backups/{name}/{SUMS}" in there:
            continue
        try:
            _copy_backup(bucket, volume.root / "backups" / name)
        except FileNotFoundError:
            continue  # The keeper removed it meanwhile.
        except _DamagedError as error:
            damaged.append(f"{name}/{error}")
        else:
            say(f"backup {name} is in the bucket")
    if damaged:
        raise CrmError(
            f"damaged, and not copied: {', '.join(damaged)}; "
            "run crm drill, and remove that backup once you have looked at it"
        )


def _copy_backup(bucket: Bucket, folder: Path) -> None:
    sums = (folder / SUMS).read_bytes()
    listed = _listed(sums.decode("utf-8", errors="replace"))
    for file, sha256 in listed.items():
        if not (folder / file).is_file():
            if not folder.is_dir():
                raise FileNotFoundError(folder)
            raise _DamagedError(f"{file}: is not there, and is named in {SUMS}")
        if _sha256(folder / file) != sha256:
            raise _DamagedError(f"{file}: its SHA-256 is not the one in {SUMS}")
        bucket.put(f"backups/{folder.name}/{file}", folder / file, sha256)
    bucket.put(f"backups/{folder.name}/{SUMS}", sums, hashlib.sha256(sums).hexdigest())


# --- Away ----------------------------------------------------------------------------------------


def prune(bucket: Bucket, volume: Volume, keep: int, keep_seconds: int, now: datetime) -> list[str]:
    """Remove what the keeper's own rule would: backups beyond the ``keep`` newest that are older
    than ``keep_seconds``, and logs that lead on from none. Returns what was removed.

    Nothing that the volume still has goes, and nothing at all while the volume has no backup: that
    it lacks one is no reason to remove any here.
    """
    here = volume.backups()
    if not here:
        return []
    there = bucket.sizes()
    whole = _backups(there)
    doomed = [
        name
        for name in whole[:-keep]
        if name not in here and (now - _time(name)).total_seconds() > keep_seconds
    ]
    removed = []
    for name in doomed:
        # No longer a backup before the first of its files goes.
        files = [path for path in there if path.startswith(f"backups/{name}/")]
        files.sort(key=lambda path: not path.endswith(f"/{SUMS}"))
        bucket.delete(files)
        removed.append(f"backups/{name}")
        there = {path: size for path, size in there.items() if path not in files}
    unfinished = [
        path
        for path in there
        if (found := _FILE.fullmatch(path))
        and found[1] not in {*whole, *here}
        and found[1] < min(whole, default="")
    ]
    first = _first_needed(bucket, volume, there)
    local = {_server(name) for name in volume.logs()}
    logs = [
        path
        for path in there
        if path.startswith("binlogs/")
        and (
            path < first[_server(path)]
            if _server(path) in first
            else _server(path) not in local and bool(whole)
        )
    ]
    bucket.delete([*unfinished, *logs])
    return [*removed, *unfinished, *logs]


# --- What is what --------------------------------------------------------------------------------


def _backups(there: dict[str, int]) -> list[str]:
    """The times of the whole backups in the bucket, the oldest first."""
    found = (_FILE.fullmatch(name) for name in there)
    return sorted(match[1] for match in found if match and match[2] == SUMS)


def _logs(there: dict[str, int]) -> dict[str, int]:
    """The logs in the bucket, whole or in pieces, and how much there is of each."""
    names = {match[1] for name in there if (match := _PIECE.fullmatch(name))}
    names |= {name for name in there if _LOG.fullmatch(name)}
    found = {
        name: there.get(name, sum(length for _, length in _pieces(there, name)))
        for name in sorted(names)
        if _LOG.fullmatch(name)
    }
    return {name: size for name, size in found.items() if size > 0}


def _pieces(there: dict[str, int], name: str) -> list[tuple[str, int]]:
    """The pieces of a log in the bucket, from its beginning as far as none is missing."""
    found = []
    end = 0
    while (size := there.get(piece := f"{name}.from-{end:015}", 0)) > 0:
        found.append((piece, size))
        end += size
    return found


def _first_needed(bucket: Bucket, volume: Volume, there: dict[str, int]) -> dict[str, str]:
    """For each server, by its UUID, the log that its oldest backup, here or there, goes on in."""
    first: dict[str, str] = {}
    here = volume.backups()
    for name in sorted({*here, *_backups(there)}):
        path = f"backups/{name}/manifest.json"
        try:
            text = (volume.root / path).read_bytes() if name in here else b""
        except FileNotFoundError:
            text = b""
        if not text and path in there:
            text = b"".join(bucket.chunks(path, there[path]))
        try:
            manifest = json.loads(text)
            server, log = str(manifest["server_uuid"]), str(manifest["binlog"])
        except (ValueError, KeyError, TypeError):
            # What it needs is not known: then all of it is.
            return dict.fromkeys({_server(n) for n in [*there, *volume.logs()]}, "")
        first.setdefault(server, f"binlogs/{server}/{log}")
    return first


def _server(name: str) -> str:
    return name.split("/")[1]


def _sums(bucket: Bucket, name: str, there: dict[str, int]) -> dict[str, str]:
    path = f"backups/{name}/{SUMS}"
    return _listed(b"".join(bucket.chunks(path, there[path])).decode("utf-8", errors="replace"))


def _listed(sums: str) -> dict[str, str]:
    """File → SHA-256 of what ``sha256sum`` wrote."""
    found = {}
    for line in sums.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+)", line)
        if match is None:
            raise _DamagedError(f"{SUMS}: {line[:80]!r} is no line of it")
        found[match[2]] = match[1]
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _time(name: str) -> datetime:
    return datetime.strptime(name, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
