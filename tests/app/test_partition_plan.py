"""Months go by under a clock of the test's own, on a model of a partitioned table."""

import random
import re
from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from crm import partition_plan
from crm.errors import CrmError
from crm.partition_plan import Partition, Step, Table, Unit
from crm.settings import PartitionSettings
from stacks import plan, render, sql_lint, stack_file

LIFE = PartitionSettings("crm_orders", "order_date", "month", ahead=3, retention=6)
INTERVALS = {"month": "2026-01", "week": "2026-01-05", "day": "2026-01-01"}


class Model:
    """What a server keeps: rows by unit, tables of archived rows, and MySQL's rules for both."""

    def __init__(self, partitions: tuple[Partition, ...]) -> None:
        self.partitions = list(partitions)
        self.rows: dict[str, list[date]] = {u: [] for p in partitions for u in p.units}
        self.archives: dict[str, list[date]] = {}
        self.done: list[str] = []

    def insert(self, day: date) -> None:
        found = next(p for p in self.partitions if p.below is None or day < p.below)
        self.rows[random.Random(str(day)).choice(found.units)].append(day)

    def table(self, life: PartitionSettings, today: date) -> Table:
        units = {}
        for partition in partition_plan.expired(life, tuple(self.partitions), today):
            for name in partition.units:
                archive = self.archives.get(partition_plan.archive_of(life.table, name))
                state = "absent" if archive is None else "filled" if archive else "empty"
                units[name] = Unit(name, bool(self.rows[name]), state)  # type: ignore[arg-type]
        late = sum(len(self.rows[name]) for name in self.partitions[-1].units)
        return Table(tuple(self.partitions), "(…)", units, min(late, 10_001))

    def do(self, statement: str) -> None:
        self.done.append(statement)
        if made := re.match(r"CREATE TABLE `(\w+)` ", statement):
            assert made[1] not in self.archives
            self.archives[made[1]] = []
        elif changed := re.search(r"EXCHANGE PARTITION `(\w+)` WITH TABLE `(\w+)`", statement):
            unit, archive = changed.groups()
            self.rows[unit], self.archives[archive] = self.archives[archive], self.rows[unit]
        elif dropped := re.search(r"DROP PARTITION `(\w+)`", statement):
            gone = next(p for p in self.partitions if p.name == dropped[1])
            for unit in gone.units:
                assert not self.rows.pop(unit), "rows would be lost"
            self.partitions.remove(gone)
        elif moved := re.match(r"INSERT INTO `(\w+)` SELECT .* \(`(\w+)`\)", statement):
            self.archives[moved[1]] += self.rows[moved[2]]
        elif deleted := re.match(r"DELETE FROM `\w+` PARTITION \(`(\w+)`\)", statement):
            self.rows[deleted[1]] = []
        else:
            self._split(statement)

    def _split(self, statement: str) -> None:
        last = self.partitions.pop()
        assert f"REORGANIZE PARTITION `{last.name}` INTO" in statement
        rows = [day for unit in last.units for day in self.rows.pop(unit)]
        for name, below in re.findall(r"PARTITION `(\w+)` VALUES LESS THAN \((.+?)\)", statement):
            bound = None if below == "MAXVALUE" else date.fromisoformat(below.strip("'"))
            assert name not in {p.name for p in self.partitions}
            assert bound is None or all(bound > p.below for p in self.partitions if p.below)
            self.partitions.append(partition(name, bound, len(last.units)))
        assert self.partitions[-1].below is None
        self.rows |= {u: [] for p in self.partitions for u in p.units if u not in self.rows}
        for day in rows:
            self.insert(day)

    @property
    def everything(self) -> list[date]:
        kept = [*self.rows.values(), *self.archives.values()]
        return sorted(day for days in kept for day in days)


def partition(name: str, below: date | None, parts: int = 1) -> Partition:
    units = tuple(f"{name}sp{i}" for i in range(parts)) if parts > 1 else (name,)
    return Partition(name, below, units)


def rendered(interval: str, count: int = 4, parts: int = 1) -> tuple[Partition, ...]:
    """The partitions that a new table has."""
    orders: dict[str, object] = {
        "partition_by": "range",
        "column": "order_date",
        "interval": interval,
        "start": INTERVALS[interval],
        "count": count,
    }
    planned = plan.make("s", stack_file.parse({"database": {"orders": orders}}, "s"))
    return tuple(
        partition(
            p.name, None if p.below == "MAXVALUE" else date.fromisoformat(p.below[1:-1]), parts
        )
        for p in planned.database.orders.partitions
    )


def carry_out(model: Model, steps: list[Step]) -> None:
    for step in steps:
        assert not step.waits_for
        for statement in step.statements:
            model.do(statement)


def lived(model: Model, life: PartitionSettings, today: date) -> None:
    """One run, which looks again until there is nothing to do."""
    for _ in range(3):
        carry_out(model, partition_plan.steps(life, model.table(life, today), today))
    assert partition_plan.steps(life, model.table(life, today), today) == []


