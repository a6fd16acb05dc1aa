"""CREATE TABLE to a ``Table``: definitions, options, and the clause PARTITION BY."""

from __future__ import annotations

from stacks.sql_lint.definitions import define, settle
from stacks.sql_lint.model import Table
from stacks.sql_lint.reader import SYNTAX, Cursor, Name, RefusedError, UnreadError, parts
from stacks.sql_lint.schemes import scheme
from stacks.sql_lint.words import is_reserved

_OPTIONS = frozenset(
    [
        "AUTOEXTEND_SIZE",
        "AUTO_INCREMENT",
        "AVG_ROW_LENGTH",
        "CHECKSUM",
        "TABLE_CHECKSUM",
        "COMMENT",
        "COMPRESSION",
        "CONNECTION",
        "DELAY_KEY_WRITE",
        "ENCRYPTION",
        "PASSWORD",
        "ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE",
        "INSERT_METHOD",
        "KEY_BLOCK_SIZE",
        "MAX_ROWS",
        "MIN_ROWS",
        "PACK_KEYS",
        "STATS_AUTO_RECALC",
        "STATS_PERSISTENT",
        "STATS_SAMPLE_PAGES",
        "TABLESPACE",
        "STORAGE",
    ]
)
QUERY = frozenset(["AS", "SELECT", "IGNORE", "REPLACE", "WITH"])
"""With these a query begins, whose rows the table takes."""


def _at_query(cursor: Cursor) -> bool:
    return cursor.at_any(QUERY) or cursor.at("VALUES", "ROW") or _at_table(cursor)


def _at_table(cursor: Cursor) -> bool:
    following = cursor.peek(1)
    named = following.kind == "name" or (
        following.kind == "word" and not is_reserved(following.value)
    )
    return cursor.at("TABLE") and named


def option(table: Table, cursor: Cursor) -> bool:
    """Pass over one option of a table, if one comes next."""
    start = cursor.peek().start
    if cursor.take("ENGINE"):
        cursor.take("=")
        table.engine = cursor.word().upper()
        table.engine_said = True
        table.engine_span = (start, cursor.row[cursor.place - 1].end)
        return True
    cursor.take("DEFAULT")
    if cursor.take("COLLATE"):
        cursor.take("=")
        table.collation = cursor.word().lower()
    elif cursor.at("CHARSET") or cursor.at("CHARACTER", "SET") or cursor.at("CHAR", "SET"):
        cursor.place += 1 if cursor.at("CHARSET") else 2
        cursor.take("=")
        named = cursor.word().lower()
        table.collation = table.collation or named
    elif cursor.take("ROW_FORMAT"):
        cursor.take("=")
        table.row_format = cursor.word().upper()
    elif cursor.take("DATA", "DIRECTORY") or cursor.take("INDEX", "DIRECTORY"):
        cursor.take("=")
        cursor.word()
    elif cursor.take("UNION"):
        cursor.take("=")
        cursor.group()
    elif cursor.take("START", "TRANSACTION"):
        pass
    elif cursor.at_any(_OPTIONS):
        cursor.next()
        cursor.take("=")
        cursor.word()
    else:
        return False
    return True


def options(table: Table, cursor: Cursor) -> None:
    """Pass over the options of a table, to PARTITION BY or what follows."""
    while not cursor.done and not cursor.at("PARTITION"):
        if option(table, cursor):
            comma = cursor.at(",")
            if comma:
                cursor.next()
                if cursor.at("PARTITION") or cursor.done:
                    raise RefusedError(SYNTAX, "a comma, and no option after it")
            continue
        token = cursor.peek()
        if _at_query(cursor) or cursor.at("("):
            return
        if token.kind != "word" or is_reserved(token.value):
            raise RefusedError(SYNTAX, f"`{cursor.stands}` where a table's options are due")
        raise UnreadError(f"`{token.raw}` as a table's option")


def create(cursor: Cursor, name: Name, text: str) -> Table:
    """``CREATE [TEMPORARY] TABLE [IF NOT EXISTS] name`` has been passed over. Raises
    ``RefusedError`` and ``UnreadError``."""
    table = Table(name.table, schema=name.schema)
    if cursor.at("("):
        begin = cursor.place
        inner = cursor.inner()
        if inner.at("SELECT") or inner.at("WITH") or inner.at("("):
            cursor.place = begin
        elif inner.done:
            raise RefusedError(SYNTAX, "a table without a column")
        else:
            for row in parts(inner.row):
                define(table, row, name.schema)
            table.body_end = cursor.row[cursor.place - 1].start
    options(table, cursor)
    if cursor.take("PARTITION"):
        cursor.need("BY")
        table.scheme = scheme(cursor, text)
    if not cursor.done and not _at_query(cursor) and not (cursor.at("(") and _query(cursor)):
        where = "after the partitions" if table.scheme else "after the table"
        raise RefusedError(SYNTAX, f"`{cursor.stands}` {where}: options come before PARTITION BY")
    settle(table)
    return table


def _query(cursor: Cursor) -> bool:
    begin = cursor.place
    while cursor.take("("):
        pass
    found = _at_query(cursor)
    cursor.place = begin
    return found
