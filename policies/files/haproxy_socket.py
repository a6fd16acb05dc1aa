"""HAProxy is commanded by its own account alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from policies import directives
from policies.model import FileRule, Flaw


def _find(text: str) -> Iterator[Flaw]:
    for found in directives.haproxy(text):
        if found.words[:2] != ("stats", "socket"):
            continue
        address, options = found.words[2], found.words[3:]
        if not address.startswith(("/", "unix@/")):
            yield Flaw(found.line, f"the stats socket is at {address}, which others reach")
        mode = dict(pairwise(options)).get("mode", "none")
        if mode not in ("600", "0600"):
            yield Flaw(found.line, f"the stats socket's mode is {mode}")


RULE = FileRule(
    name="haproxy_socket",
    reason="Whoever reaches the socket takes replicas out or reads what passes.",
    fix="a path, and mode 600",
    reads=("haproxy/haproxy.cfg",),
    find=_find,
)
