"""One definition of CREATE or ALTER TABLE: a column with its attributes, a key, a constraint."""

from __future__ import annotations

import re

from stacks.sql_lint.model import Column, Foreign, Key, Table
from stacks.sql_lint.reader import SYNTAX, Cursor, RefusedError, Token, UnreadError, parts
from stacks.sql_lint.schemes import span
from stacks.sql_lint.types_of import BLOBS, GEOMETRIES
from stacks.sql_lint.words import is_reserved

_SAME = {
    "INTEGER": "INT", "INT1": "TINYINT", "INT2": "SMALLINT", "INT3": "MEDIUMINT", "INT4": "INT",
    "INT8": "BIGINT", "BOOL": "TINYINT", "BOOLEAN": "TINYINT", "CHARACTER": "CHAR",
    "NCHAR": "CHAR", "NVARCHAR": "VARCHAR", "MIDDLEINT": "MEDIUMINT", "FLOAT4": "FLOAT",
    "FLOAT8": "DOUBLE", "LONG": "MEDIUMTEXT", "SERIAL": "BIGINT", "NATIONAL": "CHAR",
}  # fmt: skip
_TYPES = {
    *("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "DECIMAL", "NUMERIC", "DEC", "FIXED"),
    *("FLOAT", "DOUBLE", "REAL", "BIT", "DATE", "TIME", "DATETIME", "TIMESTAMP", "YEAR", "CHAR"),
    *("VARCHAR", "BINARY", "VARBINARY", "VARCHARACTER", "ENUM", "SET", "JSON", "VECTOR"),
    *BLOBS,
    *GEOMETRIES,
    *_SAME,
}
_SIZED = frozenset(["VARCHAR", "VARBINARY", "VARCHARACTER", "ENUM", "SET"])
_SIZES = re.compile(r"\d+(,\d+)?|s(,s)*|(0X|X).*")
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
        "NULL",
        "DEFAULT",
    ]
)
_KEY_OPTIONS = frozenset(
    [
        "USING",
        "TYPE",
        "COMMENT",
        "KEY_BLOCK_SIZE",
        "VISIBLE",
        "INVISIBLE",
        "WITH",
        "PARSER",
        "ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "ALGORITHM",
        "LOCK",
    ]
)
_TEXTUAL = frozenset(
    [
        "CHAR",
        "VARCHAR",
        "VARCHARACTER",
        "ENUM",
        "SET",
        "TEXT",
        "TINYTEXT",
        "MEDIUMTEXT",
        "LONGTEXT",
        "JSON",
    ]
)
_PASSED = frozenset(
    [
        "ZEROFILL",
        "SIGNED",
        "ALWAYS",
        "VISIBLE",
        "INVISIBLE",
        "ENFORCED",
        "BINARY",
        "ASCII",
        "UNICODE",
        "BYTE",
        "FIXED",
        "DYNAMIC",
        "DISK",
        "MEMORY",
        "GENERATED",
    ]
)
_WITH_ONE = frozenset(
    [
        "COLUMN_FORMAT",
        "STORAGE",
        "ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "SRID",
        "COMMENT",
        "AFTER",
    ]
)


def define(table: Table, row: list[Token], schema: str = "") -> None:
    """Add to ``table`` what one definition between the commas says. ``schema``: where a parent
    without a schema is."""
    if not row:
        raise RefusedError(SYNTAX, "a comma, and no definition where one is due")
    cursor = Cursor(row, schema)
    name = ""
    constraint = cursor.take("CONSTRAINT")
    kinds = ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK")
    if constraint and not any(map(cursor.at, kinds)):
        name = cursor.raw_name()
    if cursor.take("CHECK"):
        cursor.group()
        return None
    if cursor.take("PRIMARY"):
        cursor.need("KEY")
        return _key(table, cursor, "primary", "PRIMARY", row)
    if cursor.take("UNIQUE"):
        return _key(table, cursor, "unique", name, row)
    if cursor.take("FOREIGN"):
        cursor.need("KEY")
        return _foreign(table, cursor, name, row)
    if constraint:
        raise RefusedError(SYNTAX, f"`{cursor.stands}` after CONSTRAINT")
    for word in ("FULLTEXT", "SPATIAL"):
        # As a column's name these would be quoted: both are reserved.
        if cursor.take(word):
            return _key(table, cursor, word.lower(), name, row)
    if cursor.at("KEY") or cursor.at("INDEX"):
        return _key(table, cursor, "key", name, row)
    return _column(table, cursor, row)


def _foreign(table: Table, cursor: Cursor, name: str, row: list[Token]) -> None:
    if not cursor.at("("):
        # The index's name; the constraint has one of its own.
        cursor.raw_name()
    columns = [Cursor(part).raw_name() for part in parts(cursor.group())]
    cursor.need("REFERENCES")
    target = cursor.table()
    table.foreign.append(Foreign(name or _next_name(table), target, span(row), columns))
    table.indexed = True
    if not cursor.at("("):
        raise RefusedError(1239, f"the columns of {target.table} that are meant are not named")
    cursor.group()
    while cursor.at_any(_ACTIONS):
        cursor.next()
    cursor.end()


