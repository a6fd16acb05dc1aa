"""MySQL stores a value as it was given, or refuses it."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw


def _find(text: str) -> Iterator[Flaw]:
    given = directives.mysql(text)
    modes = directives.last(given, "sql_mode")
    kept = set(modes.value.upper().split(",")) if modes else set()
    line = modes.line if modes else 0
    if not kept & {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"}:
        yield Flaw(line, "sql_mode is not strict")
    if not kept & {"NO_ENGINE_SUBSTITUTION", "TRADITIONAL"}:
        yield Flaw(line, "sql_mode lacks NO_ENGINE_SUBSTITUTION")
    script = directives.last(given, "character_set_server")
    if script is None or script.value.lower() != "utf8mb4":
        shown = script.value if script else "not set"
        yield Flaw(script.line if script else 0, f"character_set_server is {shown}")


RULE = FileRule(
    name="mysql_strict",
    reason="A name cut off or a date of zeros is found when nobody can mend it any more.",
    fix="the forced sql_mode, and character_set_server = utf8mb4",
    reads=("mysql/*/my.cnf",),
    find=_find,
)
