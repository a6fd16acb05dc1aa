"""The names of backups and binary logs, which are the same in a keeper's volume and in a bucket.

In the volume: ``backups/<time>/`` with a ``SHA256SUMS``, put there whole by the keeper, and
``binlogs/<server's UUID>/<name>``, of which the last one of a server may still grow. In the bucket
the same names, but of a log that grows the pieces: ``<name>.from-<first byte, 15 digits>``.
A backup counts there once its ``SHA256SUMS``, which goes last, is there.

``there`` is always what the bucket has: the bytes of every object, by name.
"""

import re
from datetime import UTC, datetime

SUMS = "SHA256SUMS"
FILE = re.compile(r"backups/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/([A-Za-z0-9._-]+)")
_PIECE = re.compile(r"(binlogs/[^/]+/[^/]+)\.from-(\d{15})")
_LOG = re.compile(r"binlogs/[0-9a-f-]{36}/[A-Za-z0-9_-]+\.\d{6,}")

Part = tuple[str, int]
"""An object's name, and its bytes."""


class DamagedError(Exception):
    """A file of a backup is not what it was when the backup was made."""


def is_log(name: str) -> bool:
    """Whether it is the name of a binary log, not of a piece of one."""
    return _LOG.fullmatch(name) is not None


def server(name: str) -> str:
    """The UUID of the server that wrote a log."""
    return name.split("/")[1]


def time_of(backup: str) -> datetime:
    """When a backup was taken."""
    return datetime.strptime(backup, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def backups(there: dict[str, int]) -> list[str]:
    """The times of the whole backups in the bucket, the oldest first."""
    found = (FILE.fullmatch(name) for name in there)
    return sorted(match[1] for match in found if match and match[2] == SUMS)


def logs(there: dict[str, int]) -> dict[str, int]:
    """The logs in the bucket, whole or in pieces, and how much there is of each."""
    names = {match[1] for name in there if (match := _PIECE.fullmatch(name))}
    names |= set(there)
    found = {name: total(parts(there, name)) for name in sorted(names) if is_log(name)}
    return {name: size for name, size in found.items() if size > 0}


def piece(log: str, begin: int) -> str:
    """The name of the piece of a log that begins at a byte."""
    return f"{log}.from-{begin:015}"


def pieces(there: dict[str, int], log: str) -> list[Part]:
    """The pieces of a log in the bucket, from its beginning as far as none is missing."""
    found = []
    end = 0
    while (size := there.get(name := piece(log, end), 0)) > 0:
        found.append((name, size))
        end += size
    return found


def parts(there: dict[str, int], log: str) -> list[Part]:
    """What a log in the bucket is made of: itself where it is whole, else its pieces."""
    return [(log, there[log])] if log in there else pieces(there, log)


def total(some: list[Part]) -> int:
    """The bytes of all of them."""
    return sum(size for _, size in some)


def superfluous(there: dict[str, int]) -> dict[str, list[str]]:
    """The pieces that the bucket has without need, by log: all where the log is whole, and else
    those whose bytes another piece has too."""
    begins: dict[str, dict[str, int]] = {}
    for name in there:
        if match := _PIECE.fullmatch(name):
            begins.setdefault(match[1], {})[name] = int(match[2])
    found = {}
    for log, of_log in begins.items():
        chain = pieces(there, log)
        if there.get(log, -1) >= total(chain):
            found[log] = list(of_log)
        else:
            used = {name for name, _ in chain}
            end = total(chain)
            found[log] = [name for name, at in of_log.items() if at < end and name not in used]
    return found


def listed(sums: str) -> dict[str, str]:
    """File → SHA-256 of what ``sha256sum`` wrote. Raises ``DamagedError``."""
    found = {}
    for line in sums.splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+)", line)
        if match is None:
            raise DamagedError(f"{SUMS}: {line[:80]!r} is no line of it")
        found[match[2]] = match[1]
    return found
