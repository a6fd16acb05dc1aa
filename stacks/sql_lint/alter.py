"""ALTER TABLE, CREATE INDEX and DROP INDEX on a table that was made before."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from stacks.sql_lint import alter_partitions, exchange, rules
from stacks.sql_lint.catalog import Catalog
from stacks.sql_lint.definitions import define, settle
from stacks.sql_lint.model import Key, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import SYNTAX, Cursor, RefusedError, Token, UnreadError, parts
from stacks.sql_lint.schemes import scheme
from stacks.sql_lint.tables import option
from stacks.sql_lint.words import is_reserved

_MODIFIERS = ("ALGORITHM", "LOCK", "WITH", "WITHOUT")


def change(table: Table, cursor: Cursor, text: str, catalog: Catalog) -> Problem | None:
    """Carry out the rest of an ALTER TABLE on ``table``; what the server would refuse of it."""
    modifiers(cursor)
    if cursor.take("EXCHANGE"):
        return exchange.judge(table, cursor, catalog)
    if alter_partitions.begins(cursor):
        return alter_partitions.change(table, cursor, text)
    row, clause = split(cursor)
    before = copy.deepcopy(table)
    for part in parts(row):
        if problem := _definition(table, before, part, cursor.schema):
            return problem
    settle(table)
    if clause.take("REMOVE"):
        clause.need("PARTITIONING")
        clause.end()
        gone = alter_partitions.unpartitioned(table)
        table.scheme = None
        return gone or judged(table)
    if not clause.done:
        clause.need("PARTITION", "BY")
        table.scheme = scheme(clause, text)
        clause.end()
        return rules.first(table)
    if not table.columns:
        return Problem(1090, f"no column of {table.name} would be left: drop the table")
    return judged(table)


def modifiers(cursor: Cursor) -> None:
    """Pass over ALGORITHM, LOCK and VALIDATION before what may stand alone only."""
    begin = cursor.place
    while cursor.at("ALGORITHM") or cursor.at("LOCK"):
        cursor.next()
        cursor.take("=")
        cursor.word()
        if not cursor.take(","):
            break
    if not (alter_partitions.begins(cursor) or cursor.at("EXCHANGE")):
        cursor.place = begin
    elif cursor.place > begin and cursor.row[cursor.place - 1].value != ",":
        raise RefusedError(SYNTAX, f"a comma expected where `{cursor.stands}` stands")


def split(cursor: Cursor) -> tuple[list[Token], Cursor]:
    """What stands before PARTITION BY or REMOVE PARTITIONING, and a cursor over that."""
    row = cursor.row
    by = cursor.place
    while by < len(row) and not _begins(row, by):
        by += 1
    if cursor.place < by < len(row) and row[by - 1].value == ",":
        raise RefusedError(SYNTAX, f"no comma stands before {row[by].value}")
    return list(row[cursor.place : by]), Cursor(row[by:], cursor.schema)


def _begins(row: Sequence[Token], place: int) -> bool:
    pair = [token.value for token in row[place : place + 2] if token.kind == "word"]
    return pair in (["PARTITION", "BY"], ["REMOVE", "PARTITIONING"])


def judged(table: Table) -> Problem | None:
    found = (rule(table) for rule in rules.OF_ALTER)
    return next((problem for problem in found if problem), None)


def _definition(table: Table, before: Table, row: list[Token], schema: str) -> Problem | None:
    """One part of an ALTER TABLE; names of what is there are ``before``'s."""
    if not row:
        raise RefusedError(SYNTAX, "a comma, and no part of ALTER TABLE where one is due")
    cursor = Cursor(row, schema)
    if cursor.take("ADD"):
        if cursor.at("PARTITION"):
            raise RefusedError(SYNTAX, "ADD PARTITION stands alone in an ALTER TABLE")
        column = cursor.take("COLUMN")
        if cursor.at("("):
            for one in parts(cursor.group()):
                define(table, one, schema)
            return None
        if cursor.at("IF") and column:
            raise RefusedError(SYNTAX, "ADD COLUMN takes no IF NOT EXISTS")
        defined = row[cursor.place :]
        define(table, defined, schema)
        return _after(before, defined)
    if cursor.take("DROP"):
        return _dropped(table, before, cursor)
    if cursor.take("RENAME", "COLUMN"):
        old = cursor.raw_name()
        cursor.need("TO")
        return _unknown_column(before, old) or _renamed(table, old, cursor.raw_name())
    if cursor.take("RENAME", "INDEX") or cursor.take("RENAME", "KEY"):
        return _renamed_key(table, before, cursor)
    if cursor.take("RENAME"):
        if not cursor.take("TO"):
            cursor.take("AS")
        table.schema, table.name = cursor.table()
        return None
    if cursor.take("MODIFY") or cursor.take("CHANGE"):
        return _modified(table, before, cursor, change=row[0].value == "CHANGE")
    if cursor.take("CONVERT"):
        cursor.need("TO")
        return _converted(table, cursor)
    if cursor.take("ALTER"):
        if cursor.take("COLUMN") or not (cursor.at("INDEX") or cursor.at("CHECK")):
            return _unknown_column(before, cursor.raw_name())
        return None
    if cursor.take("ORDER", "BY") or cursor.take("FORCE") or cursor.at_any(_HARMLESS):
        return None
    _options(table, cursor)
    return None


