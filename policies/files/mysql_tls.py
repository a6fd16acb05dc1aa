"""MySQL says who it is, and speaks to nobody in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_ON = ("1", "on", "true", "")
_VERSIONS = {"tlsv1.2", "tlsv1.3"}
_SHOWN = ("ssl_ca", "ssl_cert", "ssl_key")


def _find(text: str) -> Iterator[Flaw]:
    given = directives.mysql(text)
    for name in ("require_secure_transport", "tls_version", *_SHOWN):
        found = directives.last(given, name)
        if found is None:
            yield Flaw(0, f"{name} is not set")
        elif name == "tls_version":
            versions = {version.strip() for version in found.value.lower().split(",")}
            if not versions <= _VERSIONS:
                yield Flaw(found.line, f"tls_version is {found.value or 'none'}")
        elif name in _SHOWN:
            if not found.value:
                yield Flaw(found.line, f"{name} names no file")
        elif found.value.lower() not in _ON:
            yield Flaw(found.line, f"{name} is {found.value}")


RULE = FileRule(
    name="mysql_tls",
    reason="Whoever is on the way reads rows, or is taken for the server and told passwords.",
    fix="ssl_ca, ssl_cert and ssl_key, require_secure_transport ON, tls_version TLSv1.2,TLSv1.3",
    reads=("mysql/*/my.cnf",),
    find=_find,
)
