"""No statement that runs by itself takes data away."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies.model import FileRule, Flaw

_TAKES = re.compile(
    r"\b(?:DROP\s+(?:TABLE|DATABASE|SCHEMA|PARTITION|COLUMN|USER)|TRUNCATE|DELETE\s+FROM"
    r"|CREATE\s+OR\s+REPLACE\s+TABLE|REPLACE\s+INTO)\b",
    re.IGNORECASE,
)


def _find(text: str) -> Iterator[Flaw]:
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _TAKES.search(re.sub(r"(^|\s)(#|--\s).*", "", line)):
            yield Flaw(number, f"{' '.join(found[0].upper().split())} takes data away")


RULE = FileRule(
    name="sql_keeps_data",
    reason="It is carried out again and again, with nobody looking; what it drops is gone.",
    fix="leave it out; a person drops by hand, after a backup",
    reads=("mysql/schema.sql", "mysql/start.sh"),
    find=_find,
)
