"""MySQL asks who comes, and hands out no files."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_OFF = ("0", "off", "false")
_WANTED = {"local_infile": _OFF, "mysqlx": _OFF, "secure_file_priv": ("null",)}


def _find(text: str) -> Iterator[Flaw]:
    given = directives.mysql(text)
    for name, wanted in _WANTED.items():
        found = directives.last(given, name)
        if found is None:
            yield Flaw(0, f"{name} is not set")
        elif found.value.lower() not in wanted:
            yield Flaw(found.line, f"{name} is {found.value or 'on'}")
    for found in given:
        value = found.value.lower()
        if found.name == "skip_grant_tables" and value not in _OFF:
            yield Flaw(found.line, "skip_grant_tables lets everybody in")
        elif found.name == "require_secure_transport" and value in _OFF:
            yield Flaw(found.line, f"require_secure_transport is {found.value}")
        elif found.name in ("skip_ssl", "init_file") or found.name.startswith("!include"):
            yield Flaw(found.line, f"{found.name} is set")


RULE = FileRule(
    name="mysql_closed",
    reason="One of these undoes every account and password.",
    fix="local_infile and mysqlx OFF, secure_file_priv NULL, no skip_grant_tables",
    reads=("mysql/*/my.cnf",),
    find=_find,
)
