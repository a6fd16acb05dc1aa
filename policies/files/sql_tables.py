"""Every table has a primary key, is InnoDB's and holds every script."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_TABLE = re.compile(r"CREATE (TEMPORARY )?TABLE (IF NOT EXISTS )?(?P<name>\S+)", re.IGNORECASE)
_SCRIPT = re.compile(r"(?:CHARSET|CHARACTER SET|COLLATE)\s*=?\s*(\w+)", re.IGNORECASE)
_ENGINE = re.compile(r"\bENGINE\s*=?\s*(\w+)", re.IGNORECASE)


def _find(text: str) -> Iterator[Flaw]:
    for statement in directives.sql(text):
        table = _TABLE.match(statement.text)
        for script in _SCRIPT.findall(statement.text):
            if not script.lower().startswith("utf8mb4"):
                yield Flaw(statement.line, f"{script} does not hold every script")
        if table is None:
            continue
        if not re.search(r"\bPRIMARY KEY\b", statement.text, re.IGNORECASE):
            yield Flaw(statement.line, f"{table['name']} has no primary key")
        engines = _ENGINE.findall(statement.text)
        if not engines or any(engine.lower() != "innodb" for engine in engines):
            yield Flaw(statement.line, f"{table['name']} is not said to be InnoDB's")


RULE = FileRule(
    name="sql_tables",
    reason="Another engine loses rows in a crash; without a key no row can be told from its twin.",
    fix="write PRIMARY KEY (…) and ENGINE = InnoDB, and utf8mb4 where a character set is named",
    reads=("mysql/schema.sql",),
    find=_find,
)