_HARMLESS = frozenset([*_MODIFIERS, "DISABLE", "ENABLE", "IMPORT", "DISCARD"])


def _options(table: Table, cursor: Cursor) -> None:
    while not cursor.done:
        if option(table, cursor):
            continue
        if cursor.peek().kind != "word" or is_reserved(cursor.peek().value):
            raise RefusedError(SYNTAX, f"`{cursor.stands}` in ALTER TABLE")
        raise UnreadError(f"`{cursor.stands}` in ALTER TABLE")


def _converted(table: Table, cursor: Cursor) -> Problem | None:
    if not cursor.take("CHARSET"):
        _ = cursor.take("CHAR") or cursor.need("CHARACTER")
        cursor.need("SET")
    table.collation = cursor.word().lower()
    if cursor.take("COLLATE"):
        cursor.take("=")
        table.collation = cursor.word().lower()
    cursor.end()
    for column in table.columns:
        column.collation = ""
    return None


def _unknown_column(table: Table, name: str) -> Problem | None:
    if table.column(name) is None:
        return Problem(1054, f"{table.name} has no column {name}")
    return None


def _after(before: Table, row: list[Token]) -> Problem | None:
    if len(row) > 2 and row[-2].kind == "word" and row[-2].value == "AFTER":
        return _unknown_column(before, row[-1].raw) if row[-1].kind in ("word", "name") else None
    return None


def _kept(table: Table, name: str) -> Problem | None:
    if table.scheme and name.lower() in [used.lower() for used in table.scheme.used]:
        why = f"the partitions are made by {name}: it cannot be dropped or renamed"
        return Problem(3855, why)
    return None


def _no_such(name: str) -> Problem:
    return Problem(1091, f"there is no {name} to be dropped")