def past(model: Model, today: date) -> int:
    """How many whole partitions lie behind, the open first one included."""
    return sum(1 for p in model.partitions if p.below is not None and p.below <= today)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("interval", ["month", "week", "day"])
def test_24_months_go_by(interval: str, parts: int) -> None:
    life = PartitionSettings("crm_orders", "order_date", interval, ahead=3, retention=6)  # type: ignore[arg-type]
    model = Model(rendered(interval, parts=parts))
    inserted = []
    today = date(2026, 1, 1)
    while today < date(2028, 1, 1):
        lived(model, life, today)
        end = partition_plan.first_of(interval, today)
        assert [p.below for p in model.partitions if p.below and p.below > today] == [
            partition_plan.shifted(interval, end, n) for n in range(1, len_ahead(model, today) + 1)
        ]
        assert len_ahead(model, today) >= life.ahead + 1
        assert past(model, today) <= 6 + 1
        if today >= date(2026, 9, 1):
            assert past(model, today) == 6 + 1
        # Of today, the day before, and now and then one that nobody expected any more.
        for day in (today, today - timedelta(days=1), *([date(2026, 1, 3)] * (today.day == 9))):
            model.insert(day)
            inserted.append(day)
        assert not model.rows[model.partitions[-1].units[0]], "split while it is empty"
        assert model.everything == sorted(inserted)
        today += timedelta(days=1)
    assert model.archives


def len_ahead(model: Model, today: date) -> int:
    """Partitions that end later, the current one included."""
    found = sum(1 for p in model.partitions if p.below is not None and p.below > today)
    assert partition_plan.ahead(tuple(model.partitions), today) == found - 1
    return found


@pytest.mark.parametrize("parts", [0, 3])
def test_statements_are_what_mysql_takes_of_that_table(parts: int) -> None:
    """In the eyes of the linter, which knows the server's rules."""
    orders: dict[str, object] = {
        "partition_by": "range",
        "column": "order_date",
        "interval": "month",
        "start": "2026-01",
        "count": 4,
    }
    if parts:
        orders["subpartitions"] = parts
    planned = plan.make("s", stack_file.parse({"database": {"orders": orders}}, "s"))
    script = render.Renderer().tree(planned)["mysql/schema.sql"]
    model = Model(rendered("month", parts=parts or 1))
    model.insert(date(2026, 1, 5))
    lived(model, LIFE, date(2027, 1, 15))
    changes = [s for s in model.done if s.startswith("ALTER") and "EXCHANGE" not in s]
    assert len(changes) >= 3
    text = script + "".join(f"{statement};\n" for statement in changes)
    assert [found for found in sql_lint.lint(text) if found.error] == []
    wrong = text.replace("REORGANIZE PARTITION `p_future`", "REORGANIZE PARTITION `p_other`")
    assert any(found.error for found in sql_lint.lint(wrong))


def test_run_that_is_killed_anywhere_is_finished_by_the_next() -> None:
    today = date(2027, 1, 15)

    def filled() -> Model:
        model = Model(rendered("month", parts=2))
        for month in range(1, 13):
            model.insert(date(2026, month, 5))
            model.insert(date(2026, month, 6))
        return model

    whole = filled()
    lived(whole, LIFE, today)
    assert len(whole.done) > 15
    for done in range(len(whole.done)):
        model = filled()
        for statement in whole.done[:done]:
            model.do(statement)
        assert model.everything == whole.everything
        lived(model, LIFE, today)
        assert (model.partitions, model.rows) == (whole.partitions, whole.rows)
        assert model.archives == whole.archives


def test_rows_that_come_after_their_month_was_archived_follow_it() -> None:
    today = date(2027, 1, 15)
    model = Model(rendered("month"))
    model.insert(date(2026, 1, 5))
    steps = partition_plan.steps(LIFE, model.table(LIFE, today), today)
    at = next(i for i, step in enumerate(steps) if "EXCHANGE" in step.statements[0])
    carry_out(model, steps[: at + 1])
    model.insert(date(2026, 1, 6))
    lived(model, LIFE, today)
    assert model.archives["crm_orders_archive_p_2026_01"] == [date(2026, 1, 5), date(2026, 1, 6)]


@pytest.mark.parametrize("interval", ["month", "week", "day"])
def test_clock_that_is_off_by_less_than_an_interval_takes_nothing_that_should_stay(
    interval: str,
) -> None:
    life = PartitionSettings("crm_orders", "order_date", interval, ahead=1, retention=1)  # type: ignore[arg-type]
    partitions = rendered(interval, count=30)
    step = timedelta(hours=1)
    for first in [p.below for p in partitions if p.below]:
        # The day as it is, and as a clock has it that is an hour off at midnight.
        for today, seen in ((first, first - step), (first - timedelta(days=1), first)):
            kept = partition_plan.shifted(interval, partition_plan.first_of(interval, today), -1)
            for gone in partition_plan.expired(life, partitions, seen):
                assert gone.below is not None
                assert gone.below <= kept


