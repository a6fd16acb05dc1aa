"""Partitioning functions and bounds: read, typed, and worked out where they are constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from stacks.sql_lint.reader import Cursor, Token, UnreadError

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
    ]
)
DENIED = frozenset(
    [
        "/",
        "&",
        "|",
        "^",
        "<<",
        ">>",
        "~",
        "TRUE",
        "FALSE",
        "CRC32",
        "CONCAT",
        "LENGTH",
        "IF",
        "CASE",
        "WEEK",
        "DATE_FORMAT",
        "DATE",
        "CAST",
        "POW",
        "POWER",
        "ROUND",
        "DAYNAME",
        "MONTHNAME",
        "WEEKOFYEAR",
        "COALESCE",
        "IFNULL",
        "NULLIF",
        "GREATEST",
        "LEAST",
        "ASCII",
        "UPPER",
        "LOWER",
        "LEFT",
        "RIGHT",
        "SUBSTRING",
        "SUBSTR",
        "CHAR_LENGTH",
        "SQRT",
        "SIGN",
        "TRUNCATE",
        "LAST_DAY",
    ]
)
RANDOM = frozenset(
    [
        "RAND",
        "NOW",
        "SYSDATE",
        "CURDATE",
        "CURTIME",
        "CURRENT_DATE",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "UTC_DATE",
        "UTC_TIME",
        "UTC_TIMESTAMP",
        "UUID",
        "UUID_SHORT",
        "MD5",
    ]
)
"""RefusedError while the statement is read: as 1064, with 1486's words."""

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


@dataclass(frozen=True)
class Node:
    """``kind``: column, integer, decimal, float, hex, string, null, call. ``name``: the column, the
    literal's text, or the function or operator."""

    kind: str
    name: str
    arguments: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        yield self
        for argument in self.arguments:
            yield from argument.walk()

    @property
    def columns(self) -> list[str]:
        """The columns in it, each once."""
        return list(dict.fromkeys(node.name for node in self.walk() if node.kind == "column"))


