"""One statement carried out on a catalog: what the server would refuse of it."""

from __future__ import annotations

import copy
import re
from typing import NamedTuple

from stacks.sql_lint import alter, elsewhere, rules
from stacks.sql_lint.catalog import Catalog
from stacks.sql_lint.model import Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import SYNTAX, Cursor, Name, RefusedError, tokens
from stacks.sql_lint.rules_keys import without
from stacks.sql_lint.tables import create
from stacks.sql_lint.words import words

_KINDS = {"UNIQUE": "unique", "FULLTEXT": "fulltext", "SPATIAL": "spatial"}


class Outcome(NamedTuple):
    """``name``: the table's, None for what is of no table. ``note``: advice, "" for none."""

    name: Name | None
    problem: Problem | None = None
    note: str = ""


PASSED = Outcome(None)


def carry_out(text: str, catalog: Catalog) -> Outcome:
    """Changes ``catalog`` as the server would its tables. Raises ``UnreadError`` and
    ``RefusedError``."""
    row = list(tokens(text, catalog.ansi))
    cursor = Cursor(row, catalog.schema)
    _begins(cursor)
    if cursor.take("CREATE"):
        return _create_any(cursor, text, catalog)
    if cursor.take("ALTER", "TABLE"):
        return _alter(cursor, text, catalog)
    if cursor.take("DROP"):
        return _drop_any(cursor, catalog)
    if cursor.take("RENAME"):
        return _rename(cursor, catalog)
    if cursor.take("USE"):
        catalog.schema = cursor.name().raw
        catalog.lost = False
        return Outcome(None, catalog.no_schema(Name(catalog.schema, "")))
    if cursor.take("SET"):
        _set(text, catalog)
    elif cursor.at("CALL") or cursor.at("EXECUTE") or cursor.at("SOURCE"):
        # These may make and drop what cannot be seen here.
        catalog.gone.clear()
        catalog.schemas_gone.clear()
    return PASSED


def _begins(cursor: Cursor) -> None:
    token = cursor.peek()
    known = token.kind == "end" or token.value in ("(", "\\") or token.kind == "name"
    if not known and token.value not in words("statements") | words("client"):
        raise RefusedError(SYNTAX, f"`{cursor.stands}` begins no statement")
    following = cursor.peek(1).value
    if token.value == "ALTER" and following in ("TABLES", "IGNORE"):
        raise RefusedError(SYNTAX, f"ALTER {following}: ALTER TABLE begins so")


def _create_any(cursor: Cursor, text: str, catalog: Catalog) -> Outcome:
    if cursor.at("OR", "REPLACE", "TABLE") or cursor.at("OR", "REPLACE", "TEMPORARY"):
        raise RefusedError(SYNTAX, "CREATE OR REPLACE is not for tables: drop it first")
    temporary = cursor.take("TEMPORARY")
    if cursor.take("TABLE"):
        return _create(cursor, text, catalog, temporary)
    if temporary or (cursor.peek(1).value == "TABLE" and not cursor.at("EXTERNAL")):
        raise RefusedError(SYNTAX, f"`{cursor.stands}` after CREATE")
    if cursor.take("DATABASE") or cursor.take("SCHEMA"):
        unless = cursor.take("IF", "NOT", "EXISTS")
        schema = cursor.name().raw
        there = schema in catalog.schemas
        catalog.schemas.add(schema)
        catalog.schemas_gone.discard(schema)
        if there and not unless:
            return Outcome(None, Problem(1007, f"the database {schema} has been created before"))
        return PASSED
    if cursor.at("VIEW") or cursor.at("OR", "REPLACE", "VIEW"):
        cursor.place += 1 if cursor.at("VIEW") else 3
        # As tables that are not understood: nothing is said of them.
        catalog.put(cursor.table(), None)
        return PASSED
    kind = _KINDS.get(cursor.peek().value, "key")
    if kind != "key":
        cursor.next()
    return _index(cursor, catalog, kind) if cursor.take("INDEX") else PASSED


