"""HAProxy takes no request body that says it is larger than was agreed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_LARGEST = 2**30
_LIMIT = re.compile(r"deny status 413 .*if \{ req\.hdr\(content-length\) -m int gt (\d+) \}")


def _find(text: str) -> Iterator[Flaw]:
    given = directives.haproxy(text)
    for front in directives.fronts(given):
        rules = [d for d in directives.within(given, *front.words) if d.name == "http-request"]
        limits = [(d, found) for d in rules if (found := _LIMIT.match(d.value))]
        if not limits:
            yield Flaw(front.line, f"{front.value} has no limit of request bodies")
        for one, found in limits:
            if not 0 < int(found[1]) <= _LARGEST:
                yield Flaw(one.line, f"the limit of request bodies is {found[1]} bytes")


RULE = FileRule(
    name="haproxy_body_limit",
    reason="One upload without an end fills memory and disk.",
    fix="deny with status 413 above 1 GiB of Content-Length at most, in each frontend",
    reads=("haproxy/haproxy.cfg",),
    find=_find,
)
