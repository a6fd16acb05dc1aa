"""What the partitions are made by: the function or the columns."""

from __future__ import annotations

from stacks.sql_lint.expressions import SUBQUERY, Node
from stacks.sql_lint.model import Scheme, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.rules_bounds import as_columns, as_timestamps
from stacks.sql_lint.rules_lists import quoted
from stacks.sql_lint.types_of import BLOBS, INTEGERS, TEXTS, fits, result
from stacks.sql_lint.words import words

ALLOWED = frozenset(
    [
        "ABS",
        "CEIL",
        "CEILING",
        "DATEDIFF",
        "DAY",
        "DAYOFMONTH",
        "DAYOFWEEK",
        "DAYOFYEAR",
        "EXTRACT",
        "FLOOR",
        "HOUR",
        "MICROSECOND",
        "MINUTE",
        "MOD",
        "MONTH",
        "QUARTER",
        "SECOND",
        "TIME_TO_SEC",
        "TO_DAYS",
        "TO_SECONDS",
        "UNIX_TIMESTAMP",
        "WEEKDAY",
        "YEAR",
        "YEARWEEK",
        "DIV",
        "+",
        "-",
        "*",
        "FROM_DAYS",
        "DEFAULT",
        "PI",
    ]
)
"""Those behind DIV pass here, and are refused for what they yield."""
_SIGNS = frozenset(["TRUE", "FALSE", "BINARY", "NOT", "AND", "OR", "XOR", "IS", "IN", "LIKE"]) | {
    *("BETWEEN", "REGEXP", "RLIKE", "SOUNDS", "MEMBER", "COLLATE", "INTERVAL"),
}
_FAMILIES = ("ST_", "MBR", "JSON_", "GTID_", "REGEXP_")


def _schemes(table: Table) -> list[Scheme]:
    found = table.scheme
    return [] if found is None else [found, *([found.sub] if found.sub else [])]


def _calls(table: Table) -> list[tuple[Scheme | None, Node]]:
    nodes: list[tuple[Scheme | None, Node]] = [(s, s.node) for s in _schemes(table) if s.node]
    if table.scheme:
        bounds = (b.node for p in table.scheme.partitions for r in p.rows for b in r if b.node)
        nodes += [(None, node) for node in bounds]
    return [(scheme, n) for scheme, node in nodes for n in node.walk() if n.kind == "call"]


def random(table: Table) -> Problem | None:
    """What the server refuses while it reads: 1064, with 1486's words."""
    for scheme, call in _calls(table):
        if call.name == SUBQUERY and scheme:
            return Problem(1064, "a query in a partitioning function")
        if call.name == "@":
            return Problem(1064, "a variable is not the same at all times")
        if call.name == "UNIX_TIMESTAMP" and not call.arguments:
            return Problem(1064, "UNIX_TIMESTAMP () is not the same at all times")
        if _is_random(call.name):
            name = call.name.lstrip(".")
            why = f"{name} is not the same at all times: partitions need what never changes"
            if name not in words("random"):
                why = f"{name} is no function of MySQL's own, and only some of those are allowed"
            return Problem(1064, why)
    return None


def _is_random(name: str) -> bool:
    """Also what may be a function that somebody has stored."""
    first = name.partition(" ")[0]
    if first in words("random") or first.startswith("."):
        return True
    own = first in ALLOWED or first in words("denied") or first in _SIGNS or first == SUBQUERY
    return not own and first[0].isalpha() and not first.startswith(_FAMILIES)


def fields(table: Table) -> Problem | None:
    """16 columns at most, each once."""
    for scheme in _schemes(table):
        names = [name.lower() for name in scheme.names]
        if len(names) > 16:
            return Problem(1655, f"{len(names)} columns; 16 is the most")
        double = next((name for name in names if names.count(name) > 1), None)
        if double:
            return Problem(1652, f"column {double} is named twice")
    return None


def allowed(table: Table) -> Problem | None:
    for scheme, call in _calls(table):
        name = call.name.partition(" ")[0]
        if name not in ALLOWED:
            shown = "a query" if name == SUBQUERY else name
            why = f"{shown} is not allowed in a partitioning function"
            return Problem(1564, why, _by_key(table, scheme))
    return None


def _by_key(table: Table, scheme: Scheme | None) -> tuple[Edit, ...]:
    """KEY over the same columns, in the place of a HASH that is refused."""
    if scheme is None or scheme.method != "HASH" or scheme.node is None:
        return ()
    names = [name for name in scheme.node.columns if _whole(table, name)]
    if not names or len(names) < len(scheme.node.columns):
        return ()
    return (Edit(*scheme.by, f"KEY ({', '.join(map(quoted, names))})"),)


