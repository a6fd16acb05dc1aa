"""HAProxy waits for nobody for ever."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_NEEDED = (
    "connect",
    "client",
    "server",
    "http-request",
    "http-keep-alive",
)
_LONGEST = 3600
"""Seconds, as long as a stack file may ask for."""


def _find(text: str) -> Iterator[Flaw]:
    found = [d for d in directives.haproxy(text) if d.name == "timeout" and len(d.words) > 2]
    for name in _NEEDED:
        if not any(d.words[1] == name and d.within[-1][0] == "defaults" for d in found):
            yield Flaw(0, f"timeout {name} is not in defaults")
        for one in found:
            if one.words[1] == name and not 0 < directives.seconds(one.words[2]) <= _LONGEST:
                yield Flaw(one.line, f"{one.name} {one.value}: it may be 1ms to {_LONGEST}s")


RULE = FileRule(
    name="haproxy_timeouts",
    reason="A client that sends a byte a minute keeps a connection until none is left.",
    fix="give each time-out in defaults a length with its unit",
    reads=("haproxy/haproxy.cfg",),
    find=_find,
)
