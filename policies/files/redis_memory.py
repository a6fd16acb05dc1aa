"""Redis has an end to its memory, and says what goes then."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_SIZE = re.compile(r"[1-9]\d*(k|kb|m|mb|g|gb)?", re.IGNORECASE)


def _find(text: str) -> Iterator[Flaw]:
    given = directives.redis(text)
    size = directives.last(given, "maxmemory")
    if size is None or not _SIZE.fullmatch(size.value):
        shown = size.value if size else "not set"
        yield Flaw(size.line if size else 0, f"maxmemory is {shown}")
    policy = directives.last(given, "maxmemory-policy")
    if policy is None:
        yield Flaw(0, "maxmemory-policy is not set")


RULE = FileRule(
    name="redis_memory",
    reason="Without it the kernel ends Redis when the container is full: all of the cache goes.",
    fix="write maxmemory and maxmemory-policy",
    reads=("redis/*/redis.conf",),
    find=_find,
)
