"""Partitioning functions and bounds, read: a ``Node`` each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.sql_lint.reader import SYNTAX, Cursor, RefusedError, Token, UnreadError, parts
from stacks.sql_lint.words import words

SUBQUERY = "(SELECT"
"""The name of the call that a subquery is read as."""
_OF_ONE = frozenset(
    [
        "ABS",
        "CEIL",
        "CEILING",
        "FLOOR",
        "DAYOFMONTH",
        "DAYOFWEEK",
        "DAYOFYEAR",
        "TIME_TO_SEC",
        "TO_DAYS",
        "TO_SECONDS",
        "WEEKDAY",
        "FROM_DAYS",
    ]
)
_COUNTS = dict.fromkeys(_OF_ONE, (1, 1)) | {
    "YEARWEEK": (1, 2),
    "DATEDIFF": (2, 2),
    "UNIX_TIMESTAMP": (0, 1),
}
"""How many arguments: else error 1582."""
_SYNTAX_COUNTS = {"DAY", "HOUR", "MICROSECOND", "MINUTE", "MONTH", "QUARTER", "SECOND", "YEAR"}
_CONDITIONS = frozenset(
    [
        ">",
        "<",
        "=",
        ">=",
        "<=",
        "<>",
        "!=",
        "<=>",
        "AND",
        "OR",
        "XOR",
        "&&",
        "||",
        "IS",
        "IN",
        "LIKE",
        "BETWEEN",
        "NOT",
        "REGEXP",
        "RLIKE",
        "SOUNDS",
        "MEMBER",
        ":=",
    ]
)
_BARE = frozenset(["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER"]) | {
    *("LOCALTIME", "LOCALTIMESTAMP", "UTC_DATE", "UTC_TIME", "UTC_TIMESTAMP"),
}
_DEEPEST = 150


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


def read(row: list[Token], depth: int = 0) -> Node:
    """The expression that ``row`` is; conditions only in parentheses (``depth``). Raises
    ``RefusedError``, and ``UnreadError`` for what is too long."""
    if depth > _DEEPEST:
        raise UnreadError("it is nested too deeply")
    cursor = Cursor(row)
    if depth and (cursor.at("NOT") or cursor.at("SELECT") or cursor.at("WITH")):
        return Node("call", "NOT" if cursor.at("NOT") else SUBQUERY)
    node = _level(cursor, 0, depth)
    if depth and not cursor.done and cursor.peek().kind in ("word", "op"):
        sign = cursor.peek().value
        if sign in _CONDITIONS:
            # What follows is of no account: no condition is allowed in a partitioning function.
            return Node("call", sign, (node,))
    if not cursor.done:
        raise RefusedError(SYNTAX, f"`{cursor.stands}` where the expression has to end")
    return node


def _level(cursor: Cursor, level: int, depth: int) -> Node:
    if cursor.place > 2000:
        raise UnreadError("an expression that is too long")
    if level == len(_LEVELS):
        return _followed(cursor, depth)
    left = _level(cursor, level + 1, depth)
    while any(cursor.at(sign) for sign in _LEVELS[level]):
        sign = cursor.next().value
        right = _level(cursor, level + 1, depth)
        left = Node("call", "MOD" if sign == "%" else sign, (left, right))
    return left


def _followed(cursor: Cursor, depth: int) -> Node:
    node = _single(cursor, depth)
    while True:
        if cursor.take("COLLATE"):
            cursor.word()
            node = Node("call", "COLLATE", (node,))
        elif cursor.take("->") or cursor.take("->>"):
            cursor.next()
            node = Node("call", "->", (node,))
        else:
            return node


def _single(cursor: Cursor, depth: int) -> Node:
    token = cursor.peek()
    if token.kind == "op" and token.value in "-+~!":
        if cursor.place > 2000:
            raise UnreadError("an expression that is too long")
        cursor.next()
        inner = _single(cursor, depth)
        return inner if token.value == "+" else Node("call", token.value, (inner,))
    if token.kind == "op" and token.value == "(":
        group = cursor.group()
        several = parts(group)
        if len(several) > 1 and not cursor.done:
            raise UnreadError("a row of values in an expression")
        return read(group, depth + 1)
    if token.kind == "op" and token.value == "@":
        if cursor.peek(1).value == "@":
            raise UnreadError("a variable of the server in an expression")
        cursor.next()
        cursor.next()
        return Node("call", "@")
    cursor.next()
    if token.kind == "number":
        return _number(token)
    if token.kind == "string":
        while cursor.peek().kind == "string":
            cursor.next()
        return Node("string", token.value)
    if token.kind == "name":
        cursor.place -= 1
        return _named(cursor, depth)
    if token.kind != "word":
        raise RefusedError(SYNTAX, f"`{token.value or 'the end'}` in an expression")
    return _word(cursor, token, depth)


def _number(token: Token) -> Node:
    if token.value[0] == ".":
        return Node("decimal", token.value)
    if not token.value[0].isdigit() or token.value[:2].upper() in ("0X", "0B"):
        return Node("hex", token.value)
    if token.value.isdigit():
        return Node("integer", token.value)
    return Node("float" if "e" in token.value.lower() else "decimal", token.value)


def _word(cursor: Cursor, token: Token, depth: int) -> Node:
    word = token.value
    if word == "NULL":
        return Node("null", word)
    if word in ("DATE", "TIME", "TIMESTAMP") and cursor.peek().kind == "string":
        return Node("string", cursor.next().value)
    if word.startswith("_") and cursor.peek().kind == "string":
        return Node("string", cursor.next().value)
    if word == "CASE":
        while not cursor.take("END"):
            cursor.next()
        return Node("call", "CASE")
    if word == "BINARY":
        return Node("call", word, (_single(cursor, depth),))
    if word == "INTERVAL" and not cursor.at("("):
        inner = _level(cursor, 0, depth)
        cursor.next()
        return Node("call", word, (inner,))
    if word in ("TRUE", "FALSE") or (word in _BARE and not cursor.at("(")):
        return Node("call", word)
    if not cursor.at("("):
        cursor.place -= 1
        return _named(cursor, depth)
    return _call(cursor, word, depth)


def _named(cursor: Cursor, depth: int) -> Node:
    """A column, with its table and schema or without; or a function of a schema."""
    found = cursor.name()
    while cursor.take("."):
        found = cursor.name(dotted=True)
    if cursor.at("("):
        if found.kind == "name":
            raise UnreadError(f"the function {found.raw}")
        return _call(cursor, f".{found.value}", depth)
    return Node("column", found.raw)


def _call(cursor: Cursor, word: str, depth: int) -> Node:
    inner = cursor.group()
    if word == "EXISTS":
        raise RefusedError(SYNTAX, "EXISTS in an expression")
    if word == "EXTRACT":
        if len(inner) < 3 or inner[1].value != "FROM":
            raise RefusedError(SYNTAX, "EXTRACT takes a unit, FROM and a value")
        return Node("call", f"EXTRACT {inner[0].value}", (read(inner[2:], depth + 1),))
    if word == "OVER":
        raise UnreadError("a window function")
    if word not in _COUNTS and word not in _SYNTAX_COUNTS and word not in ("MOD", "DEFAULT"):
        # Refused whatever its arguments are; those of some have a grammar of their own.
        columns = [Node("column", token.raw) for token in inner if token.kind == "name"]
        plain = [t for t in inner if t.kind == "word" and not words("reserved") >= {t.value}]
        columns += [Node("column", token.raw) for token in plain]
        if cursor.take("OVER"):
            cursor.group()
        return Node("call", word, tuple(columns))
    arguments = tuple(read(part, depth + 1) for part in parts(inner))
    if (word in _SYNTAX_COUNTS and len(arguments) != 1) or (word == "MOD" and len(arguments) != 2):
        raise RefusedError(SYNTAX, f"{word} with {len(arguments)} arguments")
    low, high = _COUNTS.get(word, (0, 2))
    if not low <= len(arguments) <= high:
        raise RefusedError(1582, f"{word} with {len(arguments)} arguments")
    return Node("call", word, arguments)