def _create(cursor: Cursor, text: str, catalog: Catalog, temporary: bool) -> Outcome:
    unless = cursor.take("IF", "NOT", "EXISTS")
    name = cursor.table()
    if cursor.at("LIKE") or cursor.at("(", "LIKE"):
        return _like(cursor, catalog, name, temporary, unless)
    table = create(cursor, name, text)
    table.temporary, table.file = temporary, catalog.file
    queried = not cursor.done
    taken = name in (catalog.temporary if temporary else catalog.tables)
    asked = rules.TAKEN if taken and not unless else rules.READING
    problem = next((p for rule in asked if (p := rule(table))), None)
    problem = problem or catalog.no_schema(name)
    if taken and not problem:
        # The server reads it and no more; only what it refuses while reading is refused.
        before = catalog.get(name)
        if unless:
            return Outcome(name)
        why = f"there is a table {name.table} already, made above"
        if before is None or before.file == catalog.file:
            return Outcome(name, Problem(1050, why))
    if not queried and not table.columns:
        problem = problem or rules.no_columns(table)
    problem = problem or rules.first(table)
    if queried and problem and problem.number in (1054, 1072, 1488):
        # The query may bring the column.
        problem = None
    problem = problem or _references(table, catalog, name)
    forget(table)
    table.elsewhere = queried
    catalog.put(name, table, temporary)
    note = ""
    if taken and not problem:
        note = "a file before has made this table: the server takes this one in another database"
    return Outcome(name, problem, note)


def _like(cursor: Cursor, catalog: Catalog, name: Name, temporary: bool, unless: bool) -> Outcome:
    closing = cursor.take("(")
    cursor.need("LIKE")
    origin = cursor.table()
    if closing:
        cursor.need(")")
    cursor.end()
    if missing := catalog.absent(origin) or catalog.no_schema(name):
        return Outcome(name, missing)
    if name in (catalog.temporary if temporary else catalog.tables):
        if unless:
            return Outcome(name)
        if name == origin:
            return Outcome(name, Problem(1066, f"{name.table} is to be like itself"))
        if catalog.made_here(name):
            why = f"there is a table {name.table} already, made above"
            return Outcome(name, Problem(1050, why))
    made = copy.deepcopy(catalog.get(origin))
    problem = None
    if made:
        made.name, made.schema, made.foreign = name.table, name.schema, []
        made.temporary, made.file, made.indexed = temporary, catalog.file, made.indexed
        if temporary and made.scheme:
            problem = Problem(1562, "a temporary table cannot have partitions")
    catalog.put(name, made, temporary)
    return Outcome(name, problem)


def _references(table: Table, catalog: Catalog, name: Name) -> Problem | None:
    """No foreign key leads to a table with partitions, and none from one."""
    for foreign in table.foreign:
        target = catalog.get(foreign.target)
        if target and target.scheme:
            why = f"{foreign.target.table} has partitions: no foreign key may refer to it"
            return Problem(1506, why + rules.of_version(foreign), (without(foreign),))
        if catalog.checks and foreign.target != name and foreign.target in catalog.gone:
            return Problem(1824, f"there is no table {foreign.target.table}: it has been dropped")
    if table.scheme and not table.temporary:
        child = next((c for c in catalog.children(name) if c.file == table.file), None)
        if child:
            why = f"a foreign key of {child.name} refers to {table.name}; drop it first"
            return Problem(1506, why)
    return None


def _alter(cursor: Cursor, text: str, catalog: Catalog) -> Outcome:
    name = cursor.table()
    if missing := catalog.absent(name):
        return Outcome(name, missing)
    table = catalog.own(name)
    if table is None or table.elsewhere:
        made = Table(name.table, schema=name.schema, elsewhere=True)
        problem, note = elsewhere.judge(made, cursor, text)
        return Outcome(name, problem, "" if catalog.holds(name) and table is None else note)
    temporary = name in catalog.temporary
    before = [*table.foreign]
    problem = alter.change(table, cursor, text, catalog)
    if [one for one in table.foreign if one not in before] or table.scheme:
        problem = problem or _references(table, catalog, name)
    forget(table)
    now = Name(table.schema, table.name)
    if now != name:
        taken = now in (catalog.temporary if temporary else catalog.tables)
        if taken and catalog.made_here(now):
            return Outcome(name, problem or Problem(1050, f"there is a table {now.table} already"))
        _moved(catalog, name, now, temporary)
    return Outcome(now, problem)


def _moved(catalog: Catalog, old: Name, new: Name, temporary: bool) -> None:
    table = (catalog.temporary if temporary else catalog.tables).get(old)
    catalog.drop(old, temporary)
    catalog.put(new, table, temporary)
    if table:
        was = re.compile(re.escape(old.table) + r"_ibfk_(\d+)\Z")
        table.name, table.schema = new.table, new.schema
        for foreign in table.foreign:
            # The server renames with the table what it has named itself.
            foreign.name = was.sub(rf"{new.table}_ibfk_\1", foreign.name)
    for other in [*catalog.tables]:
        held = catalog.tables[other]
        if held and any(one.target == old for one in held.foreign):
            changed = catalog.own(other)
            for one in changed.foreign if changed else ():
                one.target = new if one.target == old else one.target


