# ruff: noqa: S608 - names come from the settings, or from the server itself
"""What a table's range partitions need at a given time. Pure: no server, no clock of its own.

Names and bounds of the first ones: stacks/partitions.py.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from crm.errors import CrmError
from crm.settings import PartitionSettings

MOST_PARTITIONS = 8192
# So many rows are split off the catch-all without asking: well under a second.
COPIED_ROWS = 10_000
# A clock that has gone ahead makes everything old, and on one machine there is only one to ask.
AT_ONCE = 12


class Unit(Struct, frozen=True):
    """What one EXCHANGE works on, and the table its rows are archived in."""

    name: str
    filled: bool
    archive: Literal["absent", "empty", "filled"]


class Partition(Struct, frozen=True):
    """Rows below ``below`` that no earlier one took; of ``None``, all that are later.

    ``units`` are its subpartitions, or itself.
    """

    name: str
    below: date | None
    units: tuple[str, ...]


class Table(Struct, frozen=True):
    """A table as its server has it.

    ``archived`` are the tables of partitions that are gone, and whether each has a file.
    ``definition`` follows ``CREATE TABLE name``, partitions left out. ``units`` are those of old
    partitions, by name. ``late_rows`` are in the catch-all (COPIED_ROWS + 1 stands for more).
    """

    partitions: tuple[Partition, ...]
    definition: str = ""
    units: Mapping[str, Unit] = {}
    late_rows: int = 0
    archived: Mapping[str, bool] = {}


class Step(Struct, frozen=True):
    """Statements that belong together, and what they are for.

    ``waits_for`` says why they need a yes. ``locks`` are tables nobody else may write meanwhile.
    ``empty`` is a partition that has to be empty under that lock. ``file`` is a table whose rows
    have to be in a file, equal to it, before.
    """

    why: str
    statements: tuple[str, ...]
    waits_for: str = ""
    locks: tuple[str, ...] = ()
    empty: str = ""
    file: str = ""


def first_of(interval: str, day: date) -> date:
    """The first day of the interval that ``day`` is in."""
    if interval == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday() if interval == "week" else 0)


def shifted(interval: str, first: date, count: int) -> date:
    """The first day of the interval ``count`` after the one that begins on ``first``."""
    if interval == "month":
        years, month = divmod(first.month - 1 + count, 12)
        return date(first.year + years, month + 1, 1)
    return first + timedelta(days=count * (7 if interval == "week" else 1))


def name_of(interval: str, first: date) -> str:
    return f"p_{first:%Y_%m}" if interval == "month" and first.day == 1 else f"p_{first:%Y_%m_%d}"


def archive_of(table: str, unit: str) -> str:
    """The table that takes the rows of a partition, or of a subpartition."""
    return f"{table}_archive_{unit}"


def expired(
    life: PartitionSettings, partitions: tuple[Partition, ...], today: date
) -> list[Partition]:
    """The partitions that retention does not keep, oldest first.

    One more than it says is kept: a clock that is off by less than an interval takes nothing that
    should stay.
    """
    if life.retention is None:
        return []
    oldest = shifted(life.interval, first_of(life.interval, today), -life.retention - 1)
    return [p for p in partitions if p.below is not None and p.below <= oldest]


def ahead(partitions: tuple[Partition, ...], today: date) -> int:
    """How many partitions begin after ``today``, the catch-all left out."""
    return sum(1 for p in partitions if p.below is not None and p.below > today) - 1


def steps(life: PartitionSettings, table: Table, today: date) -> list[Step]:
    """What is to be done, in order. Any number of them may have been done before a kill: what is
    left follows from the table as it is then. Raises ``CrmError`` for more than MySQL allows."""
    found = list(_ahead(life, table, today))
    old = expired(life, table.partitions, today)
    many = f"{len(old)} partitions are old at once: is it {today}?" if len(old) > AT_ONCE else ""
    retired = [step for partition in old for step in _retire(life, table, partition)]
    found += [replace(step, waits_for=step.waits_for or many) for step in retired]
    return [*found, *_file_away(life, table)]


def _ahead(life: PartitionSettings, table: Table, today: date) -> Iterator[Step]:
    bounds = [p.below for p in table.partitions if p.below is not None]
    low = max(bounds) if bounds else first_of(life.interval, today)
    end = shifted(life.interval, first_of(life.interval, today), life.ahead + 1)
    parts = []
    while low < end:
        # From wherever the last one ends: the table may have been made for another interval.
        high = shifted(life.interval, first_of(life.interval, low), 1)
        name = name_of(life.interval, low)
        parts.append(f"PARTITION `{name}` VALUES LESS THAN ('{high}')")
        low = high
    if not parts:
        return
    total = (len(table.partitions) + len(parts)) * len(table.partitions[0].units)
    if total > MOST_PARTITIONS:
        raise CrmError(
            f"{life.table}: {total} partitions would be needed and MySQL allows {MOST_PARTITIONS}; "
            "keep fewer (`retention`, `ahead`), or a longer `interval`"
        )
    last = table.partitions[-1]
    why = f"{life.table}: {len(parts)} more ahead, to {low}"
    if last.below is not None:
        listed = ",\n    ".join(parts)
        yield Step(why, (f"ALTER TABLE `{life.table}` ADD PARTITION (\n    {listed}\n)",))
        return
    listed = ",\n    ".join([*parts, f"PARTITION `{last.name}` VALUES LESS THAN (MAXVALUE)"])
    waits = ""
    if table.late_rows > COPIED_ROWS:
        waits = (
            f"{last.name} holds more than {COPIED_ROWS} rows of {max(bounds, default='any day')} "
            "or later, which are copied while writes wait"
        )
    sql = f"ALTER TABLE `{life.table}` REORGANIZE PARTITION `{last.name}` INTO (\n    {listed}\n)"
    yield Step(why, (sql,), waits)


def _retire(life: PartitionSettings, table: Table, partition: Partition) -> Iterator[Step]:
    units = [table.units[name] for name in partition.units]
    old = f"{life.table}: {partition.name} is older than {life.retention} {life.interval}s"
    drop = f"ALTER TABLE `{life.table}` DROP PARTITION `{partition.name}`"
    filled = [unit for unit in units if unit.filled]
    if filled and life.archive == "drop":
        yield Step(old, (drop,), "its rows are deleted (`archive: drop`)")
        return
    for unit in filled:
        archive = archive_of(life.table, unit.name)
        if unit.archive == "filled":
            yield Step(
                f"{old}: what came after {unit.name} was archived follows it",
                (
                    f"INSERT INTO `{archive}` SELECT * FROM `{life.table}` "
                    f"PARTITION (`{unit.name}`)",
                    f"DELETE FROM `{life.table}` PARTITION (`{unit.name}`)",
                ),
                locks=(life.table, archive),
            )
            continue
        if unit.archive == "absent":
            yield Step(
                f"{old}: a table for its rows",
                (f"CREATE TABLE `{archive}` {table.definition}",),
            )
        yield Step(
            f"{old}: {unit.name} becomes that table",
            (
                f"ALTER TABLE `{life.table}` EXCHANGE PARTITION `{unit.name}` "
                f"WITH TABLE `{archive}`",
            ),
        )
    yield Step(
        f"{old}: empty, and goes if it still is", (drop,), locks=(life.table,), empty=partition.name
    )


def _file_away(life: PartitionSettings, table: Table) -> Iterator[Step]:
    """Of tables whose partition is gone: no row comes to them any more."""
    for name, is_filed in table.archived.items():
        if not is_filed:
            yield Step(f"{life.table}: {name} is written to a file", (), file=name)
        yield Step(
            f"{life.table}: {name} goes if its file, read back, is equal to it",
            (f"DROP TABLE `{name}`",),
            "its rows are then in that file alone (`archive: file`)",
            locks=(name,),
            file=name,
        )
