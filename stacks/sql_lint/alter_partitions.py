"""The partition verbs of ALTER TABLE: they stand alone, and their grammar is known to the end."""

from __future__ import annotations

from collections.abc import Sequence

from stacks.sql_lint import rules, rules_lists
from stacks.sql_lint.model import Partition, Scheme, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import SYNTAX, Cursor, Edit, RefusedError
from stacks.sql_lint.rules_bounds import order
from stacks.sql_lint.schemes import partitions

_VERBS = ("ADD", "DROP", "COALESCE", "REORGANIZE", "TRUNCATE", "REBUILD", "OPTIMIZE", "REPAIR")
_ANSWERING = ("ANALYZE", "CHECK", "DISCARD", "IMPORT")


def begins(cursor: Cursor) -> bool:
    """Whether a partition verb comes next; EXCHANGE is in ``exchange``."""
    return any(cursor.at(verb, "PARTITION") for verb in (*_VERBS, *_ANSWERING))


def change(table: Table, cursor: Cursor, text: str) -> Problem | None:
    """Carry out the verb that comes next on ``table``. Of a table that was made elsewhere no more
    is judged than what is certain of any."""
    verb = cursor.peek().value
    if verb == "ADD":
        return _add(table, cursor, text)
    if verb == "DROP":
        return _drop(table, cursor)
    cursor.place += 2
    if verb == "COALESCE":
        return _coalesce(table, cursor)
    if verb == "REORGANIZE":
        return _reorganize(table, cursor, text)
    return _each(table, cursor, verb)


def unpartitioned(table: Table) -> Problem | None:
    if table.scheme is None and not table.elsewhere:
        return Problem(1505, f"{table.name} has no partitions")
    return None


def _new(cursor: Cursor, text: str) -> list[Partition]:
    if not cursor.at("("):
        why = f"partitions in parentheses expected where `{cursor.stands}` stands"
        raise RefusedError(SYNTAX, why)
    found = partitions(cursor.inner(), text)
    cursor.end()
    return found


def _add(table: Table, cursor: Cursor, text: str) -> Problem | None:
    begin = cursor.peek().start
    cursor.place += 2
    found = table.scheme
    cursor.take("NO_WRITE_TO_BINLOG")
    cursor.take("LOCAL")
    if cursor.done:
        return unpartitioned(table) or Problem(1514, "no partition is to be added")
    if cursor.take("PARTITIONS"):
        number = cursor.number()
        cursor.end()
        return unpartitioned(table) or _add_number(table, number)
    new = _new(cursor, text)
    if found is None:
        return unpartitioned(table) or _of_any(table, new)
    if found.method in ("HASH", "KEY"):
        wrong = next((p for p in new if p.kind), None)
        if wrong:
            edits = tuple(Edit(p.name_span[1], p.values_span[1], "") for p in new if p.kind)
            return Problem(1480, f"{found.method} partitions have no VALUES", edits)
        _named(found)
    elif wrong_kind := _wrong_kind(found.method, new):
        return wrong_kind
    if found.sub is None and any(p.has_subs for p in new):
        return Problem(1500, "the table has no subpartitions")
    if uneven := next((p for p in new if p.has_subs and len(p.subs) != found.subs), None):
        why = f"partition {uneven.name} has {len(uneven.subs)} subpartitions, where {found.subs}"
        return Problem(1513, f"{why} are due")
    old = found.partitions
    found.number = None
    if found.sub:
        found.sub.number = found.subs
    found.partitions = [*old, *new]
    problem = _judged(table)
    unlocked = any(token.value == "NONE" and token.start < begin for token in cursor.row)
    if problem and unlocked:
        # REORGANIZE, which would be right, does not go without a lock.
        return Problem(problem.number, problem.message)
    if problem and found.method == "RANGE" and problem.number in (1481, 1493):
        return _split(problem, table, old, new, (begin, new[0].span[0], new[-1].span[1]), text)
    return problem


