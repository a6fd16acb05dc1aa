"""Where HAProxy speaks TLS, it is 1.2 or 1.3 with ciphers that keep old traffic secret."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from policies import ciphers, directives
from policies.model import FileRule, Flaw

_MINIMUM = ("TLSv1.2", "TLSv1.3")
_WEAKER = ("force-sslv3", "force-tlsv10", "force-tlsv11", "no-tlsv13", "tls-tickets")
_DEFAULTS = "ssl-default-bind-"


def _find(text: str) -> Iterator[Flaw]:
    given = directives.haproxy(text)
    if not any(d.name == "bind" and "ssl" in d.words for d in given):
        return
    options = directives.last(given, f"{_DEFAULTS}options")
    words = options.words if options else ()
    for needed in ("ssl-min-ver", "no-tls-tickets"):
        if needed not in words:
            yield Flaw(options.line if options else 0, f"{_DEFAULTS}options lacks {needed}")
    if "TLSv1.3" not in words and not directives.last(given, f"{_DEFAULTS}ciphers"):
        yield Flaw(0, f"{_DEFAULTS}ciphers is not set")
    for found in given:
        if found.name in ("bind", f"{_DEFAULTS}options"):
            yield from _options(found)
        if found.name == f"{_DEFAULTS}ciphers" and (weak := ciphers.weak(found.value)):
            yield Flaw(found.line, f"{found.name} offers {', '.join(weak)}")


def _options(found: directives.Directive) -> Iterator[Flaw]:
    for word, following in pairwise((*found.words, "")):
        if word in ("ssl-min-ver", "ssl-max-ver") and following not in _MINIMUM:
            yield Flaw(found.line, f"{word} is {following or 'not said'}")
        if word == "ciphers" and (weak := ciphers.weak(following)):
            yield Flaw(found.line, f"a bind offers {', '.join(weak)}")
        if word in _WEAKER:
            yield Flaw(found.line, f"{word} is set")


RULE = FileRule(
    name="haproxy_tls",
    reason="An old protocol or cipher is read by whoever records it.",
    fix="keep to Mozilla's intermediate or modern profile",
    reads=("haproxy/haproxy.cfg",),
    find=_find,
)
