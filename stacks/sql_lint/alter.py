"""ALTER TABLE, CREATE INDEX and DROP INDEX on a table that the file has made before."""

from __future__ import annotations

from collections.abc import Sequence

from stacks.sql_lint import rules, rules_lists
from stacks.sql_lint.model import Key, Partition, Scheme, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Cursor, Edit, Token, UnreadError, parts
from stacks.sql_lint.rules_bounds import order
from stacks.sql_lint.tables import define, partitions, scheme


def change(table: Table, cursor: Cursor, text: str) -> Problem | None:
    """Carry out the rest of an ALTER TABLE on ``table``; what the server would refuse of it."""
    if cursor.at("ADD", "PARTITION"):
        return _add(table, cursor, text)
    if cursor.at("DROP", "PARTITION"):
        return _drop(table, cursor)
    if cursor.take("COALESCE", "PARTITION"):
        return _coalesce(table, cursor)
    if cursor.at("REORGANIZE", "PARTITION"):
        return _reorganize(table, cursor, text)
    if cursor.take("REMOVE", "PARTITIONING"):
        gone = _unpartitioned(table)
        table.scheme = None
        return gone
    for verb in ("TRUNCATE", "EXCHANGE", "REBUILD", "OPTIMIZE", "REPAIR", "ANALYZE", "CHECK"):
        if cursor.take(verb, "PARTITION"):
            return _each(table, cursor, verb)
    by = next((i for i in range(len(cursor.row)) if _begins(cursor, i)), len(cursor.row))
    for part in parts(cursor.row[cursor.place : by]):
        _definition(table, part)
    if by < len(cursor.row):
        rest = Cursor(cursor.row[by + 2 :])
        table.scheme = scheme(rest, text)
        if not rest.done:
            raise UnreadError(f"`{rest.peek().value}` after the partitions")
        return rules.first(table)
    return _judged(table)


def _begins(cursor: Cursor, place: int) -> bool:
    pair = [token.value for token in cursor.row[place : place + 2] if token.kind == "word"]
    return pair == ["PARTITION", "BY"]


def _judged(table: Table) -> Problem | None:
    found = (rule(table) for rule in (*rules.DEFINING, *rules.PLACING))
    return next((problem for problem in found if problem), None)


def _definition(table: Table, row: list[Token]) -> None:
    if not row:
        raise UnreadError("an empty part of ALTER TABLE")
    cursor = Cursor(row)
    if cursor.take("ADD"):
        cursor.take("COLUMN")
        if cursor.at("("):
            for one in parts(cursor.group()):
                define(table, one)
            return
        define(table, row[cursor.place :])
    elif cursor.take("DROP"):
        _dropped(table, cursor)
    elif cursor.take("RENAME", "COLUMN"):
        _rename(table, cursor)
    elif cursor.take("RENAME", "INDEX") or cursor.take("RENAME", "KEY"):
        old = cursor.raw_name().lower()
        cursor.need("TO")
        new = cursor.raw_name()
        for key in table.keys:
            key.name = new if key.name.lower() == old else key.name
    elif cursor.take("RENAME"):
        if not cursor.take("TO"):
            cursor.take("AS")
        table.name = cursor.table()
    elif cursor.take("ENGINE"):
        cursor.take("=")
        start = cursor.peek()
        table.engine, table.engine_span = start.value.upper(), (row[0].start, start.end)
    elif cursor.take("MODIFY") or cursor.take("CHANGE"):
        _modified(table, cursor, change=row[0].value == "CHANGE")
    elif row[0].value not in _HARMLESS:
        raise UnreadError(f"`{row[0].value}` in ALTER TABLE")


_HARMLESS = frozenset(
    [
        "ALTER",
        "COMMENT",
        "AUTO_INCREMENT",
        "ALGORITHM",
        "LOCK",
        "FORCE",
        "ROW_FORMAT",
        "DEFAULT",
        "ORDER",
        "DISABLE",
        "ENABLE",
        "WITH",
        "WITHOUT",
    ]
)


class DependentError(Exception):
    """A column that partitions are made by would go: error 3855."""


def _kept(table: Table, name: str) -> None:
    if table.scheme and name.lower() in [used.lower() for used in table.scheme.used]:
        raise DependentError(f"the partitions are made by {name}: it cannot be dropped or renamed")


def _dropped(table: Table, cursor: Cursor) -> None:
    if cursor.take("PRIMARY", "KEY"):
        table.keys = [key for key in table.keys if key.kind != "primary"]
    elif cursor.take("INDEX") or cursor.take("KEY"):
        name = cursor.raw_name().lower()
        table.keys = [key for key in table.keys if key.name.lower() != name]
    elif cursor.take("FOREIGN", "KEY") or cursor.take("CONSTRAINT"):
        name = cursor.raw_name().lower()
        table.foreign = [one for one in table.foreign if one.name.lower() != name]
        table.keys = [k for k in table.keys if k.kind != "unique" or k.name.lower() != name]
    elif not cursor.at("CHECK"):
        cursor.take("COLUMN")
        name = cursor.raw_name().lower()
        _kept(table, name)
        table.columns = [column for column in table.columns if column.name.lower() != name]
        for key in table.keys:
            key.parts = [part for part in key.parts if (part[0] or "").lower() != name]
            key.part_spans = [(-1, -1)] * len(key.parts)
        table.keys = [key for key in table.keys if key.parts]