def _dropped(table: Table, before: Table, cursor: Cursor) -> Problem | None:
    if cursor.at("PARTITION"):
        raise RefusedError(SYNTAX, "DROP PARTITION stands alone in an ALTER TABLE")
    if cursor.take("PRIMARY"):
        cursor.need("KEY")
        if not any(key.kind == "primary" for key in before.keys):
            return _no_such("primary key")
        table.keys = [key for key in table.keys if key.kind != "primary"]
    elif cursor.take("INDEX") or cursor.take("KEY"):
        name = cursor.raw_name()
        return drop_index(table, name, before)
    elif cursor.take("FOREIGN"):
        cursor.need("KEY")
        name = cursor.raw_name().lower()
        if not any(one.name.lower() == name for one in before.foreign):
            return _no_such(f"foreign key {name}")
        table.foreign = [one for one in table.foreign if one.name.lower() != name]
    elif cursor.take("CONSTRAINT"):
        name = cursor.raw_name().lower()
        table.foreign = [one for one in table.foreign if one.name.lower() != name]
        table.keys = [k for k in table.keys if k.kind != "unique" or k.name.lower() != name]
    elif cursor.take("CHECK"):
        cursor.raw_name()
    else:
        cursor.take("COLUMN")
        if cursor.at("IF"):
            raise RefusedError(SYNTAX, "DROP COLUMN takes no IF EXISTS")
        return _dropped_column(table, before, cursor.raw_name())
    return None


def _dropped_column(table: Table, before: Table, name: str) -> Problem | None:
    if before.column(name) is None:
        return _no_such(f"column {name}")
    if kept := _kept(table, name):
        return kept
    at = next(i for i, c in enumerate(table.columns) if c.name.lower() == name.lower())
    del table.columns[at]
    for key in table.keys:
        key.parts = [part for part in key.parts if (part[0] or "").lower() != name.lower()]
        key.part_spans = [(-1, -1)] * len(key.parts)
    table.keys = [key for key in table.keys if key.parts]
    return None


def drop_index(table: Table, name: str, before: Table | None = None) -> Problem | None:
    """``name`` is gone from ``table``, if it was among the keys of ``before``."""
    known = before or table
    if not any(key.name.lower() == name.lower() for key in known.keys):
        # For foreign keys the server makes indexes of its own.
        unknown = known.indexed or known.elsewhere or any(not key.named for key in known.keys)
        return None if unknown else _no_such(f"key {name}")
    table.keys = [key for key in table.keys if key.name.lower() != name.lower()]
    return None if before else judged(table)


def _renamed(table: Table, old: str, new: str) -> Problem | None:
    if old.lower() != new.lower() and (kept := _kept(table, old)):
        return kept
    for column in table.columns:
        column.name = new if column.name.lower() == old.lower() else column.name
    for key in table.keys:
        key.parts = [
            (new if name and name.lower() == old.lower() else name, prefix)
            for name, prefix in key.parts
        ]
    return None


def _renamed_key(table: Table, before: Table, cursor: Cursor) -> Problem | None:
    old = cursor.raw_name().lower()
    cursor.need("TO")
    new = cursor.raw_name()
    if not any(key.name.lower() == old for key in before.keys) and not before.indexed:
        return Problem(1176, f"{table.name} has no key {old}")
    for key in table.keys:
        key.name = new if key.name.lower() == old else key.name
    return None


def _modified(table: Table, before: Table, cursor: Cursor, change: bool) -> Problem | None:
    cursor.take("COLUMN")
    old = cursor.raw_name()
    if missing := _unknown_column(before, old):
        return missing
    if not change:
        cursor.place -= 1
    elif kept := _renamed(table, old, cursor.peek().raw):
        return kept
    name = cursor.peek().raw.lower()
    place = next((i for i, c in enumerate(table.columns) if c.name.lower() == name), None)
    if place is None:
        raise UnreadError(f"column {old}")
    defined = list(cursor.row[cursor.place :])
    define(table, defined, cursor.schema)
    table.columns[place] = table.columns.pop()
    return _after(before, defined)


def index(table: Table, cursor: Cursor, kind: str, named: Token) -> Problem | None:
    """CREATE [UNIQUE|FULLTEXT] INDEX; its columns come next."""
    before = Table("", columns=table.columns)
    define(before, [Token("word", "KEY", 0, 0, "KEY"), *cursor.row[cursor.place :]])
    made: Key = before.keys[0]
    made.kind, made.name, made.named = kind, named.raw, True
    table.keys.append(made)
    settle(table)
    return judged(table)
