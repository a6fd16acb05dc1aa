"""nginx tells nobody which version it is, nor what is behind it."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw


def _find(text: str) -> Iterator[Flaw]:
    given = directives.nginx(text)
    tokens = [d for d in given if d.name == "server_tokens"]
    if not any(d.within == (("http",),) for d in tokens):
        yield Flaw(0, "server_tokens is not set for all of http")
    for found in tokens:
        if found.value != "off":
            yield Flaw(found.line, f"server_tokens is {found.value}")
    for found in given:
        if found.name == "proxy_pass_header" and found.value.lower() in _TELLING:
            yield Flaw(found.line, f"a replica's header {found.value} is passed on")


_TELLING = ("server", "x-powered-by")


RULE = FileRule(
    name="nginx_quiet",
    reason="Who knows the version knows which holes to try.",
    fix="write server_tokens off in http, and pass no replica's Server on",
    reads=("nginx/nginx.conf",),
    find=_find,
)
