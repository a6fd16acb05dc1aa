"""The values of RANGE and LIST: types, domain, order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from stacks.sql_lint.expressions import INTEGERS, TEXTS, Node, UnknownError, moment, result, value
from stacks.sql_lint.model import Bound, Partition, Scheme, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.rules_lists import quoted, rearranged

Comparable = int | str | None


def _bounds(table: Table) -> Iterator[tuple[Partition, int, Bound, Node]]:
    """Each value that is not MAXVALUE, with the number of its column."""
    for partition in table.scheme.partitions if table.scheme else ():
        for row in partition.rows:
            for place, bound in enumerate(row):
                if bound.node is not None:
                    yield partition, place, bound, bound.node


def as_columns(table: Table) -> tuple[Edit, ...]:
    """RANGE COLUMNS (column) in the place of RANGE (column); numbers that are dates in quotes."""
    scheme = table.scheme
    if scheme is None or scheme.node is None or scheme.node.kind != "column":
        return ()
    edits = [Edit(*scheme.by, f"{scheme.method} COLUMNS ({quoted(scheme.node.name)})")]
    for _, _, bound, node in _bounds(table):
        if node.kind == "integer":
            edits.append(Edit(*bound.span, _dated(node.name)))
    return tuple(edits)


def _dated(number: str) -> str:
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", number)
    return f"'{found[1]}-{found[2]}-{found[3]}'" if found else f"'{number}'"


def as_timestamps(table: Table) -> tuple[Edit, ...]:
    """RANGE (UNIX_TIMESTAMP(column)) for a TIMESTAMP column, its bounds likewise."""
    scheme = table.scheme
    if scheme is None or len(scheme.used) != 1 or scheme.method != "RANGE":
        return ()
    edits = [Edit(*scheme.by, f"RANGE (UNIX_TIMESTAMP({quoted(scheme.used[0])}))")]
    for _, _, bound, node in _bounds(table):
        if node.kind == "string":
            edits.append(Edit(*bound.span, f"UNIX_TIMESTAMP({bound.text})"))
    return tuple(edits)


def null(table: Table) -> Problem | None:
    for partition, _, _, node in _bounds(table):
        if partition.kind == "less" and node.kind == "null":
            return Problem(1566, f"partition {partition.name}: no value is less than NULL")
    return None


def column_in_bound(table: Table) -> Problem | None:
    if table.scheme is None:
        return None
    for partition, _, _, node in _bounds(table):
        if node.columns:
            why = f"partition {partition.name}: its value is a column ({node.columns[0]})"
            return Problem(1054, f"{why}, and has to be a constant")
    return None


def integers(table: Table) -> Problem | None:
    """RANGE and LIST without COLUMNS take integers."""
    scheme = table.scheme
    if scheme is None or scheme.columns or scheme.node is None:
        return None
    for partition, _, _, node in _bounds(table):
        kind = result(node, lambda _: "")
        if kind in ("string", "decimal", "float"):
            why = (
                f"partition {partition.name}: {scheme.method} takes integers, and this is a {kind}"
            )
            edits = _made_integers(table, scheme)
            if edits and edits[0].text.startswith(f"{scheme.method} COLUMNS"):
                why += f"; {scheme.method} COLUMNS takes dates and strings"
            return Problem(1697, why, edits)
    return None


def _made_integers(table: Table, scheme: Scheme) -> tuple[Edit, ...]:
    node = scheme.node
    assert node is not None
    if node.kind == "column":
        kind = table.type_of(node.name)
        if kind in TEXTS or kind in ("DATE", "DATETIME", "TIME"):
            return as_columns(table)
        if kind == "TIMESTAMP":
            return as_timestamps(table)
    edits = []
    for _, _, bound, one in _bounds(table):
        if one.kind != "string":
            continue
        if re.fullmatch(r"-?\d+", one.name):
            edits.append(Edit(*bound.span, one.name))
        elif node.kind == "call" and moment(one.name) and len(node.arguments) == 1:
            if " " in node.name:
                return ()
            edits.append(Edit(*bound.span, f"{node.name}({bound.text})"))
        else:
            return ()
    return tuple(edits)


def column_values(table: Table) -> Problem | None:
    """The values of COLUMNS have the columns' types."""
    scheme = table.scheme
    if scheme is None or not scheme.columns:
        return None
    for partition, place, _, node in _bounds(table):
        column = table.column(scheme.names[place])
        assert column is not None
        kind = result(node, lambda _: "")
        right = True
        if column.type in INTEGERS:
            right = kind in ("int", "")
            if kind == "int":
                bits = INTEGERS[column.type]
                low, high = (
                    (0, 2**bits) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
                )
                try:
                    number = value(node)
                    right = number is None or low <= number < high
                except UnknownError:
                    right = True
        elif column.type in ("DATE", "DATETIME"):
            right = node.kind == "null" or (node.kind == "string" and moment(node.name) is not None)
        elif node.kind != "null":
            right = node.kind in ("string", "hex")
            if column.type in TEXTS and node.kind == "string" and column.length is not None:
                right = len(node.name) <= column.length
        if not right:
            why = f"partition {partition.name}: no value for {column.name}, which is {column.type}"
            return Problem(1654, why, _made_values(table, scheme))
    return None


