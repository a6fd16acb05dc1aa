"""What the server takes and people regret. Advice, never an error."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stacks.sql_lint.model import Table


def of(table: Table, text: str) -> Iterator[str]:
    """Advice on the statement ``text``, which has left ``table`` as it is."""
    scheme = table.scheme
    if scheme is None or not re.search(r"\bPARTITION\s+BY\b", text, re.IGNORECASE):
        return
    last = scheme.partitions[-1] if scheme.partitions else None
    if scheme.method == "RANGE" and last is not None:
        if last.is_maxvalue:
            yield (
                f"partition {last.name} takes all that is later, so ADD PARTITION will be refused "
                "(1481 or 1493): split it by REORGANIZE PARTITION, before rows are in it"
            )
        else:
            yield (
                f"no partition takes what is after {last.name}: such a row will be refused (1526); "
                "add partitions ahead of time"
            )
    if scheme.method in ("RANGE", "LIST"):
        for name in scheme.used[:1]:
            column = table.column(name)
            if column and scheme.method == "RANGE" and not column.not_null:
                yield f"{name} may be NULL, which the first partition takes; write NOT NULL"
            others = [key for key in table.keys if key.parts[0][0] is not None]
            firsts = {str(key.parts[0][0]).lower() for key in others}
            if others and name.lower() not in firsts:
                yield (
                    f"no key begins with {name}: within a partition, a search by {name} reads all "
                    f"rows; add KEY ({name})"
                )
