"""The list of partitions: names, kinds of values, how many."""

from __future__ import annotations

from itertools import pairwise

from stacks.sql_lint.model import Partition, Scheme, Table
from stacks.sql_lint.problem import Problem
from stacks.sql_lint.reader import Edit
from stacks.sql_lint.words import is_reserved

MOST = 8192


def subpartitions_of_what(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme and scheme.sub is None and any(p.has_subs for p in scheme.partitions):
        return Problem(1500, "there are subpartitions, but no SUBPARTITION BY HASH or KEY")
    return None


def defined(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme and scheme.method in ("RANGE", "LIST") and not scheme.partitions:
        words = "VALUES LESS THAN" if scheme.method == "RANGE" else "VALUES IN"
        return Problem(
            1492, f"{scheme.method} needs each partition written out: (PARTITION p0 {words} (…), …)"
        )
    return None


def wrong_values(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme is None:
        return None
    right = {"RANGE": "less", "LIST": "in"}.get(scheme.method, "")
    for partition in scheme.partitions:
        if partition.kind not in ("", right):
            if right:
                words = "VALUES LESS THAN" if right == "less" else "VALUES IN"
                why = f"{scheme.method} takes {words}: partition {partition.name} has the other"
                return Problem(1480, why)
            edits = tuple(
                Edit(p.name_span[1], p.values_span[1], "") for p in scheme.partitions if p.kind
            )
            return Problem(1480, f"{scheme.method} partitions have no VALUES", edits)
    return None


def values_missing(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme and scheme.method in ("RANGE", "LIST"):
        for partition in scheme.partitions:
            if not partition.kind:
                words = "VALUES LESS THAN (…)" if scheme.method == "RANGE" else "VALUES IN (…)"
                return Problem(1064, f"partition {partition.name} of {scheme.method} needs {words}")
    return None


def rows(table: Table) -> Problem | None:
    """VALUES IN takes rows for several COLUMNS only, and never MAXVALUE."""
    scheme = table.scheme
    if scheme is None or scheme.method != "LIST":
        return None
    for partition in scheme.partitions:
        if any(bound.node is None for row in partition.rows for bound in row):
            return Problem(1064, f"partition {partition.name}: VALUES IN takes no MAXVALUE")
        if partition.tuples and len(scheme.names) < 2:
            why = (
                f"partition {partition.name}: values in parentheses are for LIST COLUMNS of several"
            )
            return Problem(1064, why)
    return None


def widths(table: Table) -> Problem | None:
    """As many values as columns."""
    scheme = table.scheme
    if scheme is None:
        return None
    wanted = len(scheme.names) if scheme.columns else 1
    for partition in scheme.partitions:
        for row in partition.rows:
            if len(row) == wanted:
                continue
            why = f"partition {partition.name}: {len(row)} values for {wanted} columns"
            if not scheme.columns:
                return Problem(1657, f"partition {partition.name}: RANGE takes one value")
            edits: tuple[Edit, ...] = ()
            if partition.bare_maxvalue:
                values = ", ".join(["MAXVALUE"] * wanted)
                edits = (Edit(*row[0].span, f"({values})"),)
            return Problem(1653 if wanted == 1 else 1064, why, edits)
    return None


def maxvalue_last(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme is None or scheme.columns:
        return None
    found = [p for p in scheme.partitions if p.is_maxvalue]
    if not found or (len(found) == 1 and scheme.partitions[-1].is_maxvalue):
        return None
    why = f"MAXVALUE is for the last partition alone, and partition {found[0].name} is not the last"
    others = [p for p in scheme.partitions if not p.is_maxvalue]
    return Problem(1481, why, rearranged(scheme, [*others, found[0]]))


def rearranged(scheme: Scheme, order: list[Partition]) -> tuple[Edit, ...]:
    """Edits that write ``order`` where the partitions are; those left out go."""
    edits = []
    for old, new in zip(scheme.partitions, order, strict=False):
        if old is not new:
            edits.append(Edit(*old.span, f"{MOVED}{new.span[0]}:{new.span[1]}{MOVED}"))
    for left, gone in pairwise(scheme.partitions[max(0, len(order) - 1) :]):
        edits.append(Edit(left.span[1], gone.span[1], ""))
    return tuple(edits)


MOVED = "\x00"
"""Around the place of a text that an edit moves: a rule does not see the text itself."""


def numbers_agree(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme and scheme.partitions and scheme.number not in (None, len(scheme.partitions)):
        count = len(scheme.partitions)
        why = f"PARTITIONS {scheme.number}, but {count} are written out"
        return Problem(1064, why, (Edit(*scheme.number_span, str(count)),))
    return None


def subpartitions_even(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme and scheme.sub and any(p.has_subs for p in scheme.partitions):
        wanted = scheme.sub.number or len(scheme.partitions[0].subs)
        for partition in scheme.partitions:
            if len(partition.subs) != wanted:
                why = f"partition {partition.name} has {len(partition.subs)} subpartitions"
                return Problem(1064, f"{why}, where {wanted} are due: all have the same number")
    return None


def too_many(table: Table) -> Problem | None:
    scheme = table.scheme
    if scheme and (total := scheme.count * scheme.subs) > MOST:
        return Problem(1499, f"{total} partitions, subpartitions included; {MOST} is the most")
    return None


def names(table: Table) -> Problem | None:
    """Each partition and subpartition has a name of its own, those too that the server gives."""
    scheme = table.scheme
    if scheme is None or not scheme.partitions:
        return None
    taken: set[str] = set()
    for partition in scheme.partitions:
        for name in (partition.name, *partition.subs):
            if name.endswith(" "):
                return Problem(1567, f"the name `{name}` ends with a space")
            if name.lower() in taken:
                edits: tuple[Edit, ...] = ()
                if name == partition.name:
                    edits = (Edit(*partition.name_span, quoted(_free(name, scheme))),)
                return Problem(1517, f"two partitions are called {name}", edits)
            taken.add(name.lower())
    taken.clear()
    for name in scheme.names_of_all if scheme.sub else ():
        if name.lower() in taken:
            return Problem(1517, f"{name} is the name of a partition and of a subpartition")
        taken.add(name.lower())
    return None


def _free(name: str, scheme: Scheme) -> str:
    everyone = {partition.name.lower() for partition in scheme.partitions}
    return next(n for i in range(2, 9000) if (n := f"{name}_{i}").lower() not in everyone)


def quoted(name: str) -> str:
    """``name`` as it can stand in a statement."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    plain = plain and not is_reserved(name)
    return name if plain else "`" + name.replace("`", "``") + "`"


def engines(table: Table) -> Problem | None:
    scheme = table.scheme
    found = scheme.partitions if scheme else []
    wrong = [p for p in found if p.engine not in ("", table.engine)]
    if wrong:
        edits = tuple(Edit(*p.engine_span, f"ENGINE = {table.engine}") for p in wrong)
        return Problem(1497, f"partition {wrong[0].name} has another engine than the table", edits)
    of_subs = [name or p.engine for p in found for name in p.sub_engines or [p.engine]]
    if any(name not in ("", table.engine) for name in of_subs):
        return Problem(1497, "a subpartition has another engine than the table")
    if not table.engine_said and any(of_subs) and not all(of_subs):
        bare = [p for p in found if not p.engine and not p.has_subs]
        edits = tuple(
            Edit(p.values_span[1], p.values_span[1], f" ENGINE = {table.engine}") for p in bare
        )
        why = "some partitions name their engine and others do not: name it of all, or of none"
        return Problem(1497, why, edits if not any(p.has_subs for p in found) else ())
    return None
