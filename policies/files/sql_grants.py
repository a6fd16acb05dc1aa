"""Each account has a password and the rights of its work; one alone may change tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.model import FileRule, Flaw

_GRANT = re.compile(r"GRANT (?P<rights>.+) ON (?P<on>\S+) TO (?P<to>\S+?)(?P<option> WITH .*)?;")
_CREATE = re.compile(r"CREATE USER (?:IF NOT EXISTS )?(\S+?)( .*)?;")
_PASSWORD = re.compile(r"ALTER USER (\S+) IDENTIFIED BY \$\(secret \w+\)")
_EVERYTHING = {"ALL", "ALL PRIVILEGES", "SUPER", "FILE", "SHUTDOWN", "CREATE USER", "GRANT OPTION"}
_TABLES = {"ALL", "ALL PRIVILEGES", "CREATE", "ALTER", "DROP"}


def _find(text: str) -> Iterator[Flaw]:
    lines = list(enumerate(text.splitlines(), start=1))
    known = {found[1] for _, line in lines if (found := _PASSWORD.match(line))}
    owners: set[str] = set()
    for number, line in lines:
        created = _CREATE.match(line)
        if created and created[1] not in known:
            yield Flaw(number, f"{created[1]} has no password from a secret")
        if not line.upper().lstrip().startswith("GRANT "):
            continue
        found = _GRANT.match(line)
        if found is None:
            yield Flaw(number, "this GRANT is not written as they are here, and so not judged")
            continue
        rights = {right.strip().upper() for right in found["rights"].split(",")}
        if found["on"] == "*.*" and rights & _EVERYTHING:
            shown = ", ".join(sorted(rights & _EVERYTHING))
            yield Flaw(number, f"{found['to']} gets {shown} on everything")
        if found["option"] or rights & {"GRANT OPTION"}:
            yield Flaw(number, f"{found['to']} may hand its rights on")
        if rights & _TABLES:
            owners.add(found["to"])
            if len(owners) > 1:
                yield Flaw(number, f"{found['to']} may change tables, as another account may")


RULE = FileRule(
    name="sql_grants",
    reason="A hole in the application is then a hole in every row, and nothing more.",
    fix="grant what the account's work needs, on its own database; a password by $(secret …)",
    reads=("mysql/start.sh",),
    find=_find,
)