def _judged(table: Table) -> Problem | None:
    """As the server judges a list with new partitions in it; those before have passed."""
    found = table.scheme
    assert found is not None
    whole = found.partitions
    if found.sub and any(p.has_subs for p in whole):
        # Some may be written out and others not: how many there are has been compared.
        subs = [(p, p.has_subs) for p in whole]
        for partition in whole:
            partition.has_subs = False
        problem = rules.first(table)
        for partition, has in subs:
            partition.has_subs = has
        return problem
    return rules.first(table)


def _add_number(table: Table, number: int) -> Problem | None:
    found = table.scheme
    if found and found.method in ("RANGE", "LIST"):
        return Problem(1492, f"each partition of {found.method} has to be written out")
    if number == 0:
        return Problem(1514, "0 partitions are to be added; write 1 or more")
    if found is None:
        return None
    if found.partitions:
        count = len(found.partitions)
        added = [Partition(f"p{count + i}", (-1, -1), (-1, -1)) for i in range(number)]
        found.partitions = [*found.partitions, *added]
        found.number = None
        return rules_lists.too_many(table) or rules_lists.names(table)
    found.number = found.count + number
    return rules_lists.too_many(table)


def _wrong_kind(method: str, new: Sequence[Partition]) -> Problem | None:
    right = "less" if method == "RANGE" else "in"
    for partition in new:
        if not partition.kind:
            return Problem(1479, f"partition {partition.name} needs its VALUES")
        if partition.kind != right:
            words = "VALUES LESS THAN" if right == "less" else "VALUES IN"
            return Problem(1480, f"{method} takes {words}")
    return None


def _of_any(table: Table, new: list[Partition]) -> Problem | None:
    """What would be refused of ``new`` whatever the table is like, which was made elsewhere."""
    kinds = {partition.kind for partition in new}
    if len(kinds) > 1:
        return _wrong_kind("RANGE" if new[0].kind == "less" else "LIST", new)
    method = {"less": "RANGE", "in": "LIST"}.get(new[0].kind, "HASH")
    none = (-1, -1)
    scheme = Scheme(method, False, none, none, partitions=new)
    columns = max([1, *(len(row) for p in new for row in p.rows)])
    nodes = [b.node for p in new for row in p.rows for b in row if b.node]
    if columns > 1 or any(node.kind == "string" for node in nodes):
        # Strings, and several values, are for COLUMNS alone.
        scheme.columns, scheme.names = True, [f"column {i + 1}" for i in range(columns)]
    table.scheme = scheme
    problem = rules.of_elsewhere(table)
    table.scheme = None
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


def listed(found: Scheme) -> str:
    """The names of the partitions, the first and last of many."""
    names = [partition.name for partition in found.partitions]
    return ", ".join(names if len(names) < 8 else [*names[:3], "…", *names[-3:]])


def _names(cursor: Cursor) -> list[str]:
    found = [cursor.raw_name()]
    while cursor.take(","):
        found.append(cursor.raw_name())
    return found


def unknown(found: Scheme, names: Sequence[str], subs: bool = False) -> str:
    """The first of ``names`` that is no partition (``subs``: nor a subpartition), "" for none."""
    there = found.names_of_all if subs else [partition.name for partition in found.partitions]
    known = {name.lower() for name in there}
    return next((name for name in names if name.lower() not in known), "")


def _drop(table: Table, cursor: Cursor) -> Problem | None:
    begin = cursor.peek().start
    cursor.place += 2
    names = _names(cursor)
    cursor.end()
    found = table.scheme
    if found is None:
        return unpartitioned(table)
    if found.method in ("HASH", "KEY"):
        edits: tuple[Edit, ...] = ()
        if len(names) < found.count:
            edits = (Edit(begin, cursor.row[-1].end, f"COALESCE PARTITION {len(names)}"),)
        why = f"{found.method} partitions are made fewer by COALESCE PARTITION, not by DROP"
        return Problem(1512, why, edits)
    if len(names) >= found.count:
        return Problem(1508, "no partition would be left; DROP TABLE is for that")
    gone = {name.lower() for name in names}
    if missing := unknown(found, names):
        return Problem(1507, f"there is no partition {missing}; there are {listed(found)}")
    if len(gone) < len(names):
        return Problem(1507, "a partition is named twice")
    found.partitions = [p for p in found.partitions if p.name.lower() not in gone]
    return None


