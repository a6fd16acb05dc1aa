"""Columns of a table: names, AUTO_INCREMENT, and what the primary key asks of them."""

from __future__ import annotations

from stacks.sql_lint.model import Column, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.types_of import FLOATS, INTEGERS


def names(table: Table) -> Problem | None:
    if table.name.endswith(" "):
        return Problem(1103, f"the name `{table.name}` ends with a space")
    wrong = next((c for c in table.columns if c.name.endswith(" ")), None)
    return Problem(1166, f"the name `{wrong.name}` ends with a space") if wrong else None


def twice(table: Table) -> Problem | None:
    found = [column.name.lower() for column in table.columns]
    seen: set[str] = set()
    for name in found:
        if name in seen:
            return Problem(1060, f"two columns are called {name}")
        seen.add(name)
    return None


def incremented(table: Table) -> Problem | None:
    for column in table.columns:
        if column.auto_increment and column.type not in INTEGERS:
            kind = f"{column.type} takes no AUTO_INCREMENT"
            if column.type in FLOATS:
                kind += " in MySQL 8.4 and later"
            return Problem(1063, f"{column.name}: {kind}; an integer does")
    return None


def defaults(table: Table) -> Problem | None:
    inline = {key.parts[0][0] for key in table.keys if key.inline and key.kind == "primary"}
    for column in table.columns:
        if column.default_null and (column.name in inline or column.said_not_null):
            why = f"{column.name} has DEFAULT NULL, and cannot be NULL"
            return Problem(1067, why, never_null(column))
        if column.defaulted and column.auto_increment:
            return Problem(1067, f"{column.name} has AUTO_INCREMENT, and so no DEFAULT")
    return None


def in_primary(column: Column) -> Problem | None:
    """Each part of the primary key is NOT NULL, and stored."""
    if column.generated == "VIRTUAL":
        why = f"{column.name} is VIRTUAL: the primary key takes what is STORED"
        return Problem(3106, why)
    if column.null or column.default_null:
        why = f"{column.name} may be NULL, and is in the primary key"
        return Problem(1171, why, never_null(column))
    return None


def never_null(column: Column) -> tuple[Edit, ...]:
    """Makes a column that may be NULL one that is NOT NULL."""
    edits = []
    if column.null_span[0] >= 0:
        edits.append(Edit(*column.null_span, "NOT NULL"))
    if column.default_span[0] >= 0:
        edits.append(Edit(*column.default_span, "" if edits else "NOT NULL"))
    return tuple(edits)
