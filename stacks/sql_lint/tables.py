"""CREATE TABLE to a ``Table``: definitions, options, and the clause PARTITION BY."""

from __future__ import annotations

from collections.abc import Sequence

from stacks.sql_lint.expressions import Node, read
from stacks.sql_lint.model import (
    Bound,
    Column,
    Foreign,
    Key,
    Partition,
    Scheme,
    Span,
    Table,
)
from stacks.sql_lint.reader import Cursor, Token, UnreadError, parts

_SAME = {
    "INTEGER": "INT", "INT1": "TINYINT", "INT2": "SMALLINT", "INT3": "MEDIUMINT", "INT4": "INT",
    "INT8": "BIGINT", "BOOL": "TINYINT", "BOOLEAN": "TINYINT", "CHARACTER": "CHAR",
    "NCHAR": "CHAR", "NVARCHAR": "VARCHAR",
}  # fmt: skip


class RefusedError(Exception):
    """What the server refuses while it reads: error number, why."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def span(row: Sequence[Token]) -> Span:
    return row[0].start, row[-1].end


def define(table: Table, row: list[Token]) -> None:
    """Add to ``table`` what one definition between the commas says: a column, key or constraint."""
    if not row:
        raise UnreadError("an empty definition")
    cursor = Cursor(row)
    name = ""
    if cursor.take("CONSTRAINT") and not (
        cursor.at("PRIMARY") or cursor.at("UNIQUE") or cursor.at("FOREIGN") or cursor.at("CHECK")
    ):
        name = cursor.raw_name()
    if cursor.at("CHECK"):
        return None
    if cursor.take("PRIMARY", "KEY"):
        return _key(table, cursor, "primary", "PRIMARY", row)
    if cursor.take("UNIQUE"):
        return _key(table, cursor, "unique", name, row)
    if cursor.take("FOREIGN", "KEY"):
        if not cursor.at("("):
            name = name or cursor.raw_name()
        cursor.group()
        cursor.need("REFERENCES")
        table.foreign.append(Foreign(name, cursor.table(), span(row)))
        return None
    for word in ("FULLTEXT", "SPATIAL"):
        # As a column's name these would be quoted: both are reserved.
        if cursor.take(word):
            return _key(table, cursor, word.lower(), name, row)
    if cursor.at("KEY") or cursor.at("INDEX"):
        return _key(table, cursor, "key", name, row)
    return _column(table, cursor, row)


def _key(table: Table, cursor: Cursor, kind: str, name: str, row: list[Token]) -> None:
    if cursor.at("KEY") or cursor.at("INDEX"):
        cursor.next()
    if not cursor.at("(") and not cursor.at("USING"):
        name = cursor.raw_name()
    if cursor.take("USING"):
        cursor.next()
    found, spans = [], []
    for part in parts(cursor.group()):
        if not part:
            raise UnreadError("an empty part of a key")
        expression = part[0].kind == "op"
        if not expression and part[0].kind not in ("word", "name"):
            raise UnreadError(f"`{part[0].value}` in a key")
        prefix = len(part) > 1 and part[1].value == "(" and part[1].kind == "op"
        found.append((None if expression else part[0].raw, prefix))
        spans.append(span(part))
    if not found:
        raise UnreadError("a key of no column")
    table.keys.append(Key(kind, name or (found[0][0] or ""), found, span(row), spans))


def _column(table: Table, cursor: Cursor, row: list[Token]) -> None:
    name = cursor.raw_name()
    kind = cursor.name().value
    column = Column(name, _SAME.get(kind, kind))
    if kind == "DOUBLE":
        cursor.take("PRECISION")
    if kind == "LONG":
        column.type = "MEDIUMTEXT"
    if kind in ("CHARACTER", "CHAR") and cursor.take("VARYING"):
        column.type = "VARCHAR"
    if kind == "SERIAL":
        column.type, column.unsigned, column.not_null = "BIGINT", True, True
        column.auto_increment = True
        table.keys.append(Key("unique", name, [(name, False)], span(row), [span(row[:1])], True))
    if cursor.at("("):
        inner = cursor.group()
        if len(inner) == 1 and inner[0].value.isdigit():
            column.length = int(inner[0].value)
    elif column.type in ("CHAR", "BINARY"):
        column.length = 1
    while not cursor.done:
        _attribute(table, column, cursor)
    table.columns.append(column)


def _attribute(table: Table, column: Column, cursor: Cursor) -> None:
    start = cursor.peek().start
    primary = cursor.take("PRIMARY", "KEY") or cursor.take("PRIMARY") or cursor.take("KEY")
    if primary or cursor.take("UNIQUE"):
        if not primary:
            cursor.take("KEY")
        kind = "primary" if primary else "unique"
        place = (start, cursor.row[cursor.place - 1].end)
        shown = "PRIMARY" if primary else column.name
        table.keys.append(Key(kind, shown, [(column.name, False)], place, [place], True))
        column.not_null = column.not_null or primary
    elif cursor.take("NOT", "NULL"):
        column.not_null = True
    elif cursor.take("AUTO_INCREMENT"):
        column.auto_increment = column.not_null = True
    elif cursor.take("UNSIGNED"):
        column.unsigned = True
    elif cursor.take("COLLATE"):
        column.collation = cursor.raw_name().lower()
    elif cursor.take("CHARACTER", "SET") or cursor.take("CHARSET"):
        named = cursor.raw_name().lower()
        column.collation = column.collation or named
    elif cursor.take("REFERENCES"):
        target = cursor.table()
        while not cursor.done and (cursor.peek().value in _ACTIONS or cursor.at("(")):
            if cursor.at("("):
                cursor.group()
            else:
                cursor.next()
        place = (start, cursor.row[cursor.place - 1].end)
        table.foreign.append(Foreign("", target, place, inline=True))
    elif cursor.take("COMMENT") or (cursor.take("DEFAULT") and not cursor.at("(")):
        cursor.next()
    elif cursor.at("("):
        cursor.group()
    else:
        cursor.next()


_ACTIONS = frozenset(
    [
        "ON",
        "DELETE",
        "UPDATE",
        "CASCADE",
        "RESTRICT",
        "SET",
        "NO",
        "ACTION",
        "MATCH",
        "FULL",
        "SIMPLE",
        "PARTIAL",
    ]
)


def options(table: Table, cursor: Cursor) -> None:
    """Pass over the options of a table, to PARTITION BY or what follows."""
    while not cursor.done and not cursor.at("PARTITION", "BY"):
        start = cursor.peek().start
        if cursor.take("ENGINE"):
            cursor.take("=")
            table.engine = cursor.next().value.upper()
            table.engine_span = (start, cursor.row[cursor.place - 1].end)
        elif cursor.take("COLLATE"):
            cursor.take("=")
            table.collation = cursor.next().raw.lower()
        elif cursor.take("CHARSET") or cursor.take("CHARACTER", "SET"):
            cursor.take("=")
            named = cursor.next().raw.lower()
            table.collation = table.collation or named
        elif cursor.at("SELECT") or cursor.at("AS") or cursor.at("WITH"):
            return
        elif cursor.at("("):
            cursor.group()
        else:
            cursor.next()


# --- PARTITION BY --------------------------------------------------------------------------------


def scheme(cursor: Cursor, text: str) -> Scheme:
    """The clause after PARTITION BY. Raises ``RefusedError``."""
    found = _method(cursor, sub=False)
    if cursor.take("PARTITIONS"):
        found.number, found.number_span = _number(cursor, "partitions")
    if cursor.take("SUBPARTITION", "BY"):
        found.sub = _method(cursor, sub=True)
        if cursor.take("SUBPARTITIONS"):
            found.sub.number, found.sub.number_span = _number(cursor, "subpartitions")
        if found.method in ("HASH", "KEY"):
            raise RefusedError(1500, "only RANGE and LIST can have subpartitions")
    if cursor.at("("):
        start = cursor.peek().start
        found.partitions = partitions(cursor.group(), text)
        found.list_span = (start, cursor.row[cursor.place - 1].end)
    return found


def _number(cursor: Cursor, what: str) -> tuple[int, Span]:
    place = (cursor.peek().start, cursor.peek().end)
    number = cursor.number()
    if number == 0:
        raise RefusedError(1504, f"the number of {what} is 0; write 1 or more")
    return number, place


def _method(cursor: Cursor, sub: bool) -> Scheme:
    start = cursor.peek().start
    linear = cursor.take("LINEAR")
    method = cursor.next().value
    if method not in ("RANGE", "LIST", "HASH", "KEY"):
        raise UnreadError(f"`{method}` as a way of partitioning")
    if sub and method in ("RANGE", "LIST"):
        raise RefusedError(1064, f"SUBPARTITION BY {method}: subpartitions are by HASH or KEY only")
    if linear and method in ("RANGE", "LIST"):
        raise RefusedError(1064, f"LINEAR {method}: only HASH and KEY can be LINEAR")
    if method == "KEY" and cursor.take("ALGORITHM"):
        cursor.need("=")
        cursor.number()
    columns = method in ("RANGE", "LIST") and cursor.take("COLUMNS")
    opening = cursor.need("(")
    cursor.place -= 1
    inner = cursor.group()
    closing = cursor.row[cursor.place - 1]
    found = Scheme(method, columns, (start, closing.end), (opening.end, closing.start))
    if not columns and method != "KEY":
        if len(parts(inner)) > 1:
            raise RefusedError(1064, f"{method} takes one expression; {method_of_many(method)}")
        found.node = read(inner)
        return found
    if not inner and (columns or sub):
        raise RefusedError(1064, "no column is named")
    for part in parts(inner):
        if len(part) != 1 or part[0].kind not in ("word", "name"):
            raise RefusedError(1064, f"{method}{' COLUMNS' * columns} takes columns, no expression")
        found.names.append(part[0].raw)
    return found


def method_of_many(method: str) -> str:
    return "KEY takes several columns" if method == "HASH" else f"{method} COLUMNS takes several"


def partitions(inner: list[Token], text: str) -> list[Partition]:
    """What stands between the parentheses: PARTITION p0 VALUES …, PARTITION …"""
    return [_partition(row, text) for row in parts(inner)]


def _partition(row: list[Token], text: str) -> Partition:
    cursor = Cursor(row)
    cursor.need("PARTITION")
    named = cursor.name()
    found = Partition(named.raw, span(row), (named.start, named.end))
    start = cursor.peek().start
    if cursor.take("VALUES", "LESS", "THAN"):
        found.kind = "less"
        if cursor.at("MAXVALUE"):
            token = cursor.next()
            found.bare_maxvalue = True
            found.rows = [[Bound(None, (token.start, token.end), "MAXVALUE")]]
        else:
            found.rows = [[_bound(value, text) for value in parts(cursor.group())]]
    elif cursor.take("VALUES", "IN"):
        found.kind = "in"
        for value in parts(cursor.group()):
            if value and value[0].value == "(" and _is_tuple(value):
                found.tuples = True
                inner = Cursor(value).group()
                found.rows.append([_bound(one, text) for one in parts(inner)])
            else:
                found.rows.append([_bound(value, text)])
    if found.kind and not all(found.rows):
        raise UnreadError("no value")
    found.values_span = (start, cursor.row[cursor.place - 1].end)
    while not cursor.done:
        start = cursor.peek().start
        if cursor.at("("):
            found.has_subs = True
            for sub in parts(cursor.group()):
                inside = Cursor(sub)
                inside.need("SUBPARTITION")
                found.subs.append(inside.raw_name())
        elif cursor.take("ENGINE"):
            cursor.take("=")
            found.engine = cursor.next().value.upper()
            found.engine_span = (start, cursor.row[cursor.place - 1].end)
        elif cursor.peek().value in _OPTIONS:
            cursor.next()
            cursor.take("DIRECTORY")
            cursor.take("=")
            cursor.next()
        elif cursor.take("STORAGE"):
            continue
        else:
            raise UnreadError(f"`{cursor.peek().value}` in partition {found.name}")
    return found


_OPTIONS = frozenset(
    ["COMMENT", "DATA", "INDEX", "MAX_ROWS", "MIN_ROWS", "TABLESPACE", "NODEGROUP"]
)


def _is_tuple(row: list[Token]) -> bool:
    cursor = Cursor(row)
    inner = cursor.group()
    return cursor.done and len(parts(inner)) > 1


def _bound(row: list[Token], text: str) -> Bound:
    if not row:
        raise UnreadError("an empty value")
    place = span(row)
    node: Node | None = None
    if not (len(row) == 1 and row[0].kind == "word" and row[0].value == "MAXVALUE"):
        node = read(row)
    return Bound(node, place, text[place[0] : place[1]])


def create(cursor: Cursor, text: str) -> Table:
    """``CREATE [TEMPORARY] TABLE [IF NOT EXISTS]`` has been passed over; the name comes next."""
    table = Table(cursor.table())
    if not cursor.at("("):
        raise UnreadError("a table without definitions")
    for row in parts(cursor.group()):
        define(table, row)
    table.body_end = cursor.row[cursor.place - 1].start
    options(table, cursor)
    if cursor.take("PARTITION", "BY"):
        table.scheme = scheme(cursor, text)
    if not cursor.done and cursor.peek().value not in ("AS", "SELECT", "IGNORE", "REPLACE", "WITH"):
        raise UnreadError(f"`{cursor.peek().value}` after the partitions")
    return table
