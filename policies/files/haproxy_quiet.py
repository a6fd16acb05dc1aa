"""HAProxy passes on nothing that says what is behind it, and shows no page of statistics."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw


def _find(text: str) -> Iterator[Flaw]:
    given = directives.haproxy(text)
    for front in directives.fronts(given):
        rules = directives.within(given, *front.words)
        if not any(d.words in _HIDDEN for d in rules):
            yield Flaw(front.line, f"{front.value} passes a replica's header Server on")
    for found in given:
        if found.words[:2] in (("stats", "enable"), ("stats", "uri")):
            yield Flaw(found.line, "a page of statistics is shown")


_HIDDEN = (
    ("http-after-response", "del-header", "Server"),
    ("http-response", "del-header", "Server"),
)


RULE = FileRule(
    name="haproxy_quiet",
    reason="Who knows the version knows which holes to try.",
    fix="write http-after-response del-header Server in the frontend, and no stats page",
    reads=("haproxy/haproxy.cfg",),
    find=_find,
)