def _rename(table: Table, cursor: Cursor) -> None:
    old = cursor.raw_name()
    cursor.need("TO")
    _renamed(table, old, cursor.raw_name())


def _renamed(table: Table, old: str, new: str) -> None:
    if old.lower() != new.lower():
        _kept(table, old)
    for column in table.columns:
        column.name = new if column.name.lower() == old.lower() else column.name
    for key in table.keys:
        key.parts = [
            (new if name and name.lower() == old.lower() else name, prefix)
            for name, prefix in key.parts
        ]


def _modified(table: Table, cursor: Cursor, change: bool) -> None:
    cursor.take("COLUMN")
    old = cursor.raw_name()
    if not change:
        cursor.place -= 1
    else:
        _renamed(table, old, cursor.peek().raw)
    place = next((i for i, c in enumerate(table.columns) if c.name == cursor.peek().raw), None)
    if place is None:
        raise UnreadError(f"column {old}")
    define(table, list(cursor.row[cursor.place :]))
    table.columns[place] = table.columns.pop()


# --- Partitions ----------------------------------------------------------------------------------


def _unpartitioned(table: Table) -> Problem | None:
    if table.scheme is None:
        return Problem(1505, f"{table.name} has no partitions")
    return None


def _add(table: Table, cursor: Cursor, text: str) -> Problem | None:
    begin = cursor.peek().start
    cursor.place += 2
    found = table.scheme
    if found is None:
        return _unpartitioned(table)
    if cursor.take("PARTITIONS"):
        number = cursor.number()
        if found.method in ("RANGE", "LIST"):
            return Problem(1492, f"each partition of {found.method} has to be written out")
        if number == 0:
            return Problem(1514, "0 partitions are to be added; write 1 or more")
        if not found.partitions:
            found.number = found.count + number
            return rules_lists.too_many(table)
        raise UnreadError("partitions without names beside some with")
    new = partitions(cursor.group(), text)
    if not cursor.done:
        raise UnreadError(f"`{cursor.peek().value}` after the partitions")
    if found.method in ("HASH", "KEY"):
        wrong = next((p for p in new if p.kind), None)
        if wrong:
            edits = tuple(Edit(p.name_span[1], p.values_span[1], "") for p in new if p.kind)
            return Problem(1480, f"{found.method} partitions have no VALUES", edits)
        _named(found)
    else:
        right = "less" if found.method == "RANGE" else "in"
        for partition in new:
            if not partition.kind:
                return Problem(1479, f"partition {partition.name} needs its VALUES")
            if partition.kind != right:
                words = "VALUES LESS THAN" if right == "less" else "VALUES IN"
                return Problem(1480, f"{found.method} takes {words}")
    old = found.partitions
    found.number = None
    found.partitions = [*old, *new]
    problem = rules.first(table)
    if problem and found.method == "RANGE" and problem.number in (1481, 1493):
        return _split(problem, table, old, new, (begin, new[0].span[0], new[-1].span[1]), text)
    return problem


def _named(found: Scheme) -> None:
    """Names as the server gives them where a number alone was said."""
    if not found.partitions:
        names = [f"p{i}" for i in range(found.count)]
        found.partitions = [Partition(name, (-1, -1), (-1, -1)) for name in names]


def _split(
    problem: Problem,
    table: Table,
    old: Sequence[Partition],
    new: Sequence[Partition],
    place: tuple[int, int, int],
    text: str,
) -> Problem:
    """What takes the new bounds is split by them: REORGANIZE in the place of ADD."""
    found = table.scheme
    assert found is not None
    holder = None
    for partition in old:
        found.partitions = [partition, new[-1]]
        if order(table):
            holder = partition
            break
    if holder is None or holder.kind != "less":
        return Problem(problem.number, problem.message)
    begin, start, end = place
    before = old[: old.index(holder)]
    found.partitions = [*before, *new, holder]
    if order(table) or rules_lists.names(table) or _same(holder, new[-1]):
        return Problem(problem.number, problem.message)
    values = ", ".join(bound.text for bound in holder.rows[0])
    name = rules_lists.quoted(holder.name)
    written = f"PARTITION {name} VALUES LESS THAN ({values})"
    why = f"{holder.name} takes these values already: it has to be split, by REORGANIZE PARTITION"
    return Problem(
        problem.number,
        why,
        (
            Edit(begin, start, f"REORGANIZE PARTITION {name} INTO ("),
            Edit(end, end, f", {written}"),
        ),
    )


def _same(one: Partition, other: Partition) -> bool:
    return [b.text for b in one.rows[0]] == [b.text for b in other.rows[0]]


def _names(cursor: Cursor) -> list[str]:
    found = [cursor.raw_name()]
    while cursor.take(","):
        found.append(cursor.raw_name())
    return found


