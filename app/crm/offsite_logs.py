"""Binary logs, from a keeper's volume to a bucket."""

import hashlib

from crm import offsite_names as names
from crm.errors import CrmError
from crm.files import sha256_of
from crm.offsite_backups import Needs
from crm.offsite_bucket import CHUNK, ArchivedError, Bucket
from crm.offsite_volume import Volume

HEAD = 150
"""Bytes at a log's beginning that tell it from another of its name: when it was begun, by which
server. Each has more: one that was just begun has 157."""

MOST_SMALL = 64
"""Pieces of at most half a chunk at the end of a log in the bucket; when there are as many, they
become larger ones."""


class Logs:
    """Copies the binary logs of one volume that ``needs`` tells. What it remembers saves requests,
    no more."""

    def __init__(self, bucket: Bucket, volume: Volume, needs: Needs) -> None:
        self._bucket = bucket
        self._volume = volume
        self._needs = needs
        self._heads: dict[str, bytes] = {}

    def copy(self) -> None:
        """Have every binary log in the bucket that some backup needs, to its present end.

        What was written since goes first, as pieces; whole logs, which take long, come after it,
        and the pieces they replace go last. Raises ``CrmError`` at the end where the bucket has
        another log of the same name, or more of it: that one is left as it is.
        """
        there = self._bucket.sizes()
        first = self._needs.first(there)
        tried: set[str] = set()
        while True:
            have = {
                name: size
                for name, size in self._volume.logs().items()
                if name >= first.get(names.server(name), "")
            }
            last = _last(have)
            others, unread = self._others(have, there)
            have = {name: size for name, size in have.items() if name not in others}
            self._send_ends(have, last, there)
            whole = self._next_whole(have, last, there, tried)
            if whole is None:
                break
            # Before the next one: what was written while this one was sent.
            tried.add(whole)
            self._send_whole(whole, there)
        for name in have:
            self._merge(name, there)
        problems = [unread] if unread else []
        if others:
            problems.insert(
                0,
                f"{self._bucket.where}: has another {_some(others)} than the volume, or more of "
                "it, and it is left as it is: this server was set back to an older state, and "
                "gives the names of its logs again. Write another crm:database.backup.s3.prefix: "
                "what is here stays. (Where a machine lost its power, and the volume the end of a "
                "log with it, this ends as soon as the keeper has fetched that log again.)",
            )
        if halves := self._halves(first, there):
            problems.append(
                f"{self._bucket.where}: has {_some(halves)} in part, and the volume has only what "
                "comes after it; run crm backup, with which the keeper fetches what it lacks"
            )
        superfluous = names.superfluous(there)
        try:
            self._bucket.delete([piece for name in have for piece in superfluous.get(name, [])])
        except CrmError as error:
            problems.append(str(error))
        if problems:
            raise CrmError("; ".join(problems))

    def _halves(self, first: dict[str, str], there: dict[str, int]) -> list[str]:
        """Logs that are only in the bucket, and in pieces, of servers that went on: what else was
        in them nobody would miss who has them back from there."""
        have = self._volume.logs()
        last = _last(have)
        return [
            name
            for name in names.logs(there)
            if name not in there
            and name not in have
            and first.get(names.server(name), "") <= name < last.get(names.server(name), "")
        ]

    def _others(self, have: dict[str, int], there: dict[str, int]) -> tuple[list[str], str]:
        """The logs of which the bucket has others of the same name; and why one of the bucket's
        could not be read, if so."""
        found = []
        unread = ""
        for name, size in have.items():
            pieces = names.total(names.pieces(there, name))
            is_other = max(there.get(name, 0), pieces) > size
            try:
                is_other = is_other or not self._begins_alike(name, there)
            except ArchivedError as error:
                unread = str(error)
            if is_other:
                found.append(name)
        return found, unread

    def _begins_alike(self, name: str, there: dict[str, int]) -> bool:
        """As far as both go."""
        kept = self._heads.get(name, b"")
        if not kept:
            for part, size in names.parts(there, name):
                if len(kept) < HEAD:
                    kept += b"".join(self._bucket.chunks(part, min(size, HEAD - len(kept))))
            if len(kept) == HEAD:
                self._heads[name] = kept
        try:
            with (self._volume.root / name).open("rb") as file:
                own = file.read(len(kept))
        except FileNotFoundError:
            return True  # The keeper removed it meanwhile.
        return kept.startswith(own)

    def _send_ends(self, have: dict[str, int], last: dict[str, str], there: dict[str, int]) -> None:
        """As pieces: the rest of each log that has pieces or may still grow. None that comes after
        one that is missing: a restore from there would be refused, not only end earlier."""
        waits = set()
        for name, size in have.items():
            server = names.server(name)
            if name in there or server in waits:
                continue
            sent = names.total(names.pieces(there, name))
            if not sent and last[server] != name:
                waits.add(server)
                continue
            try:
                self._send_pieces(name, sent, size, there)
            except FileNotFoundError:
                continue  # The keeper removed it meanwhile.

    def _send_pieces(self, name: str, sent: int, size: int, there: dict[str, int]) -> None:
        with (self._volume.root / name).open("rb") as file:
            file.seek(sent)
            while sent < size and (chunk := file.read(min(CHUNK, size - sent))):
                self._send_piece(names.piece(name, sent), chunk, there)
                sent += len(chunk)

    def _send_piece(self, piece: str, chunk: bytes, there: dict[str, int]) -> None:
        self._bucket.put(piece, chunk, hashlib.sha256(chunk).hexdigest())
        there[piece] = len(chunk)

    def _next_whole(
        self, have: dict[str, int], last: dict[str, str], there: dict[str, int], tried: set[str]
    ) -> str | None:
        """The oldest log that is finished and not whole in the bucket."""
        return next(
            (
                name
                for name, size in have.items()
                if there.get(name, -1) < size
                and (name in there or last[names.server(name)] != name)
                and name not in tried
            ),
            None,
        )

    def _send_whole(self, name: str, there: dict[str, int]) -> None:
        path = self._volume.root / name
        try:
            size = path.stat().st_size
            self._bucket.put(name, path, sha256_of(path))
        except FileNotFoundError:
            return  # The keeper removed it meanwhile.
        there[name] = size

    def _merge(self, name: str, there: dict[str, int]) -> None:
        """Make few large pieces of many small ones at the end. What they were is superfluous
        then, whenever it goes."""
        pieces = names.pieces(there, name)
        small: list[names.Part] = []
        while pieces and pieces[-1][1] <= CHUNK // 2:
            small.insert(0, pieces.pop())
        if name in there or len(small) < MOST_SMALL:
            return
        groups: list[list[names.Part]] = [[]]
        for part in small:
            if names.total([*groups[-1], part]) > CHUNK:
                groups.append([])
            groups[-1].append(part)
        try:
            with (self._volume.root / name).open("rb") as file:
                file.seek(names.total(pieces))
                for group in groups:
                    chunk = file.read(names.total(group))
                    if len(group) > 1 and len(chunk) == names.total(group):
                        self._send_piece(group[0][0], chunk, there)
        except FileNotFoundError:
            return  # The keeper removed it meanwhile.


def _last(have: dict[str, int]) -> dict[str, str]:
    """The last log of each server, by its UUID."""
    return {names.server(name): name for name in have}


def _some(logs: list[str]) -> str:
    more = f" and {len(logs) - 3} others" if len(logs) > 3 else ""
    return f"{', '.join(logs[:3])}{more}"