def _whole(table: Table, name: str) -> bool:
    kind = table.type_of(name)
    return bool(kind) and kind not in BLOBS and kind != "JSON"


def known_columns(table: Table) -> Problem | None:
    for scheme in _schemes(table):
        for name in scheme.names:
            if table.column(name) is None:
                return Problem(1488, f"the table has no column {name} to be partitioned by")
        for name in scheme.node.columns if scheme.node else ():
            if table.column(name) is None:
                return Problem(1054, f"the table has no column {name} to be partitioned by")
    return None


def default_key(table: Table) -> Problem | None:
    """KEY () means the primary key, else a unique one without NULL."""
    scheme = table.scheme
    if scheme is None or scheme.method != "KEY" or scheme.names:
        return None
    for key in sorted(table.keys, key=lambda k: k.kind != "primary"):
        if key.kind not in ("primary", "unique"):
            continue
        columns = [table.column(name) for name, _ in key.parts if name]
        if key.kind == "primary" or all(column and column.not_null for column in columns):
            for name, prefix in key.parts:
                if prefix:
                    return Problem(
                        6123, f"KEY () means the primary key, and of {name} it has a part"
                    )
            return None
    return Problem(1488, "KEY () means the primary key, and there is none; name the columns")


def blobs(table: Table) -> Problem | None:
    for scheme in _schemes(table):
        names = scheme.names if scheme.node is None else scheme.node.columns
        for name in names:
            kind = table.type_of(name)
            if kind in BLOBS or (kind == "JSON" and not scheme.columns):
                return Problem(1502, f"{name} is {kind}: no column of that type makes partitions")
    return None


def column_types(table: Table) -> Problem | None:
    """RANGE COLUMNS and LIST COLUMNS take integers, dates, times of day and strings."""
    for one in _schemes(table):
        vector = next((n for n in one.names if table.type_of(n) == "VECTOR"), "")
        if vector:
            return Problem(1659, f"{vector} is VECTOR: no column of that type makes partitions")
    scheme = table.scheme
    if scheme is None or not scheme.columns:
        return None
    for name in scheme.names:
        kind = table.type_of(name)
        if kind not in INTEGERS and kind not in TEXTS and kind not in ("DATE", "DATETIME", "TIME"):
            edits = as_timestamps(table) if kind == "TIMESTAMP" else ()
            return Problem(1659, f"{name} is {kind}: not for {scheme.method} COLUMNS", edits)
    return None


def constant(table: Table) -> Problem | None:
    """The function has a column, and functions of dates have dates."""
    for scheme in _schemes(table):
        node = scheme.node
        if node is None:
            continue
        if not node.columns:
            return Problem(1486, "the function has no column: all rows would be in one partition")
        if not fits(node, table.type_of):
            why = (
                "a function of dates and times takes columns of its own type: DATE or DATETIME, "
                "TIME for hours, TIMESTAMP for UNIX_TIMESTAMP alone"
            )
            return Problem(1486, why, _by_key(table, scheme))
    return None


def result_type(table: Table) -> Problem | None:
    for scheme in _schemes(table):
        if scheme.node is None or scheme.node.kind == "column":
            continue
        if result(scheme.node, table.type_of, table.has_fraction) in _NO_INTEGERS:
            edits = _by_key(table, scheme)
            if scheme.node.name == "UNIX_TIMESTAMP" and len(scheme.node.columns) == 1:
                column = quoted(scheme.node.columns[0])
                edits = (Edit(*scheme.inner, f"FLOOR(UNIX_TIMESTAMP({column}))"),)
            return Problem(1491, "the function yields no integer", edits)
    return None


_NO_INTEGERS = ("decimal", "float", "string")


def bare_type(table: Table) -> Problem | None:
    """A column alone, without COLUMNS, is an integer."""
    for scheme in _schemes(table):
        if scheme.node is None or scheme.node.kind != "column":
            continue
        name = scheme.node.name
        kind = table.type_of(name)
        if kind in INTEGERS or kind in ("BIT", "YEAR"):
            continue
        edits = _by_key(table, scheme)
        if scheme.method == "HASH" and kind in ("DATE", "DATETIME"):
            edits = (Edit(*scheme.inner, f"TO_DAYS({quoted(name)})"),)
        elif scheme.method in ("RANGE", "LIST"):
            edits = as_columns(table) if kind in {*TEXTS, "DATE", "DATETIME", "TIME"} else ()
        return Problem(1659, f"{name} is {kind}: {scheme.method} takes an integer", edits)
    return None
