"""Redis carries out nothing that empties, reconfigures or stops it."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_DANGEROUS = (
    *("CONFIG", "DEBUG", "FLUSHALL", "FLUSHDB", "KEYS", "MODULE", "MONITOR", "REPLICAOF"),
    *("SHUTDOWN", "SLAVEOF", "SWAPDB"),
)
_AGAIN = ("enable-debug-command", "enable-module-command", "enable-protected-configs")


def _find(text: str) -> Iterator[Flaw]:
    given = directives.redis(text)
    named = [d for d in given if d.name == "rename-command" and len(d.words) == 3]
    off = {d.words[1].upper() for d in named if not d.words[2]}
    if on := [command for command in _DANGEROUS if command not in off]:
        yield Flaw(0, f"{', '.join(on)} can be called")
    for found in named:
        if found.words[2]:
            yield Flaw(found.line, f"{found.words[1]} has another name in the place of none")
    for found in given:
        if found.name in _AGAIN and found.value.lower() != "no":
            yield Flaw(found.line, f"{found.name} is {found.value}")


RULE = FileRule(
    name="redis_commands",
    reason="The application needs none of them; whoever gets its password would.",
    fix='write rename-command NAME "" for each',
    reads=("redis/*/redis.conf",),
    find=_find,
)
