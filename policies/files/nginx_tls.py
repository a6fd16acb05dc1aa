"""Where nginx speaks TLS, it is 1.2 or 1.3 with ciphers that keep old traffic secret."""

from __future__ import annotations

from collections.abc import Iterator

from policies import ciphers, directives
from policies.model import FileRule, Flaw

_PROTOCOLS = {"TLSv1.2", "TLSv1.3"}


def _find(text: str) -> Iterator[Flaw]:
    given = directives.nginx(text)
    if not any(d.name == "listen" and {"ssl", "quic"} & {*d.words} for d in given):
        return
    for name in ("ssl_protocols", "ssl_session_tickets"):
        if not any(d.name == name and d.within == (("http",),) for d in given):
            yield Flaw(0, f"{name} is not set for all of http")
    offered = {word for d in given if d.name == "ssl_protocols" for word in d.words[1:]}
    if "TLSv1.2" in offered and not any(d.name == "ssl_ciphers" for d in given):
        yield Flaw(0, "ssl_ciphers is not set")
    for found in given:
        if found.name == "ssl_protocols" and not _PROTOCOLS.issuperset(found.words[1:]):
            yield Flaw(found.line, f"ssl_protocols is {found.value}")
        elif found.name == "ssl_session_tickets" and found.value != "off":
            yield Flaw(found.line, f"ssl_session_tickets is {found.value}")
        elif found.name == "ssl_ciphers" and (weak := ciphers.weak(found.value)):
            yield Flaw(found.line, f"ssl_ciphers offers {', '.join(weak)}")


RULE = FileRule(
    name="nginx_tls",
    reason="An old protocol or cipher is read by whoever records it.",
    fix="keep to Mozilla's intermediate or modern profile",
    reads=("nginx/nginx.conf",),
    find=_find,
)