def _next_name(table: Table) -> str:
    """The server calls what has no name after the table, with the next number."""
    found = [
        re.fullmatch(re.escape(table.name) + r"_ibfk_(\d+)", one.name) for one in table.foreign
    ]
    return f"{table.name}_ibfk_{max([0, *(int(one[1]) for one in found if one)]) + 1}"


def _key(table: Table, cursor: Cursor, kind: str, name: str, row: list[Token]) -> None:
    if cursor.at("KEY") or cursor.at("INDEX"):
        cursor.next()
    if not cursor.at("(") and not cursor.at("USING") and not cursor.at("TYPE"):
        own = cursor.raw_name()
        name = own if kind != "primary" else name
    if cursor.take("USING") or cursor.take("TYPE"):
        cursor.next()
    found: list[tuple[str | None, int]] = []
    spans = []
    for part in parts(cursor.group()) or [[]]:
        found.append(_part(part))
        spans.append(span(part))
    named = bool(name)
    table.keys.append(Key(kind, name or _free(table, found[0][0]), found, span(row), spans))
    table.keys[-1].named = named
    while not cursor.done:
        if not cursor.at_any(_KEY_OPTIONS):
            if cursor.peek().kind == "op" and cursor.peek().value != "=":
                raise RefusedError(SYNTAX, f"`{cursor.stands}` after a key")
            raise UnreadError(f"`{cursor.stands}` after a key")
        option = cursor.next().value
        cursor.take("=")
        if option not in ("VISIBLE", "INVISIBLE", "WITH"):
            cursor.next()


def _free(table: Table, name: str | None) -> str:
    """The name of a key without one: its first column's, with a number where that is taken."""
    wanted = name or "functional_index"
    taken = {key.name.lower() for key in table.keys}
    number = 2
    found = wanted
    while found.lower() in taken:
        found, number = f"{wanted}_{number}", number + 1
    return found


def _part(part: list[Token]) -> tuple[str | None, int]:
    if not part:
        raise RefusedError(SYNTAX, "a part of a key is missing")
    cursor = Cursor(part)
    name, length = None, 0
    if cursor.at("("):
        cursor.group()
    else:
        name = cursor.raw_name()
        if cursor.at("("):
            length = cursor.inner().number()
            if not length:
                raise RefusedError(1391, f"of {name} 0 characters are to be in the key")
    if not cursor.take("ASC"):
        cursor.take("DESC")
    cursor.end()
    return name, length


def _column(table: Table, cursor: Cursor, row: list[Token]) -> None:
    name = cursor.raw_name()
    token = cursor.next()
    kind = token.value
    if token.kind != "word" or kind not in _TYPES:
        raise RefusedError(SYNTAX, f"column {name}: `{token.raw}` is no type of MySQL")
    column = Column(name, _SAME.get(kind, kind))
    if kind == "NATIONAL":
        kind = cursor.next().value
        column.type = _SAME.get(kind, kind)
    if kind == "DOUBLE":
        cursor.take("PRECISION")
    if kind == "LONG":
        _ = cursor.take("VARCHAR") or cursor.take("VARBINARY")
    if kind in ("CHARACTER", "CHAR", "NCHAR") and cursor.take("VARYING"):
        column.type = "VARCHAR"
    if kind == "SERIAL":
        column.unsigned = column.not_null = column.auto_increment = True
        table.keys.append(Key("unique", name, [(name, 0)], span(row), [span(row[:1])], True))
    if cursor.at("("):
        inner = cursor.group()
        if len(inner) == 1 and inner[0].value.isdigit():
            column.length = int(inner[0].value)
        elif not _SIZES.fullmatch("".join("s" if t.kind == "string" else t.value for t in inner)):
            raise RefusedError(SYNTAX, f"column {name}: its length or values are not written so")
    elif column.type in ("CHAR", "BINARY"):
        column.length = 1
    elif column.type in _SIZED:
        raise RefusedError(SYNTAX, f"column {name}: {column.type} needs its length or values")
    while not cursor.done:
        _attribute(table, column, cursor)
    column.end = row[-1].end
    table.columns.append(column)


