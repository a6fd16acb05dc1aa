"""nginx waits for nobody for ever."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_NEEDED = (
    "client_body_timeout",
    "client_header_timeout",
    "keepalive_timeout",
    "proxy_connect_timeout",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "send_timeout",
)
_LONGEST = 3600
"""Seconds, as long as a stack file may ask for."""


def _find(text: str) -> Iterator[Flaw]:
    given = directives.nginx(text)
    for name in _NEEDED:
        found = [d for d in given if d.name == name]
        if not found:
            yield Flaw(0, f"{name} is not set")
        for one in found:
            if not 0 < directives.seconds(one.words[1]) <= _LONGEST:
                yield Flaw(one.line, f"{name} is {one.value}; it may be 1s to {_LONGEST}s")


RULE = FileRule(
    name="nginx_timeouts",
    reason="A client that sends a byte a minute keeps a connection until none is left.",
    fix="give each time-out a length with its unit",
    reads=("nginx/nginx.conf",),
    find=_find,
)
