"""The shard map: which server holds which buckets, its version, what another one would move."""

from __future__ import annotations

import hashlib
import json
from itertools import groupby, pairwise

from msgspec import Struct

BUCKETS = 64
"""Customers are hashed into this many buckets; each shard owns a run of them. Fixed: changing it
would move nearly every customer, changing ``shards`` moves only buckets."""


class Held(Struct, frozen=True):
    """A server and the buckets it holds, both ends included."""

    name: str
    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first + 1


Map = tuple[Held, ...]


class Move(Struct, frozen=True):
    """A run of buckets, both ends included, that another map puts on another server."""

    first: int
    last: int
    source: str
    target: str

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def of(names: tuple[str, ...]) -> Map:
    """The map of so many servers: each holds a run, and those differ by one bucket at most."""
    return tuple(
        Held(name, first, last)
        for name, (first, last) in zip(names, runs(BUCKETS, len(names)), strict=True)
    )


def given(app_file: str) -> Map | None:
    """The map of an ``app.json``; ``None`` where it is a server that is not the stack's own."""
    shards = json.loads(app_file)["database"]["shards"]
    if any(shard["host"] != shard["name"] for shard in shards):
        return None
    return tuple(Held(s["name"], s["first_bucket"], s["last_bucket"]) for s in shards)


def version(held: Map) -> str:
    """Eight hex digits that change with what the map says, and with nothing else."""
    text = "\n".join(f"{each.name} {each.first} {each.last}" for each in held)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def moves(before: Map, after: Map) -> tuple[Move, ...]:
    """What has to move for ``before`` to become ``after``, by bucket."""
    sources, targets = _by_bucket(before), _by_bucket(after)
    found = []
    ways = zip(sources, targets, range(BUCKETS), strict=True)
    for (source, target), run in groupby(ways, key=lambda way: way[:2]):
        buckets = [bucket for *_, bucket in run]
        if source != target:
            found.append(Move(buckets[0], buckets[-1], source, target))
    return tuple(found)


def _by_bucket(held: Map) -> list[str]:
    return [each.name for each in held for _ in range(each.count)]


def runs(total: int, parts: int) -> tuple[tuple[int, int], ...]:
    """``total`` things in ``parts`` runs whose lengths differ by one at most: (first, last)s."""
    edges = [total * i // parts for i in range(parts + 1)]
    return tuple((a, b - 1) for a, b in pairwise(edges))
