"""EXCHANGE PARTITION: the table has to be like the partition, and free of what is its own."""

from __future__ import annotations

from stacks.sql_lint.alter_partitions import listed, unknown, unpartitioned
from stacks.sql_lint.catalog import Catalog
from stacks.sql_lint.model import Column, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Cursor, Name
from stacks.sql_lint.types_of import DECIMALS, INTEGERS, TEXTS


def judge(table: Table, cursor: Cursor, catalog: Catalog | None) -> Problem | None:
    """EXCHANGE has been passed over; without a catalog nothing is known of the other table."""
    cursor.need("PARTITION")
    partition = cursor.raw_name()
    cursor.need("WITH", "TABLE")
    name = cursor.table()
    if cursor.at("WITH") or cursor.at("WITHOUT"):
        cursor.next()
        cursor.need("VALIDATION")
    cursor.end()
    if name == Name(table.schema, table.name):
        return Problem(1066, f"{table.name} is to be exchanged with itself")
    if catalog is None:
        return None
    if missing := catalog.absent(name):
        return missing
    found = table.scheme
    if found is None:
        return unpartitioned(table)
    other = catalog.get(name)
    if other and not other.elsewhere:
        known = _fit(table, other) or _references(other, name, catalog)
        if known:
            return known
    if missing_name := unknown(found, [partition], subs=True):
        why = f"there is no partition {missing_name}; there are {listed(found)}"
        return Problem(1735, why)
    if found.sub and not unknown(found, [partition]):
        return Problem(1734, f"{partition} has subpartitions: exchange one of those")
    return _unlike(table, other) if other and not other.elsewhere else None


def _fit(table: Table, other: Table) -> Problem | None:
    if other.scheme:
        return Problem(1732, f"{other.name} has partitions itself")
    if other.engine != table.engine:
        return Problem(1497, f"{other.name} is of {other.engine}, and {table.name} is not")
    if other.temporary:
        return Problem(1733, f"{other.name} is a temporary table")
    return None


def _references(other: Table, name: Name, catalog: Catalog) -> Problem | None:
    if other.foreign:
        return Problem(1740, f"{other.name} has a foreign key; drop it first")
    child = next(catalog.children(name), None)
    if child:
        return Problem(1740, f"a foreign key of {child.name} refers to {other.name}; drop it first")
    return None


def _unlike(table: Table, other: Table) -> Problem | None:
    ones, others = table.columns, other.columns
    if len(ones) != len(others):
        return Problem(1736, f"{table.name} has {len(ones)} columns, {other.name} {len(others)}")
    for one, two in zip(ones, others, strict=True):
        if not _same(one, two):
            why = f"column {two.name} of {other.name} is not like {one.name} of {table.name}"
            return Problem(1736, why)
    # For foreign keys the server makes indexes of its own, whose names are not known here.
    if not table.indexed and not other.indexed and _keys(table) != _keys(other):
        return Problem(1736, f"{other.name} has other keys than {table.name}, or other names")
    if table.row_format != other.row_format and {table.row_format, other.row_format} & _FORMATS:
        return Problem(1731, f"{other.name} has another ROW_FORMAT than {table.name}")
    return None


_FORMATS = frozenset(["COMPRESSED", "COMPACT", "REDUNDANT"])


def _same(one: Column, two: Column) -> bool:
    """Not the same only where that is certain."""
    if one.name.lower() != two.name.lower() or one.not_null != two.not_null:
        return False
    if _type(one) != _type(two) or one.unsigned != two.unsigned:
        return False
    if one.type in TEXTS and one.length != two.length:
        return False
    collations = {one.collation, two.collation}
    return not (one.type in TEXTS and len(collations) > 1 and all("_" in c for c in collations))


def _type(column: Column) -> str:
    if column.type in DECIMALS:
        return "DECIMAL"
    if column.type in INTEGERS or column.type != "REAL":
        return column.type
    return "DOUBLE"


def _keys(table: Table) -> set[tuple[object, ...]]:
    return {
        (key.kind, key.name.lower(), *((name or "").lower() for name, _ in key.parts))
        for key in table.keys
    }
