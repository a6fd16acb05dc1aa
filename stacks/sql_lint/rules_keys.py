"""Keys, foreign keys and engines of a table, as far as its partitions care."""

from __future__ import annotations

from stacks.sql_lint.expressions import GEOMETRIES
from stacks.sql_lint.model import Foreign, Key, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.rules_lists import quoted


def temporary(table: Table) -> Problem | None:
    if table.scheme and table.temporary:
        return Problem(1562, "a temporary table cannot have partitions")
    return None


def engine(table: Table) -> Problem | None:
    if table.scheme and table.engine not in ("INNODB", "NDB", "NDBCLUSTER"):
        edits = (Edit(*table.engine_span, "ENGINE = InnoDB"),)
        return Problem(1178, f"{table.engine} has no partitions; InnoDB has", edits)
    return None


def column_twice(table: Table) -> Problem | None:
    names = [column.name.lower() for column in table.columns]
    double = next((name for name in names if names.count(name) > 1), None)
    return Problem(1060, f"two columns are called {double}") if double else None


def one_primary_key(table: Table) -> Problem | None:
    if sum(key.kind == "primary" for key in table.keys) > 1:
        return Problem(1068, "there are two primary keys")
    return None


def key_columns(table: Table) -> Problem | None:
    for key in table.keys:
        for name, _ in key.parts:
            if name is not None and table.column(name) is None:
                return Problem(1072, f"key {key.name}: the table has no column {name}")
    return None


def auto_increment(table: Table) -> Problem | None:
    columns = [column for column in table.columns if column.auto_increment]
    if len(columns) > 1:
        return Problem(1075, "one column at most can have AUTO_INCREMENT")
    for column in columns:
        firsts = [key.parts[0][0] or "" for key in table.keys if key.kind != "fulltext"]
        if column.name.lower() not in [first.lower() for first in firsts]:
            kind = "KEY" if any(key.kind == "primary" for key in table.keys) else "PRIMARY KEY"
            rest = table.scheme.used if table.scheme and kind == "PRIMARY KEY" else []
            listed = _listed([column.name, *(n for n in rest if n.lower() != column.name.lower())])
            why = f"{column.name} has AUTO_INCREMENT, and no key begins with it"
            return Problem(1075, why, _added(table, f"{kind} ({listed})"))
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _added(table: Table, definition: str) -> tuple[Edit, ...]:
    return (Edit(table.body_end, table.body_end, f", {definition}"),) if table.body_end else ()


def foreign(table: Table) -> Problem | None:
    if table.scheme and table.foreign:
        return Problem(
            1506,
            f"a table with partitions takes no foreign key (here to {table.foreign[0].target}); "
            "leave it out and let the application keep the reference",
            tuple(without(f) for f in table.foreign),
        )
    return None


def without(definition: Foreign | Key) -> Edit:
    """Takes a definition out, with the comma before it (``GONE`` says so) where it is not a part of
    a column's."""
    return Edit(*definition.span, "" if definition.inline else GONE)


GONE = "\x01"


def fulltext(table: Table) -> Problem | None:
    found = [key for key in table.keys if key.kind == "fulltext"]
    if table.scheme and found:
        why = "a table with partitions has no FULLTEXT index"
        return Problem(1214, why, tuple(without(key) for key in found))
    return None


def geometry(table: Table) -> Problem | None:
    if table.scheme:
        for column in table.columns:
            if column.type in GEOMETRIES:
                return Problem(1178, f"{column.name}: a table with partitions has no {column.type}")
    return None


def unique(table: Table) -> Problem | None:
    """Each unique key has every column that decides on the partition, and whole."""
    if table.scheme is None:
        return None
    used = table.scheme.used or _default_key(table)
    # The primary key comes first, as in the server.
    for key in sorted(table.keys, key=lambda k: k.kind != "primary"):
        missing = [name for name in used if not key.holds(name)]
        if key.kind not in ("primary", "unique") or not missing:
            continue
        what = "the primary key" if key.kind == "primary" else f"unique key {key.name}"
        why = f"{what} lacks {', '.join(missing)}, which the partitions are made by"
        return Problem(1503, why, _widened(table, key, missing))
    return None


def _default_key(table: Table) -> list[str]:
    for kind in ("primary", "unique"):
        for key in table.keys:
            if key.kind == kind:
                return [name for name, _ in key.parts if name]
    return []


def _widened(table: Table, key: Key, missing: list[str]) -> tuple[Edit, ...]:
    if key.inline:
        word = "PRIMARY KEY" if key.kind == "primary" else "UNIQUE KEY"
        column = key.parts[0][0] or ""
        added = _added(table, f"{word} ({_listed([column, *missing])})")
        return (Edit(*key.span, ""), *added) if added else ()
    edits = []
    absent = []
    for name in missing:
        for (part, _), place in zip(key.parts, key.part_spans, strict=True):
            if part is not None and part.lower() == name.lower():
                edits.append(Edit(*place, quoted(name)))
                break
        else:
            absent.append(name)
    if absent:
        end = key.part_spans[-1][1]
        edits.append(Edit(end, end, f", {_listed(absent)}"))
    return tuple(edits)