def _attribute(table: Table, column: Column, cursor: Cursor) -> None:
    start = cursor.peek().start
    primary = cursor.take("PRIMARY", "KEY") or cursor.take("PRIMARY") or cursor.take("KEY")
    if primary or cursor.take("UNIQUE"):
        if not primary:
            cursor.take("KEY")
        kind = "primary" if primary else "unique"
        place = (start, cursor.row[cursor.place - 1].end)
        shown = "PRIMARY" if primary else _free(table, column.name)
        key = Key(kind, shown, [(column.name, 0)], place, [place], True, primary)
        if not any(k.inline and k.kind == kind and k.parts == key.parts for k in table.keys):
            table.keys.append(key)
        column.not_null = column.not_null or primary
    elif cursor.take("NOT"):
        if not cursor.take("ENFORCED"):
            cursor.need("NULL")
            column.not_null = column.said_not_null = True
    elif cursor.take("NULL"):
        column.null, column.null_span = True, (start, cursor.row[cursor.place - 1].end)
    elif cursor.take("AUTO_INCREMENT"):
        column.auto_increment = column.not_null = True
    elif cursor.take("UNSIGNED"):
        column.unsigned = True
    elif cursor.take("COLLATE"):
        column.collation = cursor.word().lower()
    elif cursor.at("CHARSET") or cursor.at("CHARACTER") or cursor.at("CHAR"):
        if not cursor.take("CHARSET"):
            cursor.next()
            cursor.need("SET")
        if column.type not in _TEXTUAL:
            raise RefusedError(SYNTAX, f"{column.name} is {column.type}: of no character set")
        column.collation = column.collation or cursor.word().lower()
    elif cursor.take("REFERENCES"):
        _inline_foreign(table, column, cursor, start)
        if not cursor.done and not cursor.at("FIRST") and not cursor.at("AFTER"):
            raise RefusedError(SYNTAX, f"`{cursor.stands}` after REFERENCES, which comes last")
    elif cursor.take("DEFAULT"):
        _default(column, cursor, start)
    elif cursor.take("ON"):
        cursor.need("UPDATE")
        _now(cursor)
    elif cursor.take("AS"):
        cursor.group()
        column.generated = column.generated or "VIRTUAL"
    elif cursor.take("STORED"):
        column.generated = "STORED"
    elif cursor.take("VIRTUAL"):
        column.generated = "VIRTUAL"
    elif cursor.take("CHECK"):
        cursor.group()
    elif cursor.take("CONSTRAINT"):
        if not cursor.at("CHECK"):
            cursor.raw_name()
    else:
        _other(column, cursor)


def _other(column: Column, cursor: Cursor) -> None:
    token = cursor.next()
    if token.kind == "word" and token.value in _WITH_ONE:
        if token.value == "COMMENT" and cursor.peek().kind != "string":
            raise RefusedError(SYNTAX, f"`{cursor.stands}` as COMMENT of {column.name}")
        cursor.take("=")
        cursor.next()
    elif token.kind == "word" and token.value in _PASSED | {"FIRST"}:
        return
    elif token.kind != "word" or is_reserved(token.value):
        raise RefusedError(SYNTAX, f"`{token.raw or token.value}` in column {column.name}")
    else:
        raise UnreadError(f"`{token.raw}` in column {column.name}")


def _default(column: Column, cursor: Cursor, start: int) -> None:
    column.defaulted = True
    if cursor.at("("):
        cursor.group()
        return
    signed = cursor.take("-") or cursor.take("+")
    token = cursor.next()
    if token.kind == "number":
        return
    if signed or token.kind in ("op", "name"):
        raise RefusedError(SYNTAX, f"`{token.raw or token.value}` as DEFAULT of {column.name}")
    if token.kind == "string":
        return
    if token.value == "NULL":
        column.default_null, column.default_span = True, (start, token.end)
        column.defaulted = False
    elif token.value in ("CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"):
        cursor.place -= 1
        _now(cursor)
    elif cursor.peek().kind == "string":
        cursor.next()
    elif token.value not in ("TRUE", "FALSE"):
        why = f"`{token.raw}` as DEFAULT of {column.name}: an expression stands in parentheses"
        raise RefusedError(SYNTAX, why)


def _now(cursor: Cursor) -> None:
    cursor.next()
    if cursor.at("("):
        cursor.group()


def _inline_foreign(table: Table, column: Column, cursor: Cursor, start: int) -> None:
    target = cursor.table()
    if cursor.at("("):
        cursor.group()
    while cursor.at("ON") or cursor.at("MATCH"):
        cursor.next()
        while cursor.at_any(_ACTIONS) and not cursor.at("ON"):
            if cursor.at("NULL") and cursor.row[cursor.place - 1].value != "SET":
                break
            cursor.next()
    place = (start, cursor.row[cursor.place - 1].end)
    table.foreign.append(Foreign(_next_name(table), target, place, [column.name], inline=True))
    table.indexed = True


def settle(table: Table) -> None:
    """What follows from all definitions: whole columns in keys, and the primary key's NOT NULL."""
    for key in table.keys:
        whole = []
        for name, length in key.parts:
            column = table.column(name) if name else None
            if column and length == column.length and key.kind != "fulltext":
                length = 0
            whole.append((name, length))
            if column and key.kind == "primary":
                column.not_null = True
        key.parts = whole