def _rename(cursor: Cursor, catalog: Catalog) -> Outcome:
    if cursor.at("USER"):
        return PASSED
    if not cursor.take("TABLES"):
        cursor.need("TABLE")
    while True:
        old = cursor.table()
        cursor.need("TO")
        new = cursor.table()
        if missing := catalog.absent(old):
            return Outcome(old, missing)
        if new in catalog.tables and catalog.made_here(new):
            return Outcome(old, Problem(1050, f"there is a table {new.table} already"))
        if old in catalog.tables:
            catalog.own(old)
            _moved(catalog, old, new, False)
        elif not catalog.holds(old):
            catalog.gone.add(old)
            catalog.gone.discard(new)
        if not cursor.take(","):
            cursor.end()
            return Outcome(new)


def _drop_any(cursor: Cursor, catalog: Catalog) -> Outcome:
    if cursor.take("INDEX"):
        name = cursor.raw_name()
        cursor.need("ON")
        at = cursor.table()
        if missing := catalog.absent(at):
            return Outcome(at, missing)
        table = catalog.own(at)
        return Outcome(at, alter.drop_index(table, name) if table else None)
    if cursor.take("DATABASE") or cursor.take("SCHEMA"):
        unless = cursor.take("IF", "EXISTS")
        schema = cursor.name().raw
        if schema in catalog.schemas_gone and not unless:
            return Outcome(None, Problem(1008, f"there is no database {schema} any more"))
        catalog.drop_schema(schema)
        return PASSED
    temporary = cursor.take("TEMPORARY")
    view = cursor.take("VIEW")
    if not view and not cursor.take("TABLE") and not cursor.take("TABLES"):
        return PASSED
    unless = cursor.take("IF", "EXISTS")
    names = [cursor.table()]
    while cursor.take(","):
        names.append(cursor.table())
    if not cursor.take("CASCADE"):
        cursor.take("RESTRICT")
    cursor.end()
    for one in names:
        if problem := _dropped(catalog, one, names, temporary, unless or view):
            return Outcome(one, problem)
    return PASSED


def _dropped(
    catalog: Catalog, name: Name, names: list[Name], temporary: bool, unless: bool
) -> Problem | None:
    if not unless:
        missing = catalog.absent(name)
        if missing is None and temporary and name in catalog.tables:
            missing = None if name in catalog.temporary else Problem(1051, "it is not temporary")
        if missing:
            return Problem(1051, f"there is no table {name.table} to be dropped")
    if catalog.checks and name not in catalog.temporary and not temporary:
        for child in catalog.children(name):
            if Name(child.schema, child.name) not in names:
                why = f"a foreign key of {child.name} refers to {name.table}; drop that first"
                return Problem(3730, why)
    catalog.drop(name, temporary)
    return None


def _index(cursor: Cursor, catalog: Catalog, kind: str) -> Outcome:
    named = cursor.name()
    if cursor.take("USING") or cursor.take("TYPE"):
        cursor.next()
    cursor.need("ON")
    name = cursor.table()
    if missing := catalog.absent(name):
        return Outcome(name, missing)
    table = catalog.own(name)
    if table is None or table.elsewhere:
        return Outcome(name)
    problem = alter.index(table, cursor, kind, named)
    forget(table)
    return Outcome(name, problem)


def _set(text: str, catalog: Catalog) -> None:
    for said in re.findall(r"(?<![@\w])(?:@@)?FOREIGN_KEY_CHECKS\s*:?=\s*'?(@?\w+)", text, re.I):
        catalog.checks = said.upper() not in ("0", "OFF", "FALSE")
    for said in re.findall(r"(?<![@\w])(?:@@)?SQL_MODE\s*:?=\s*(\S.*)", text, re.I):
        catalog.ansi = re.search(r"\bANSI(_QUOTES)?\b", said, re.IGNORECASE) is not None


def forget(table: Table) -> None:
    """The places in the text of the statement that made it mean nothing in the next."""
    none = (-1, -1)
    table.body_end, table.engine_span, table.engine_said = 0, none, True
    for column in table.columns:
        column.null = column.default_null = False
        column.null_span = column.default_span = none
        column.end = -1
    for key in table.keys:
        key.span, key.part_spans = none, [none] * len(key.parts)
    for foreign in table.foreign:
        foreign.span = none
    found = table.scheme
    for one in (found, found.sub) if found else ():
        if one:
            one.by = one.inner = one.number_span = none
    for partition in found.partitions if found else ():
        partition.span = partition.name_span = none
        partition.values_span = partition.engine_span = none
        for row in partition.rows:
            for bound in row:
                bound.span = none
