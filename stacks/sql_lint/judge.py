"""A file's statements, one after the other, against what the file has made so far."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from stacks.sql_lint import advice
from stacks.sql_lint.catalog import Catalog
from stacks.sql_lint.execute import Outcome, carry_out
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit, Name, RefusedError, UnreadError, apply
from stacks.sql_lint.rules_keys import GONE
from stacks.sql_lint.rules_lists import MOVED
from stacks.sql_lint.statements import Statement, statements

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


def lint(text: str) -> Iterator[Finding]:
    """What is to be said of a file's statements, in their order."""
    for found in lint_all([text]):
        yield from found


def lint_all(texts: Iterable[str]) -> Iterator[list[Finding]]:
    """The same of several files, each on what those before it have made."""
    catalog = Catalog()
    for text in texts:
        catalog.next_file()
        yield [one for statement in statements(text) for one in _statement(statement, catalog)]


def _statement(statement: Statement, catalog: Catalog) -> Iterator[Finding]:
    def finding(table: str, error: int | None, message: str, corrected: str | None) -> Finding:
        return Finding(statement.line, statement.text, table, error, message, corrected)

    text = statement.text
    found: list[Problem] = []
    corrected: str | None = None
    name, note = _named(text, catalog), ""
    for _ in range(ROUNDS):
        # Each round on a catalog of its own: what is refused changes nothing.
        tried = catalog.copy()
        try:
            outcome = _tried(text, tried)
        except (UnreadError, RecursionError) as why:
            if found:
                break
            if name.table:
                catalog.put(name, None)
            if isinstance(why, RecursionError):
                why = UnreadError("it is nested too deeply")
            yield finding(name.table, None, f"not understood, and so not judged: {why}", None)
            return
        name, note = outcome.name or name, outcome.note
        problem = outcome.problem
        if problem is None:
            catalog.take(tried)
            corrected = text if found else None
            break
        known = (problem.number, problem.message)
        if known in [(one.number, one.message) for one in found]:
            break
        found.append(problem)
        edits = _resolved(problem.edits, text)
        if not edits:
            break
        text = apply(text, edits)
    for problem in found:
        yield finding(name.table, problem.number, problem.message, corrected)
    if found and corrected is None and _CREATE.match(statement.text):
        catalog.put(name, None)
    if note:
        yield finding(name.table, None, note, None)
    after = catalog.get(name)
    if after is not None:
        for message in advice.of(after, text):
            yield finding(name.table, None, message, None)


def _tried(text: str, catalog: Catalog) -> Outcome:
    try:
        return carry_out(text, catalog)
    except RefusedError as refused:
        return Outcome(None, Problem(refused.number, str(refused)))


_CREATE = re.compile(r"(/\*!\d*\s*)?CREATE\s+(TEMPORARY\s+)?TABLE\b", re.IGNORECASE)
_NAME = re.compile(
    r"\bTABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?((?:`[^`]+`|[\w$])+)(?:\s*\.\s*((?:`[^`]+`|[\w$])+))?",
    re.IGNORECASE,
)


def _named(text: str, catalog: Catalog) -> Name:
    """A table's name as well as it can be seen in what is not understood."""
    found = _NAME.search(text)
    if not found:
        return Name(catalog.schema, "")
    first, second = (one.replace("`", "") if one else "" for one in found.groups())
    return Name(first, second) if second else Name(catalog.schema, first)


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
