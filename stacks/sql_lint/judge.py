"""A file's statements, one after the other, against what the file has made so far."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from stacks.sql_lint import advice, alter, rules
from stacks.sql_lint.model import Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Cursor, Edit, Statement, UnreadError, apply, statements, tokens
from stacks.sql_lint.rules_keys import GONE, without
from stacks.sql_lint.rules_lists import MOVED
from stacks.sql_lint.tables import RefusedError, create

ROUNDS = 24
"""So many errors of one statement are shown at most."""


class Finding(NamedTuple):
    """``error``: MySQL's number; None for advice. ``corrected``: the statement as it would be
    accepted, None where that cannot be known."""

    line: int
    statement: str
    table: str
    error: int | None
    message: str
    corrected: str | None


Catalog = dict[str, Table | None]
"""The tables of the file; None for one that is there and not understood."""


def lint(text: str) -> Iterator[Finding]:
    """What is to be said of a file's statements, in their order."""
    catalog: Catalog = {}
    for statement in statements(text):
        yield from _statement(statement, catalog)


def _statement(statement: Statement, catalog: Catalog) -> Iterator[Finding]:
    def finding(table: str, error: int | None, message: str, corrected: str | None) -> Finding:
        return Finding(statement.line, statement.text, table, error, message, corrected)

    if statement.problem:
        yield finding("", None, f"not judged from here on: {statement.problem}", None)
        return
    text, table = statement.text, ""
    found: list[Problem] = []
    corrected: str | None = None
    for _ in range(ROUNDS):
        # Each round on a catalog of its own: what is refused changes nothing.
        tried = dict(catalog)
        try:
            table, problem = _carry_out(text, tried)
        except (UnreadError, RecursionError) as why:
            if found:
                corrected = None
                break
            name = _named(statement.text)
            catalog[name] = None
            if isinstance(why, RecursionError):
                why = UnreadError("it is nested too deeply")
            yield finding(name, None, f"not understood, and so not judged: {why}", None)
            return
        if problem is None:
            catalog.clear()
            catalog.update(tried)
            corrected = text if found else None
            break
        known = (problem.number, problem.message)
        if known in [(one.number, one.message) for one in found]:
            corrected = None
            break
        found.append(problem)
        edits = _resolved(problem.edits, text)
        if not edits:
            corrected = None
            break
        text = apply(text, edits)
    for problem in found:
        yield finding(table, problem.number, problem.message, corrected)
    if found and corrected is None and _is_create(statement.text):
        catalog[table] = None
    after = catalog.get(table)
    if after is not None:
        for message in advice.of(after, text):
            yield finding(table, None, message, None)


def _resolved(edits: tuple[Edit, ...], text: str) -> list[Edit]:
    """The edits with the texts they move and the commas they take; none if one has no place."""
    found = []
    for edit in edits:
        if edit.start < 0:
            return []
        start, end, new = edit
        if new == GONE:
            new = ""
            before = text[:start].rstrip()
            if before.endswith(","):
                start = len(before) - 1
            else:
                end += len(text[end:]) - len(text[end:].lstrip(" \n\t,"))
        elif new == "" and start and text[start - 1] == " ":
            start -= 1
        if new.startswith(MOVED):
            first, last = new.strip(MOVED).split(":")
            if int(first) < 0:
                return []
            new = text[int(first) : int(last)]
        found.append(Edit(start, end, new))
    ordered = sorted(found)
    for left, right in pairwise(ordered):
        if left.end > right.start:
            return []
    return found


def _is_create(text: str) -> bool:
    return re.match(r"(/\*!\d*\s*)?CREATE\s+(TEMPORARY\s+)?TABLE", text, re.IGNORECASE) is not None


def _named(text: str) -> str:
    """A table's name as well as it can be seen in what is not understood."""
    found = re.search(
        r"\bTABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?((?:`[^`]+`|[\w$.])+)", text, re.IGNORECASE
    )
    return found[1].replace("`", "").rpartition(".")[2] if found else ""