def _coalesce(table: Table, cursor: Cursor) -> Problem | None:
    cursor.take("NO_WRITE_TO_BINLOG")
    cursor.take("LOCAL")
    number = cursor.number()
    cursor.end()
    found = table.scheme
    if found is None:
        return unpartitioned(table)
    if found.method in ("RANGE", "LIST"):
        return Problem(1509, f"COALESCE is for HASH and KEY; {found.method} has DROP PARTITION")
    if number == 0:
        return Problem(1515, "0 partitions are to go; write 1 or more")
    if number >= found.count:
        return Problem(1508, f"no partition would be left of {found.count}")
    found.number = found.count - number
    found.partitions = found.partitions[:-number] if found.partitions else []
    if found.partitions:
        found.number = None
    return None


def _reorganize(table: Table, cursor: Cursor, text: str) -> Problem | None:
    found = table.scheme
    cursor.take("NO_WRITE_TO_BINLOG")
    cursor.take("LOCAL")
    if cursor.done:
        if found and found.method in ("RANGE", "LIST"):
            return Problem(1511, "REORGANIZE PARTITION needs names and INTO (…) here")
        return unpartitioned(table)
    names = _names(cursor)
    cursor.need("INTO")
    new = _new(cursor, text)
    if found is None:
        return unpartitioned(table) or _of_any(table, new)
    if found.method in ("HASH", "KEY"):
        _named(found)
    if len(names) > len(found.partitions):
        return Problem(1516, "more partitions are named than there are")
    if missing := unknown(found, names):
        return Problem(1507, f"there is no partition {missing}; there are {listed(found)}")
    if len({name.lower() for name in names}) < len(names):
        return Problem(1507, "a partition is named twice")
    if found.method in ("HASH", "KEY"):
        if len(names) != len(new):
            return Problem(1510, "REORGANIZE cannot change how many partitions there are")
        return None
    there = [partition.name.lower() for partition in found.partitions]
    places = sorted(there.index(name.lower()) for name in names)
    if places != list(range(places[0], places[0] + len(places))):
        return Problem(1519, "the partitions that are reorganized have to follow one another")
    old, last = found.partitions, found.partitions[places[-1]]
    rest = [p for i, p in enumerate(old) if i not in places]
    found.partitions = [*rest[: places[0]], *new, *rest[places[0] :]]
    problem = rules_lists.wrong_values(table) or rules_lists.values_missing(table)
    problem = problem or rules_lists.names(table) or _judged(table)
    if problem or found.method != "RANGE":
        return problem
    found.partitions = [last, new[-1]]
    grows = order(table) is None
    found.partitions = [new[-1], last]
    shrinks = order(table) is None
    found.partitions = [*rest[: places[0]], *new, *rest[places[0] :]]
    found.number = None
    if shrinks or (grows and places[-1] < len(old) - 1):
        values = ", ".join(bound.text for bound in last.rows[0])
        edits = (Edit(*new[-1].values_span, f"VALUES LESS THAN ({values})"),)
        why = f"the new partitions have to end where {last.name} ended"
        return Problem(1520, why, edits)
    return None


def _each(table: Table, cursor: Cursor, verb: str) -> Problem | None:
    found = table.scheme
    cursor.take("NO_WRITE_TO_BINLOG")
    cursor.take("LOCAL")
    names = [] if cursor.take("ALL") else _names(cursor)
    if verb in ("TRUNCATE", "REBUILD"):
        cursor.end()
    if found is None:
        return unpartitioned(table)
    # The others answer with rows, and no error.
    number = {"TRUNCATE": 1735, "REBUILD": 1507}.get(verb)
    _named(found)
    missing = unknown(found, names, subs=verb == "TRUNCATE")
    if number and missing:
        return Problem(number, f"there is no partition {missing}; there are {listed(found)}")
    return None
