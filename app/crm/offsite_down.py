"""What comes back from a bucket to a keeper's volume that lacks it."""

import shutil
from collections.abc import Callable, Iterable, Iterator

from crm import offsite_names as names
from crm.errors import CrmError
from crm.files import sync
from crm.offsite_bucket import ArchivedError, Bucket
from crm.offsite_names import SUMS, DamagedError
from crm.offsite_volume import Volume

Say = Callable[[str], None]


def bring_back(bucket: Bucket, volume: Volume, say: Say) -> None:
    """Have everything in the volume that the bucket has and the volume lacks.

    Backups first: the keeper removes the logs of servers of which it knows no backup. Raises
    ``CrmError`` before anything is sent where the volume has no room for it. From the first byte
    to the last the volume has a folder ``offsite/coming``, which keeps restores back; it stays
    where this breaks off.
    """
    volume.clear()
    there = bucket.sizes()
    here, have = volume.backups(), volume.logs()
    backups = [name for name in names.backups(there) if name not in here]
    logs = {name: size for name, size in names.logs(there).items() if name not in have}
    need = sum(logs.values()) + sum(
        size
        for path, size in there.items()
        if (found := names.FILE.fullmatch(path)) and found[1] in backups
    )
    free = shutil.disk_usage(volume.root).free
    if need > free:
        raise CrmError(
            f"{bucket.where}: {need >> 20} MiB are to come back, and the volume has {free >> 20} "
            "MiB free; make room, or have the volume larger"
        )
    if backups or logs:
        volume.announce()
    try:
        _bring_backups(bucket, volume, backups, there, say)
        _bring_logs(bucket, volume, logs, there, say)
    finally:
        volume.clear()
    volume.complete()


def _bring_backups(
    bucket: Bucket, volume: Volume, wanted: Iterable[str], there: dict[str, int], say: Say
) -> None:
    for name in wanted:
        try:
            _bring_backup(bucket, volume, name, there)
        except DamagedError as error:
            say(f"error: {bucket.where}: {error}; it stays there, and is not brought back")
        except ArchivedError as error:
            say(f"error: {error}; backup {name} is not brought back")
        else:
            say(f"backup {name} is back from the bucket")


def _bring_backup(bucket: Bucket, volume: Volume, name: str, there: dict[str, int]) -> None:
    folder = f"backups/{name}"
    sums = f"{folder}/{SUMS}"
    text = b"".join(bucket.chunks(sums, there[sums]))
    for file, sha256 in names.listed(text.decode("utf-8", errors="replace")).items():
        path = f"{folder}/{file}"
        if path not in there:
            raise DamagedError(f"{path}: is not there, and is named in {SUMS}")
        volume.put(path, bucket.chunks(path, there[path]), sha256)
    made = volume.put(sums, [text])
    sync(made.parent)
    volume.take(folder)


def _bring_logs(
    bucket: Bucket, volume: Volume, wanted: Iterable[str], there: dict[str, int], say: Say
) -> None:
    back = 0
    for name in wanted:
        # Its server goes on: what it wrote between the pieces and the next log would be missing,
        # and nobody could see it. The keeper fetches the whole of it from the server.
        if name not in there and _is_followed(volume, name):
            say(f"{name} is in the bucket in part, and is left to the keeper, as its server lives")
            continue
        try:
            volume.put(name, _content(bucket, name, there))
        except ArchivedError as error:
            say(f"error: {error}; {name} is not brought back")
            continue
        volume.take(name)
        back += 1
    if back:
        say(f"{back} binary logs are back from the bucket")


def _is_followed(volume: Volume, name: str) -> bool:
    """Whether the volume has a later log of the same server, which did not come from here."""
    server = names.server(name)
    return any(names.server(log) == server and log > name for log in volume.logs())


def _content(bucket: Bucket, name: str, there: dict[str, int]) -> Iterator[bytes]:
    for part, size in names.parts(there, name):
        yield from bucket.chunks(part, size)