def _carry_out(text: str, catalog: Catalog) -> tuple[str, Problem | None]:
    """The table's name, and what the server refuses; nothing for statements that are not of tables.

    Raises ``UnreadError``."""
    cursor = Cursor(list(tokens(text)))
    if cursor.take("CREATE"):
        temporary = cursor.take("TEMPORARY")
        if cursor.take("TABLE"):
            return _create(cursor, text, catalog, temporary)
        kind = {"UNIQUE": "unique", "FULLTEXT": "fulltext", "SPATIAL": "spatial"}.get(
            cursor.peek().value, "key"
        )
        if kind != "key":
            cursor.next()
        return _index(cursor, catalog, kind) if cursor.take("INDEX") else ("", None)
    if cursor.take("ALTER", "TABLE"):
        return _alter(cursor, text, catalog)
    if cursor.take("DROP", "INDEX"):
        name = cursor.raw_name()
        cursor.need("ON")
        table = _own(catalog, cursor.table())
        if table:
            table.keys = [key for key in table.keys if key.name.lower() != name.lower()]
        return "", None
    if cursor.take("DROP", "TABLE") or cursor.take("DROP", "TEMPORARY", "TABLE"):
        cursor.take("IF", "EXISTS")
        while not cursor.done:
            catalog.pop(cursor.table(), None)
            if not cursor.take(","):
                break
    elif cursor.take("RENAME", "TABLE"):
        old = cursor.table()
        cursor.need("TO")
        if old in catalog:
            catalog[cursor.table()] = catalog.pop(old)
    return "", None


def _own(catalog: Catalog, name: str) -> Table | None:
    """The table called so, to be changed: a copy in the place of the one that others have too."""
    table = copy.deepcopy(catalog.get(name))
    if table is not None:
        catalog[name] = table
    return table


def _create(
    cursor: Cursor, text: str, catalog: Catalog, temporary: bool
) -> tuple[str, Problem | None]:
    unless = cursor.take("IF", "NOT", "EXISTS")
    begin = cursor.place
    name = cursor.table()
    if cursor.take("LIKE") or cursor.take("(", "LIKE"):
        origin = catalog.get(cursor.table())
        made = copy.deepcopy(origin)
        if made:
            made.name, made.foreign = name, []
        catalog.setdefault(name, made)
        return "", None
    if not cursor.at("("):
        catalog.setdefault(name, None)
        return "", None
    cursor.place = begin
    if name in catalog and not unless:
        return name, Problem(1050, f"this file has made a table {name} before")
    try:
        table = create(cursor, text)
    except RefusedError as refused:
        return name, Problem(refused.number, str(refused))
    table.temporary = temporary
    if name in catalog:
        # The server reads it and does nothing; only what it refuses while reading is refused.
        return name, next((p for rule in rules.PARSING if (p := rule(table))), None)
    problem = rules.first(table) or _references(table, catalog)
    _forget(table)
    catalog[name] = table
    return name, problem


def _references(table: Table, catalog: Catalog) -> Problem | None:
    """No foreign key leads to a table with partitions, and none from one."""
    for foreign in table.foreign:
        target = catalog.get(foreign.target)
        if target and target.scheme:
            why = f"{foreign.target} has partitions: no foreign key may refer to it"
            return Problem(1506, why, (without(foreign),))
    if table.scheme:
        for other in catalog.values():
            if other and other is not table and any(f.target == table.name for f in other.foreign):
                why = f"a foreign key of {other.name} refers to {table.name}; drop it first"
                return Problem(1506, why)
    return None


def _alter(cursor: Cursor, text: str, catalog: Catalog) -> tuple[str, Problem | None]:
    name = cursor.table()
    table = _own(catalog, name)
    if table is None:
        # Made elsewhere: what it is cannot be known.
        return name, None
    try:
        problem = alter.change(table, cursor, text)
    except RefusedError as refused:
        return name, Problem(refused.number, str(refused))
    except alter.DependentError as dependent:
        return name, Problem(3855, str(dependent))
    problem = problem or _references(table, catalog)
    _forget(table)
    if table.name != name:
        catalog[table.name] = catalog.pop(name)
    return name, problem


def _index(cursor: Cursor, catalog: Catalog, kind: str) -> tuple[str, Problem | None]:
    named = cursor.name()
    if cursor.take("USING"):
        cursor.next()
    cursor.need("ON")
    name = cursor.table()
    table = _own(catalog, name)
    if table is None:
        return name, None
    problem = alter.index(table, cursor, kind)
    table.keys[-1].name = named.raw
    _forget(table)
    return name, problem


def _forget(table: Table) -> None:
    """The places in the text of the statement that made it mean nothing in the next."""
    none = (-1, -1)
    table.body_end, table.engine_span = 0, none
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