def _unknown(found: Scheme, names: Sequence[str]) -> str:
    there = {partition.name.lower() for partition in found.partitions}
    return next((name for name in names if name.lower() not in there), "")


def _drop(table: Table, cursor: Cursor) -> Problem | None:
    begin = cursor.peek().start
    cursor.place += 2
    names = _names(cursor)
    found = table.scheme
    if found is None:
        return _unpartitioned(table)
    if found.method in ("HASH", "KEY"):
        edits: tuple[Edit, ...] = ()
        if len(names) < found.count:
            edits = (Edit(begin, cursor.row[-1].end, f"COALESCE PARTITION {len(names)}"),)
        why = f"{found.method} partitions are made fewer by COALESCE PARTITION, not by DROP"
        return Problem(1512, why, edits)
    if len(names) >= found.count:
        return Problem(1508, "no partition would be left; DROP TABLE is for that")
    if unknown := _unknown(found, names):
        return Problem(1507, f"there is no partition {unknown}; there are {_listed(found)}")
    gone = {name.lower() for name in names}
    found.partitions = [p for p in found.partitions if p.name.lower() not in gone]
    return None


def _listed(found: Scheme) -> str:
    names = [partition.name for partition in found.partitions]
    return ", ".join(names if len(names) < 8 else [*names[:3], "…", *names[-3:]])


def _coalesce(table: Table, cursor: Cursor) -> Problem | None:
    number = cursor.number()
    found = table.scheme
    if found is None:
        return _unpartitioned(table)
    if found.method in ("RANGE", "LIST"):
        return Problem(1509, f"COALESCE is for HASH and KEY; {found.method} has DROP PARTITION")
    if number == 0:
        return Problem(1515, "0 partitions are to go; write 1 or more")
    if number >= found.count:
        return Problem(1508, f"no partition would be left of {found.count}")
    found.number = found.count - number
    found.partitions = found.partitions[:-number] if found.partitions else []
    return None


def _reorganize(table: Table, cursor: Cursor, text: str) -> Problem | None:
    cursor.place += 2
    found = table.scheme
    if found is None:
        return _unpartitioned(table)
    if cursor.done:
        if found.method in ("RANGE", "LIST"):
            return Problem(1511, "REORGANIZE PARTITION needs names and INTO (…) here")
        return None
    names = _names(cursor)
    cursor.need("INTO")
    new = partitions(cursor.group(), text)
    if found.method in ("HASH", "KEY"):
        _named(found)
    if unknown := _unknown(found, names):
        return Problem(1507, f"there is no partition {unknown}; there are {_listed(found)}")
    if found.method in ("HASH", "KEY"):
        if len(names) != len(new):
            return Problem(1510, "REORGANIZE cannot change how many partitions there are")
        return None
    there = [partition.name.lower() for partition in found.partitions]
    places = sorted(there.index(name.lower()) for name in names)
    if found.method == "RANGE" and places != list(range(places[0], places[0] + len(places))):
        return Problem(1519, "the partitions that are reorganized have to follow one another")
    old, last = found.partitions, found.partitions[places[-1]]
    rest = [p for i, p in enumerate(old) if i not in places]
    found.partitions = [*rest[: places[0]], *new, *rest[places[0] :]]
    problem = rules_lists.wrong_values(table) or rules_lists.values_missing(table)
    problem = problem or rules_lists.names(table) or rules.first(table)
    if problem or found.method != "RANGE":
        return problem
    found.partitions = [last, new[-1]]
    grows = order(table) is None
    found.partitions = [new[-1], last]
    shrinks = order(table) is None
    found.partitions = [*rest[: places[0]], *new, *rest[places[0] :]]
    if shrinks or (grows and places[-1] < len(old) - 1):
        values = ", ".join(bound.text for bound in last.rows[0])
        edits = (Edit(*new[-1].values_span, f"VALUES LESS THAN ({values})"),)
        why = f"the new partitions have to end where {last.name} ended"
        return Problem(1520, why, edits)
    return None


def _each(table: Table, cursor: Cursor, verb: str) -> Problem | None:
    found = table.scheme
    if found is None:
        return _unpartitioned(table)
    if cursor.at("ALL") or found.sub:
        return None
    cursor.take("NO_WRITE_TO_BINLOG")
    cursor.take("LOCAL")
    _named(found)
    # The others answer with rows, and no error.
    number = {"TRUNCATE": 1735, "EXCHANGE": 1735, "REBUILD": 1507}.get(verb)
    unknown = _unknown(found, _names(cursor))
    if number and unknown:
        return Problem(number, f"there is no partition {unknown}; there are {_listed(found)}")
    return None


def index(table: Table, cursor: Cursor, kind: str) -> Problem | None:
    """CREATE [UNIQUE|FULLTEXT] INDEX; its columns come next."""
    before = Table("", columns=table.columns)
    define(before, [Token("word", "KEY", 0, 0, "KEY"), *cursor.row[cursor.place :]])
    made: Key = before.keys[0]
    made.kind = kind
    table.keys.append(made)
    return _judged(table)
