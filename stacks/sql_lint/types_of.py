"""The types of columns, and what a partitioning function yields of them."""

from __future__ import annotations

from collections.abc import Callable

from stacks.sql_lint.expressions import Node

OF_DATE = frozenset(
    [
        "DATEDIFF",
        "DAY",
        "DAYOFMONTH",
        "DAYOFWEEK",
        "DAYOFYEAR",
        "MONTH",
        "QUARTER",
        "TO_DAYS",
        "TO_SECONDS",
        "WEEKDAY",
        "YEAR",
        "YEARWEEK",
    ]
)
OF_TIME = frozenset(["HOUR", "MICROSECOND", "MINUTE", "SECOND", "TIME_TO_SEC"])
_DATE_UNITS = frozenset(["YEAR", "YEAR_MONTH", "QUARTER", "MONTH", "DAY"])
_TIME_UNITS = frozenset(["HOUR", "MINUTE", "SECOND", "MICROSECOND"])

INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}
TEXTS = frozenset({"CHAR", "VARCHAR", "BINARY", "VARBINARY"})
BLOBS = frozenset(
    ["TEXT", "TINYTEXT", "MEDIUMTEXT", "LONGTEXT", "BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB"]
)
GEOMETRIES = frozenset(
    [
        "GEOMETRY",
        "POINT",
        "LINESTRING",
        "POLYGON",
        "MULTIPOINT",
        "MULTILINESTRING",
        "MULTIPOLYGON",
        "GEOMCOLLECTION",
        "GEOMETRYCOLLECTION",
    ]
)
FLOATS = frozenset({"FLOAT", "DOUBLE", "REAL"})
DECIMALS = frozenset({"DECIMAL", "NUMERIC", "DEC", "FIXED"})


def _whole(_: str) -> bool:
    return False


def result(
    node: Node, type_of: Callable[[str], str], parted: Callable[[str], bool] = _whole
) -> str:
    """What ``node`` yields: int, decimal, float, string, or "" where that is not known; "moment"
    for a TIMESTAMP with a fraction of its second (``parted`` says so of a column)."""
    if node.kind == "column":
        kind = type_of(node.name)
        if kind in INTEGERS or kind in ("BIT", "YEAR", "DATE"):
            return "int"
        if kind in DECIMALS:
            return "decimal"
        if kind == "TIMESTAMP" and parted(node.name):
            return "moment"
        return "float" if kind in FLOATS or kind in TEXTS else ""
    if node.kind == "integer":
        return "int" if int(node.name) < 2**64 else "decimal"
    if node.kind != "call":
        return {"hex": "string", "null": ""}.get(node.kind, node.kind)
    kinds = [result(argument, type_of, parted) for argument in node.arguments]
    if node.name in ("+", "-", "*", "MOD", "ABS"):
        if "" in kinds or "moment" in kinds:
            return ""
        if "float" in kinds or "string" in kinds:
            return "float"
        return "decimal" if "decimal" in kinds else "int"
    if node.name in ("FLOOR", "CEIL", "CEILING"):
        return {"int": "int", "float": "float", "decimal": "int"}.get("".join(kinds), "")
    if node.name == "UNIX_TIMESTAMP":
        text = node.arguments[0] if node.arguments else node
        pieces = text.kind == "string" and "." in text.name
        return "decimal" if pieces or kinds == ["moment"] else "int"
    if node.name == "FROM_DAYS":
        return "string"
    return "int" if node.name in OF_DATE | OF_TIME | {"DIV"} or " " in node.name else ""


def fits(node: Node, type_of: Callable[[str], str]) -> bool:
    """Whether each function of dates and times has columns of its own type: else error 1486."""
    for call in node.walk():
        if call.kind != "call":
            continue
        name, unit = call.name.partition(" ")[::2]
        wanted: tuple[str, ...] = ()
        if name == "DEFAULT":
            return False
        if name in OF_DATE or unit in _DATE_UNITS:
            wanted = ("DATE", "DATETIME")
        elif name in OF_TIME or unit in _TIME_UNITS:
            wanted = ("TIME", "DATETIME")
        elif name == "UNIX_TIMESTAMP":
            wanted = ("TIMESTAMP",)
        elif unit:
            return False
        if not wanted:
            continue
        for argument in call.arguments[: 2 if name == "DATEDIFF" else 1]:
            if argument.kind == "column" and type_of(argument.name) in (*wanted, ""):
                continue
            return False
    return True


def is_unsigned(node: Node, unsigned: Callable[[str], bool]) -> bool:
    """Whether ``node`` yields no negative number; ``unsigned`` says so of a column."""
    if node.kind == "column":
        return unsigned(node.name)
    kinds = [is_unsigned(argument, unsigned) for argument in node.arguments]
    if node.name in ("+", "-", "*", "DIV"):
        return len(kinds) == 2 and any(kinds)
    if node.name in ("MOD", "ABS", "FLOOR", "CEIL", "CEILING"):
        return bool(kinds) and kinds[0]
    return node.name == "YEAR"