def _made_values(table: Table, scheme: Scheme) -> tuple[Edit, ...]:
    edits = []
    for _, place, bound, node in _bounds(table):
        kind = table.type_of(scheme.names[place])
        if kind in INTEGERS and node.kind == "string" and re.fullmatch(r"-?\d+", node.name):
            edits.append(Edit(*bound.span, node.name))
        elif kind in ("DATE", "DATETIME") and node.kind == "integer" and moment(node.name):
            edits.append(Edit(*bound.span, _dated(node.name)))
        elif (
            kind in ("DATE", "DATETIME")
            and node.kind == "call"
            and len(node.arguments) == 1
            and node.arguments[0].kind == "string"
            and moment(node.arguments[0].name)
        ):
            edits.append(Edit(*bound.span, f"'{node.arguments[0].name}'"))
    return tuple(edits)


def domain(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme is None or scheme.columns or scheme.node is None:
        return None
    column = table.column(scheme.node.name) if scheme.node.kind == "column" else None
    for partition, _, _, node in _bounds(table):
        try:
            number = value(node)
        except UnknownError:
            continue
        if number is None and partition.kind == "less":
            return Problem(1566, f"partition {partition.name}: its value is NULL, which is no date")
        if column and column.unsigned and number is not None and number < 0:
            why = f"partition {partition.name}: {number}, and {column.name} is UNSIGNED"
            return Problem(1563, why)
    return None


def _comparable(table: Table, scheme: Scheme, place: int, node: Node) -> Comparable:
    """What values are compared by. Raises ``UnknownError``."""
    if not scheme.columns:
        return value(node)
    column = table.column(scheme.names[place])
    if node.kind == "null":
        return None
    if column is None or column.type in INTEGERS:
        return value(node)
    if node.kind != "string":
        raise UnknownError
    if column.type in ("DATE", "DATETIME"):
        when = moment(node.name)
        if when is None:
            raise UnknownError
        # Of a DATE only the day counts.
        return when.strftime("%Y%m%d" if column.type == "DATE" else "%Y%m%d%H%M%S").rjust(14, "0")
    if column.type == "TIME" or column.type in TEXTS:
        collation = column.collation or table.collation
        exact = collation.endswith("_bin") or column.type in ("BINARY", "VARBINARY")
        # Signs and accents have an order of their own in each collation.
        if node.name.isascii() and node.name.isalnum():
            return node.name if exact or collation.endswith("_cs") else node.name.casefold()
    raise UnknownError


def _less(table: Table, scheme: Scheme, left: Partition, right: Partition) -> bool:
    """Whether ``left`` ends before ``right``. Raises ``UnknownError``."""
    for place, (a, b) in enumerate(zip(left.rows[0], right.rows[0], strict=True)):
        if a.node is None or b.node is None:
            # MAXVALUE in both: the server looks no further.
            return a.node is not None
        one = _comparable(table, scheme, place, a.node)
        other = _comparable(table, scheme, place, b.node)
        if one is None or other is None:
            raise UnknownError
        if one != other:
            return one < other  # type: ignore[operator]  # both of the column's type
    return False


def order(table: Table) -> Problem | None:
    """Each partition ends later than the one before."""
    scheme = table.scheme
    if scheme is None or scheme.method != "RANGE":
        return None
    for left, right in pairwise(scheme.partitions):
        try:
            if _less(table, scheme, left, right):
                continue
        except UnknownError:
            continue
        why = (
            f"partition {right.name} ends before {left.name}, or where it ends: bounds have to grow"
        )
        return Problem(1493, why, _sorted(table, scheme))
    return None


def _sorted(table: Table, scheme: Scheme) -> tuple[Edit, ...]:
    """The partitions by their bounds; of two with one bound the first is kept."""
    kept: list[Partition] = []
    try:
        for partition in scheme.partitions:
            at = sum(_less(table, scheme, other, partition) for other in kept)
            if at == len(kept) or _less(table, scheme, partition, kept[at]):
                kept.insert(at, partition)
    except UnknownError:
        return ()
    return rearranged(scheme, kept)


def once(table: Table) -> Problem | None:
    """A value of LIST is in one partition, and there once."""
    scheme = table.scheme
    if scheme is None or scheme.method != "LIST":
        return None
    seen: set[tuple[Comparable, ...]] = set()
    for partition in scheme.partitions:
        for place, row in enumerate(partition.rows):
            try:
                values = tuple(
                    _comparable(table, scheme, i, b.node) for i, b in enumerate(row) if b.node
                )
            except UnknownError:
                continue
            if values in seen:
                shown = ", ".join(bound.text for bound in row)
                edits: tuple[Edit, ...] = ()
                if place and not partition.tuples:
                    edits = (Edit(partition.rows[place - 1][0].span[1], row[0].span[1], ""),)
                elif len(partition.rows) > 1 and not partition.tuples:
                    edits = (Edit(row[0].span[0], partition.rows[1][0].span[0], ""),)
                return Problem(1495, f"partition {partition.name}: {shown} is listed twice", edits)
            seen.add(values)
    return None
