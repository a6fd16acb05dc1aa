"""Two years go by on a real MySQL, under a clock of the test's own, and no row is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from crm import partition_plan, partitions, schema, settings
from crm.errors import CrmError
from crm.partitions import Outcome
from crm.settings import Settings
from stacks import plan, render, stack_file
from stacks.paths import ROOT
from tests.live import own

pytestmark = pytest.mark.live

PASSWORD = "a password of this test's own"
ORDERS: dict[str, object] = {
    "partition_by": "range",
    "column": "order_date",
    "interval": "month",
    "start": "2026-01",
    "count": 4,
    "ahead": 3,
    "retention": 6,
}
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[own.MySQL]:
    with own.mysql() as running:
        running.sql(f"CREATE USER crm_owner@'%' IDENTIFIED BY \"{PASSWORD}\"")
        running.sql("GRANT ALL PRIVILEGES ON crm.* TO crm_owner@'%'")
        yield running


class Shop:
    """A new database with the rendered tables, orders that come in, and a clock."""

    def __init__(self, server: own.MySQL, folder: Path, **orders: object) -> None:
        server.sql("DROP DATABASE IF EXISTS crm; CREATE DATABASE crm CHARACTER SET utf8mb4")
        spec = stack_file.parse({"database": {"orders": {**ORDERS, **orders}}}, "shop")
        files = render.Renderer().tree(plan.make("shop", spec))
        told = json.loads(files["app/partitions.json"])
        told["database"]["shards"][0] |= {"host": own.gateway(), "port": server.port}
        (folder / "app.json").write_text(json.dumps(told))
        (folder / "database_owner_password").write_text(PASSWORD)
        self.environment = {"CRM_CONFIG": f"{folder}/app.json", "CRM_SECRETS": str(folder)}
        self.loaded: Settings = settings.load(self.environment)
        self.shard = self.loaded.file.database.shards[0]
        self.server = server
        self.said: list[str] = []
        self.inserted = 0
        with schema.wait_for(
            self.shard, self.loaded.file.database, self.loaded.secrets
        ) as connection:
            schema.apply(
                connection,
                self.shard,
                self.loaded.file.database,
                list(schema.split(files["mysql/schema.sql"])),
            )

    def sell(self, *days: date, each: int = 20) -> None:
        """``each`` orders of each of ``days``."""
        rows = []
        for day in days:
            for _ in range(each):
                self.inserted += 1
                rows.append(f"({self.inserted}, {self.inserted % 19}, '{day}', 1)")
        self.server.sql(f"INSERT INTO crm_orders VALUES {', '.join(rows)}", "crm")

    def run(self, now: datetime, *, apply: bool = True, yes: bool = False) -> Outcome:
        self.said.clear()
        with partitions.connected(self.loaded, self.shard) as connection:
            with connection.cursor() as cursor:
                cursor.execute(f"SET timestamp = {now.timestamp()}")
            return partitions.run(
                connection, self.loaded, self.shard, now, self.said.append, apply=apply, yes=yes
            )

    def live(self) -> dict[str, date | None]:
        """Name and bound of each partition there is."""
        rows = self.server.sql(
            "SELECT DISTINCT PARTITION_NAME, PARTITION_DESCRIPTION, PARTITION_ORDINAL_POSITION "
            "FROM information_schema.PARTITIONS WHERE TABLE_NAME = 'crm_orders' ORDER BY 3"
        )
        return {
            name: None if below == "MAXVALUE" else date.fromisoformat(below.strip("'"))
            for name, below, _ in rows
        }

    def archives(self) -> list[str]:
        found = self.server.sql("SHOW TABLES LIKE 'crm_orders_archive_%'", "crm")
        return [name for (name,) in found]

    def check(self) -> None:
        """Every order there ever was is there once: number and sum of ids say so."""
        tables = ["crm_orders", *self.archives()]
        union = " UNION ALL ".join(f"SELECT id FROM {table}" for table in tables)
        found = self.server.sql(
            f"SELECT COUNT(*), SUM(id), COUNT(DISTINCT id) FROM ({union}) a", "crm"
        )
        total = self.inserted * (self.inserted + 1) // 2
        assert found == [[str(self.inserted), str(total), str(self.inserted)]]


@pytest.fixture
def shop(server: own.MySQL, tmp_path: Path) -> Shop:
    return Shop(server, tmp_path)


def at(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def month(count: int) -> date:
    return partition_plan.shifted("month", date(2026, 1, 1), count)


@pytest.mark.parametrize(("months", "parts"), [(24, None), (9, 2)])
def test_months_go_by_and_no_order_is_lost(
    server: own.MySQL, tmp_path: Path, months: int, parts: int | None
) -> None:
    shop = Shop(server, tmp_path, **({"subpartitions": parts} if parts else {}))
    for passed in range(months):
        first = month(passed)
        # A clock that is an hour off, either way, when a month begins: the month that just became
        # the first to be kept is whole.
        for now in (at(first, 0) - HOUR, at(first, 0) + HOUR):
            shop.run(now)
        bounds = [below for below in shop.live().values() if below]
        assert min(bounds) <= max(month(passed - 6), date(2026, 1, 1)), "retention is kept"
        assert max(bounds) >= month(passed + 3), "there is enough ahead"
        shop.sell(first, first + timedelta(days=14), first + timedelta(days=40))
        shop.sell(first - timedelta(days=200), each=3)
        shop.run(at(first + timedelta(days=20)))
        shop.check()
        assert sum(1 for b in shop.live().values() if b and b <= first) <= 6 + 1
        again = shop.run(at(first + timedelta(days=20)))
        assert (again.done, again.waiting) == (0, ())
        assert shop.said == ["-- database-1: crm_orders: nothing to do"]
        assert again.ahead >= 3
    assert shop.server.sql("SELECT COUNT(*) FROM crm_orders PARTITION (p_future)", "crm") == [["0"]]
    assert len(shop.archives()) >= (months - 8) * (parts or 1)


def test_plan_changes_nothing_and_says_what_apply_does(shop: Shop) -> None:
    shop.sell(date(2026, 1, 9))
    before = shop.live()
    now = at(date(2026, 9, 1))
    shop.run(now, apply=False)
    planned = list(shop.said)
    assert shop.live() == before
    assert shop.archives() == []
    shop.run(now)
    assert shop.said[: len(planned)] == planned


def test_killed_anywhere_it_goes_on_from_there(shop: Shop) -> None:
    now = at(date(2026, 9, 1))
    killed = 0
    for when, points in (("sent", range(1, 40)), ("before", range(2, 40, 4))):
        for point in points:
            shop = Shop(shop.server, Path(shop.environment["CRM_SECRETS"]))
            shop.sell(date(2025, 12, 31), date(2026, 1, 9), date(2026, 8, 9))
            child = subprocess.run(
                [sys.executable, "-m", "tests.live.partitions_killed", str(now), str(point), when],
                env={**os.environ, **shop.environment, "PYTHONPATH": f"{ROOT}:{ROOT}/app"},
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            if child.returncode == 0:
                break
            assert child.returncode == -signal.SIGKILL, child.stderr
            killed += 1
            # Nobody waits with orders until the next run, not even with those of January.
            shop.sell(date(2026, 1, 10), each=3)
            shop.run(now)
            shop.check()
            assert shop.run(now).done == 0
            assert shop.archives() == [
                "crm_orders_archive_p_2026_01",
                "crm_orders_archive_p_before",
            ]
    assert killed > 14


def test_full_disk_is_said_and_loses_nothing(shop: Shop) -> None:
    shop.sell(date(2026, 1, 9), date(2026, 8, 9))
    fill = "dd if=/dev/zero of=/data/filler bs=64k 2>&1 | tail -1"
    own.ask(shop.server.container, "sh", "-c", fill)
    try:
        with pytest.raises(CrmError, match=r"database-1: ALTER TABLE .*: the disk is full \("):
            shop.run(at(date(2026, 9, 1)))
        shop.check()
    finally:
        own.ask(shop.server.container, "rm", "/data/filler")
    assert shop.run(at(date(2026, 9, 1))).done > 3
    shop.check()


def test_lock_that_is_held_is_waited_for_so_long_and_no_longer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PAUSES", (0.1,))
    database = shop.loaded.file.database
    with schema.wait_for(shop.shard, database, shop.loaded.secrets) as other:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT COUNT(*) FROM crm_orders")
        begun = time.monotonic()
        with pytest.raises(CrmError, match="a transaction held the table 2 times for 2 s"):
            shop.run(at(date(2026, 5, 1)))
        assert time.monotonic() - begun < 10
        # Others are not kept waiting by what is not tried any more.
        shop.sell(date(2026, 1, 9))
        ending = threading.Timer(2.5, other.rollback)
        ending.start()
        assert shop.run(at(date(2026, 5, 1))).done == 1
        ending.join()


def test_many_late_rows_wait_for_a_yes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (partitions, partition_plan):
        monkeypatch.setattr(module, "COPIED_ROWS", 50)
    shop.sell(date(2026, 9, 9), each=51)
    found = shop.run(at(date(2026, 5, 1)))
    assert (found.done, len(found.waiting)) == (0, 1)
    assert "-- waits for --yes: p_future holds more than 50 rows of 2026-05-01 or later" in "".join(
        shop.said
    )
    assert shop.run(at(date(2026, 5, 1)), yes=True).done == 1
    shop.check()


def test_deletion_waits_for_a_yes(server: own.MySQL, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, archive="drop")
    shop.sell(date(2026, 1, 9))
    now = at(date(2026, 9, 1))
    found = shop.run(now)
    assert [step.waits_for for step in found.waiting] == ["its rows are deleted (`archive: drop`)"]
    shop.check()
    assert shop.run(now, yes=True).waiting == ()
    assert shop.archives() == []
    assert shop.server.sql("SELECT COUNT(*) FROM crm_orders", "crm") == [["0"]]


def test_clock_that_is_not_the_servers_changes_nothing(shop: Shop) -> None:
    before = shop.live()
    with (
        partitions.connected(shop.loaded, shop.shard) as connection,
        pytest.raises(CrmError, match="database-1: the clock here says 2031-01-01 09:00, the serv"),
    ):
        partitions.run(
            connection,
            shop.loaded,
            shop.shard,
            at(date(2031, 1, 1)),
            print,
            apply=True,
            yes=True,
        )
    assert shop.live() == before


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("ALTER TABLE crm_orders REMOVE PARTITIONING", "is partitioned by nothing"),
        ("DROP TABLE crm_orders", "crm_orders: there is no such table"),
    ],
)
def test_table_of_another_form_is_refused(shop: Shop, sql: str, says: str) -> None:
    shop.server.sql(sql, "crm")
    with pytest.raises(CrmError, match=says):
        shop.run(at(date(2026, 5, 1)))