def test_nothing_is_old_without_retention() -> None:
    life = PartitionSettings("crm_orders", "order_date", "month", ahead=1)
    assert partition_plan.expired(life, rendered("month"), date(2099, 1, 1)) == []


def test_rows_are_deleted_only_with_a_yes() -> None:
    life = PartitionSettings("t", "d", "month", ahead=1, retention=1, archive="drop")
    model = Model(rendered("month", count=30))
    model.insert(date(2026, 1, 5))
    today = date(2026, 4, 1)
    first, second = partition_plan.steps(life, model.table(life, today), today)
    # The one before the first month is empty: it costs nobody anything.
    assert first.statements == ("ALTER TABLE `t` DROP PARTITION `p_before`",)
    assert (first.waits_for, first.empty) == ("", "p_before")
    assert second.statements == ("ALTER TABLE `t` DROP PARTITION `p_2026_01`",)
    assert second.waits_for == "its rows are deleted (`archive: drop`)"


def test_table_waits_for_a_yes_to_go_and_has_a_file_before() -> None:
    life = PartitionSettings("t", "d", "month", ahead=1, retention=1, archive="file")
    today = date(2026, 4, 1)
    table = Model(rendered("month", count=30)).table(life, today)
    named = {"t_archive_p_2025_01": True, "t_archive_p_2025_02": False}
    steps = partition_plan.steps(life, replace(table, archived=named), today)
    filed = [(s.file, s.statements, s.locks, bool(s.waits_for)) for s in steps if s.file]
    first, second = named
    assert filed == [
        (first, (f"DROP TABLE `{first}`",), (first,), True),
        (second, (), (), False),
        (second, (f"DROP TABLE `{second}`",), (second,), True),
    ]


def test_many_that_are_old_at_once_wait_for_a_yes() -> None:
    # As they are when a clock goes ahead.
    model = Model(rendered("month", count=30))
    for today, waits in ((date(2027, 7, 1), False), (date(2027, 8, 1), True)):
        steps = partition_plan.steps(LIFE, model.table(LIFE, today), today)
        assert len(steps) == (13 if waits else 12)
        said = "13 partitions are old at once: is it 2027-08-01?" if waits else ""
        assert {step.waits_for for step in steps} == {said}


def test_many_rows_of_the_catch_all_are_copied_only_with_a_yes() -> None:
    (few,) = partition_plan.steps(
        LIFE, Table(rendered("month"), late_rows=10_000), date(2026, 2, 1)
    )
    (many,) = partition_plan.steps(
        LIFE, Table(rendered("month"), late_rows=10_001), date(2026, 2, 1)
    )
    assert few.statements == many.statements
    assert few.waits_for == ""
    assert many.waits_for == (
        "p_future holds more than 10000 rows of 2026-05-01 or later, which are copied while "
        "writes wait"
    )


def test_another_interval_goes_on_where_the_last_partition_ends() -> None:
    weeks = PartitionSettings("t", "d", "week", ahead=1)
    (step,) = partition_plan.steps(weeks, Table(rendered("month")), date(2026, 4, 28))
    assert step.statements == (
        "ALTER TABLE `t` REORGANIZE PARTITION `p_future` INTO (\n"
        "    PARTITION `p_2026_05_01` VALUES LESS THAN ('2026-05-04'),\n"
        "    PARTITION `p_2026_05_04` VALUES LESS THAN ('2026-05-11'),\n"
        "    PARTITION `p_future` VALUES LESS THAN (MAXVALUE)\n)",
    )


def test_table_without_a_catch_all_gets_partitions_at_its_end() -> None:
    (step,) = partition_plan.steps(LIFE, Table(rendered("month")[:-1]), date(2026, 2, 1))
    assert step.statements == (
        "ALTER TABLE `crm_orders` ADD PARTITION (\n"
        "    PARTITION `p_2026_05` VALUES LESS THAN ('2026-06-01')\n)",
    )


def test_more_than_mysql_allows_is_refused() -> None:
    days = PartitionSettings("t", "d", "day", ahead=1)
    with pytest.raises(CrmError, match=r"t: 9\d{3} partitions would be needed and MySQL allows"):
        partition_plan.steps(days, Table(rendered("day")), date(2051, 1, 1))


@pytest.mark.parametrize("interval", ["month", "week", "day"])
def test_names_and_bounds_are_those_that_a_new_table_gets(interval: str) -> None:
    # Made in two places: where tables are rendered, and where time goes on.
    new = rendered(interval, count=60)
    life = PartitionSettings("t", "d", interval, ahead=1)  # type: ignore[arg-type]
    model = Model(rendered(interval, count=1))
    while len(model.partitions) < len(new):
        last = model.partitions[-2].below
        assert last is not None
        lived(model, life, last)
    assert model.partitions[: len(new) - 1] == list(new[:-1])