_LEVELS = (("|",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/", "DIV", "%", "MOD"), ("^",))


def read(row: list[Token]) -> Node:
    """The expression that ``row`` is. Raises ``UnreadError``."""
    cursor = Cursor(row)
    node = _level(cursor, 0)
    if not cursor.done:
        raise UnreadError(f"`{cursor.peek().value}` in an expression")
    return node


def _level(cursor: Cursor, level: int) -> Node:
    if cursor.place > 2000:
        raise UnreadError("an expression that is too long")
    if level == len(_LEVELS):
        return _single(cursor)
    left = _level(cursor, level + 1)
    while any(cursor.at(sign) for sign in _LEVELS[level]):
        sign = cursor.next().value
        right = _level(cursor, level + 1)
        left = Node("call", "MOD" if sign == "%" else sign, (left, right))
    return left


def _single(cursor: Cursor) -> Node:
    token = cursor.peek()
    if token.kind == "op" and token.value in "-+~":
        cursor.next()
        inner = _single(cursor)
        return inner if token.value == "+" else Node("call", token.value, (inner,))
    if token.kind == "op" and token.value == "(":
        return read(cursor.group())
    cursor.next()
    if token.kind == "number":
        if not token.value[0].isdigit() or token.value[:2] in ("0X", "0B"):
            return (
                Node("hex", token.value) if token.value[0] != "." else Node("decimal", token.value)
            )
        if token.value.isdigit():
            return Node("integer", token.value)
        return Node("float" if "e" in token.value.lower() else "decimal", token.value)
    if token.kind == "string":
        return Node("string", token.value)
    if token.kind == "name":
        return Node("column", token.raw)
    if token.kind != "word":
        raise UnreadError(f"`{token.value or 'the end'}` in an expression")
    return _word(cursor, token)


def _word(cursor: Cursor, token: Token) -> Node:
    word = token.value
    if word == "NULL":
        return Node("null", word)
    if word in ("DATE", "TIME", "TIMESTAMP") and cursor.peek().kind == "string":
        return Node("string", cursor.next().value)
    if word == "CASE":
        while not cursor.done and not cursor.take("END"):
            cursor.next()
        return Node("call", "CASE")
    if word in ("TRUE", "FALSE") or (word in RANDOM and word.startswith(("CURRENT_", "LOCALTIME"))):
        if cursor.at("("):
            cursor.group()
        return Node("call", word)
    if word in ("SELECT", "INTERVAL", "MAXVALUE", "DEFAULT"):
        raise UnreadError(f"`{word}` in an expression")
    if not cursor.at("("):
        return Node("column", token.raw)
    inner = cursor.group()
    if word == "EXTRACT" and len(inner) > 2 and inner[1].value == "FROM":
        unit = inner[0].value
        return Node("call", f"EXTRACT {unit}", (read(inner[2:]),))
    if word in ("CAST", "CONVERT"):
        return Node("call", "CAST", (read(inner[:1]),) if inner else ())
    arguments, depth = [], 0
    start = 0
    for place, one in enumerate(inner):
        depth += {"(": 1, ")": -1}.get(one.value, 0) if one.kind == "op" else 0
        if one.kind == "op" and one.value == "," and depth == 0:
            arguments.append(read(inner[start:place]))
            start = place + 1
    if inner:
        arguments.append(read(inner[start:]))
    return Node("call", word, tuple(arguments))


# --- Types ---------------------------------------------------------------------------------------

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


def result(node: Node, type_of: Callable[[str], str]) -> str:
    """What ``node`` yields: int, decimal, float, string, or "" where that is not known."""
    if node.kind == "column":
        kind = type_of(node.name)
        if kind in INTEGERS or kind in ("BIT", "YEAR", "DATE"):
            return "int"
        if kind in DECIMALS:
            return "decimal"
        return "float" if kind in FLOATS or kind in TEXTS else ""
    if node.kind == "integer":
        return "int" if int(node.name) < 2**64 else "decimal"
    if node.kind != "call":
        return {"hex": "string", "null": ""}.get(node.kind, node.kind)
    kinds = [result(argument, type_of) for argument in node.arguments]
    if node.name in ("+", "-", "*", "MOD", "ABS"):
        if "" in kinds:
            return ""
        if "float" in kinds or "string" in kinds:
            return "float"
        return "decimal" if "decimal" in kinds else "int"
    if node.name in ("FLOOR", "CEIL", "CEILING"):
        return {"int": "int", "float": "float", "decimal": "int"}.get("".join(kinds), "")
    if node.name == "UNIX_TIMESTAMP":
        text = node.arguments[0] if node.arguments else node
        return "decimal" if text.kind == "string" and "." in text.name else "int"
    return "int" if node.name in OF_DATE | OF_TIME | {"DIV"} or " " in node.name else ""


def fits(node: Node, type_of: Callable[[str], str]) -> bool:
    """Whether each function of dates and times has columns of its own type: else error 1486."""
    for call in node.walk():
        if call.kind != "call":
            continue
        name, unit = call.name.partition(" ")[::2]
        wanted: tuple[str, ...] = ()
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


# --- Constants -----------------------------------------------------------------------------------


def moment(text: str) -> datetime | None:
    """A date with or without a time, as MySQL reads it; None for what is none."""
    found = re.fullmatch(
        r"\s*(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"
        r"(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d*)?)?)?\s*",
        text,
    ) or re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text)
    if not found:
        return None
    try:
        return datetime(*(int(x) for x in found.groups()[:6] if x), tzinfo=UTC)  # type: ignore[arg-type,misc]  # 3 to 6 numbers
    except ValueError:
        return None


class UnknownError(Exception):
    """A constant that cannot be worked out here."""


def value(node: Node) -> int | None:
    """The integer that a constant is; None for NULL. Raises ``UnknownError``."""
    if node.kind == "integer":
        return int(node.name)
    if node.kind == "null":
        return None
    if node.kind != "call":
        raise UnknownError
    if len(node.arguments) == 1 and node.arguments[0].kind == "string":
        return _of_date(node.name, node.arguments[0].name)
    values = [value(argument) for argument in node.arguments]
    numbers = [one for one in values if one is not None]
    if len(numbers) < len(values):
        return None
    if node.name == "-" and len(numbers) == 1:
        return -numbers[0]
    if len(numbers) != 2:
        raise UnknownError
    left, right = numbers
    if node.name in ("+", "-", "*"):
        return {"+": left + right, "-": left - right, "*": left * right}[node.name]
    if node.name == "DIV" and right and left >= 0 and right > 0:
        return left // right
    if node.name == "MOD" and right and left >= 0 and right > 0:
        return left % right
    raise UnknownError


def _of_date(name: str, text: str) -> int | None:
    when = moment(text)
    if when is None:
        if re.search(r"\d", text):
            raise UnknownError
        if name in ("TO_DAYS", "YEAR", "MONTH", "TO_SECONDS"):
            return None
        raise UnknownError
    days = date(when.year, when.month, when.day).toordinal() + 365
    if name == "UNIX_TIMESTAMP":
        # The server's time zone shifts all bounds alike.
        return int(when.timestamp())
    seconds = days * 86400 + when.hour * 3600 + when.minute * 60 + when.second
    known = {"TO_DAYS": days, "YEAR": when.year, "MONTH": when.month, "TO_SECONDS": seconds}
    if name not in known:
        raise UnknownError
    return known[name]
