"""The values of RANGE and LIST: types, domain, order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cmp_to_key
from itertools import pairwise

from stacks.sql_lint import collations
from stacks.sql_lint.constants import (
    UnknownError,
    is_value,
    moment,
    rounded,
    rounded_to_day,
    seconds,
    value,
)
from stacks.sql_lint.expressions import Node
from stacks.sql_lint.model import Bound, Column, Partition, Scheme, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.rules_lists import quoted, rearranged
from stacks.sql_lint.types_of import INTEGERS, TEXTS, is_unsigned, result

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
        elif node.kind == "call" and _is_moment(one.name) and len(node.arguments) == 1:
            if " " in node.name:
                return ()
            edits.append(Edit(*bound.span, f"{node.name}({bound.text})"))
        else:
            return ()
    return tuple(edits)


def _is_moment(text: str) -> bool:
    try:
        return moment(text) is not None
    except UnknownError:
        return False


def column_values(table: Table) -> Problem | None:
    """The values of COLUMNS have the columns' types."""
    scheme = table.scheme
    if scheme is None or not scheme.columns:
        return None
    for partition, place, _, node in _bounds(table):
        column = table.column(scheme.names[place])
        assert column is not None
        try:
            right = _is_right(column, node)
        except UnknownError:
            continue
        if not right:
            why = f"partition {partition.name}: no value for {column.name}, which is {column.type}"
            return Problem(1654, why, _made_values(table, scheme))
    return None


def _is_right(column: Column, node: Node) -> bool:
    """Whether ``node`` is a value of ``column``. Raises ``UnknownError``."""
    kind = result(node, lambda _: "")
    if column.type in INTEGERS:
        if kind != "int":
            return kind == ""
        bits = INTEGERS[column.type]
        low, high = (0, 2**bits) if column.unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        number = value(node)
        return number is None or low <= number < high
    if node.kind == "null":
        return True
    if column.type in ("DATE", "DATETIME"):
        if node.kind != "string" or not is_value(node.name):
            return False
        when = moment(node.name)
        # A DATE takes no time of day but midnight.
        return column.type == "DATETIME" or when is None or when == rounded_to_day(when)
    if column.type == "TIME":
        return node.kind == "string" and seconds(node.name) is not None
    if column.type in TEXTS and node.kind == "string" and column.length is not None:
        return len(node.name) <= column.length
    return node.kind in ("string", "hex")


def _made_values(table: Table, scheme: Scheme) -> tuple[Edit, ...]:
    edits = []
    for _, place, bound, node in _bounds(table):
        kind = table.type_of(scheme.names[place])
        if kind in INTEGERS and node.kind == "string" and re.fullmatch(r"-?\d+", node.name):
            edits.append(Edit(*bound.span, node.name))
        elif kind in ("DATE", "DATETIME") and node.kind == "integer" and _is_moment(node.name):
            edits.append(Edit(*bound.span, _dated(node.name)))
        elif (
            kind in ("DATE", "DATETIME")
            and node.kind == "call"
            and len(node.arguments) == 1
            and node.arguments[0].kind == "string"
            and _is_moment(node.arguments[0].name)
        ):
            edits.append(Edit(*bound.span, f"'{node.arguments[0].name}'"))
    return tuple(edits)


def domain(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme is None or scheme.columns or scheme.node is None:
        return None
    unsigned = is_unsigned(scheme.node, table.is_unsigned)
    for partition, _, _, node in _bounds(table):
        try:
            number = value(node)
        except UnknownError:
            continue
        if number is None and partition.kind == "less":
            return Problem(1566, f"partition {partition.name}: its value is NULL, which is no date")
        if unsigned and number is not None and number < 0:
            why = f"partition {partition.name}: {number}, and what decides is UNSIGNED"
            return Problem(1563, why)
    return None


def _comparable(table: Table, scheme: Scheme, place: int, node: Node) -> Comparable:
    """What values are compared by. Raises ``UnknownError``."""
    if not scheme.columns:
        number = value(node)
        if number is not None and not -(2**63) <= number < 2**63:
            unsigned = scheme.node and is_unsigned(scheme.node, table.is_unsigned)
            if not unsigned or number >= 2**64:
                # What does not fit is accepted, and compared as something else.
                raise UnknownError
        return number
    column = table.column(scheme.names[place])
    if node.kind == "null":
        return None
    if column is None:
        return _of_any(node)
    if column.type in INTEGERS:
        return value(node)
    if node.kind != "string":
        raise UnknownError
    if column.type in ("DATE", "DATETIME"):
        when = moment(node.name)
        if when is None:
            raise UnknownError
        if column.type == "DATE":
            return when.toordinal()
        when = rounded(when, min(column.length or 0, 6))
        return when.strftime("%Y%m%d%H%M%S%f").rjust(20, "0")
    if column.type == "TIME":
        time = seconds(node.name)
        if time is None:
            raise UnknownError
        return time
    if column.type in TEXTS:
        collation = column.collation or table.collation
        if column.type in ("BINARY", "VARBINARY"):
            return collations.key(node.name, "binary", pads=False)
        return collations.key(node.name, collation, pads=column.type == "CHAR")
    raise UnknownError


_DAY = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?")


def _of_any(node: Node) -> Comparable:
    """What a value of a column of a type not known is compared by: days sort as their texts do.
    Raises ``UnknownError``."""
    if node.kind != "string":
        return value(node)
    if not _DAY.fullmatch(node.name) or not _is_moment(node.name):
        raise UnknownError
    return node.name[:10]


def _less(table: Table, scheme: Scheme, left: Partition, right: Partition) -> bool:
    """Whether ``left`` ends before ``right``. Raises ``UnknownError``."""
    for place, (a, b) in enumerate(zip(left.rows[0], right.rows[0], strict=True)):
        if a.node is None or b.node is None:
            # MAXVALUE in both: the server looks no further.
            return a.node is not None
        if a.node == b.node:
            continue
        one = _comparable(table, scheme, place, a.node)
        other = _comparable(table, scheme, place, b.node)
        if one is None or other is None or type(one) is not type(other):
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

    def compared(one: Partition, other: Partition) -> int:
        if _less(table, scheme, one, other):
            return -1
        return 1 if _less(table, scheme, other, one) else 0

    try:
        ordered = sorted(scheme.partitions, key=cmp_to_key(compared))
        kept = ordered[:1]
        for partition in ordered[1:]:
            if _less(table, scheme, kept[-1], partition):
                kept.append(partition)
    except UnknownError:
        return ()
    return rearranged(scheme, kept)


def once(table: Table) -> Problem | None:
    """A value of LIST is in one partition, and there once."""
    scheme = table.scheme
    if scheme is None or scheme.method != "LIST":
        return None
    seen: set[tuple[Comparable | Node, ...]] = set()
    for partition in scheme.partitions:
        for place, row in enumerate(partition.rows):
            values = tuple(_known(table, scheme, i, b.node) for i, b in enumerate(row) if b.node)
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


def _known(table: Table, scheme: Scheme, place: int, node: Node) -> Comparable | Node:
    """What a value is compared by; itself where that is not known: it equals what is written as
    it is."""
    try:
        return _comparable(table, scheme, place, node)
    except UnknownError:
        return node
