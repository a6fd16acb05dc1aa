"""Two years go by on a real MySQL, under a clock of the test's own, and no row is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crm import partition_plan, partitions, schema
from crm.errors import CrmError
from stacks.paths import ROOT
from tests.live import own
from tests.live.ports import free_port
from tests.live.shop import PASSWORD, Shop
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server() -> Iterator[own.MySQL]:
    with own.mysql(restarts=True) as running:
        running.sql(f"CREATE USER crm_owner@'%' IDENTIFIED BY \"{PASSWORD}\"")
        running.sql("GRANT ALL PRIVILEGES ON crm.* TO crm_owner@'%'")
        yield running


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
    shop = Shop(server, tmp_path, None, **({"subpartitions": parts} if parts else {}))
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


def test_server_that_is_killed_on_the_way_loses_nothing(
    server: own.MySQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = at(date(2026, 9, 1))
    carry_out = partitions.carry_out
    told = []
    for point in range(0, 15, 3):
        shop = Shop(server, tmp_path, subpartitions=4)
        shop.sell(date(2025, 12, 31), date(2026, 1, 9), date(2026, 8, 9))
        kill = threading.Thread(
            target=own.ask,
            args=(server.container, "sh", "-c", "kill -9 $(cat /run/crm/mysqld.pid)"),
        )
        steps = iter(range(100))

        def killed(
            *args: Any, kill: threading.Thread = kill, steps: Any = steps, point: int = point
        ) -> None:
            # Somewhere in this statement, or before the next one.
            step = next(steps)
            if step == point:
                kill.start()
            elif step > point:
                kill.join()
            carry_out(*args)

        monkeypatch.setattr(partitions, "carry_out", killed)
        try:
            shop.run(now)
        except CrmError as error:
            told.append(str(error))
        kill.join()
        monkeypatch.undo()
        server.wait()
        shop.run(now)
        shop.check()
        assert shop.run(now).done == 0
        assert len(shop.archives()) == 2 * 4
    assert len(told) > 2
    assert all(re.match(r"database-1: .*(Lost connection|gone away)", t) for t in told), told


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
            shop.shard,
            shop.loaded.file.partitions[0],
            at(date(2031, 1, 1)),
            print,
            apply=True,
            yes=True,
        )
    assert shop.live() == before


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (
            "ALTER TABLE crm_orders REMOVE PARTITIONING",
            "database-1: crm_orders: is partitioned by nothing",
        ),
        ("DROP TABLE crm_orders", "database-1: crm_orders: there is no such table"),
    ],
)
def test_table_of_another_form_is_refused(shop: Shop, sql: str, says: str) -> None:
    shop.server.sql(sql, "crm")
    with pytest.raises(CrmError, match=says):
        shop.run(at(date(2026, 5, 1)))


def test_table_of_somebody_elses_is_kept_too(shop: Shop) -> None:
    """One of instants, whose partitions end in no catch-all."""
    shop.server.sql(
        "CREATE TABLE visits (id BIGINT, seen_at DATETIME(3), PRIMARY KEY (id, seen_at)) "
        "PARTITION BY RANGE COLUMNS (seen_at) (PARTITION first VALUES LESS THAN ('2026-01-02'))",
        "crm",
    )
    shop.server.sql("INSERT INTO visits VALUES (1, '2026-01-01 23:59:59.999')", "crm")
    # A partition for each day, then all old ones away: what has no rows needs no table.
    for day in (date(2026, 1, 2), date(2026, 1, 9)):
        shop.run(at(day), table="visits")
        shop.server.sql(f"INSERT INTO visits VALUES (2, '{day} 12:00')", "crm")
        assert shop.run(at(day), table="visits").ahead == 2
    assert shop.server.sql("SELECT id FROM visits_archive_first", "crm") == [["1"]]
    names = shop.server.sql(
        "SELECT PARTITION_NAME FROM information_schema.PARTITIONS WHERE TABLE_NAME = 'visits' "
        "ORDER BY PARTITION_ORDINAL_POSITION"
    )
    assert [name for (name,) in names] == [f"p_2026_01_{day:02}" for day in range(5, 12)]


# --- The keeper ----------------------------------------------------------------------------------


def test_keeper_does_what_there_is_to_do_and_says_so(server: own.MySQL, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    begun = partition_plan.shifted("month", today.replace(day=1), -9)
    shop = Shop(server, tmp_path, start=f"{begun:%Y-%m}")
    shop.sell(begun, today)
    port = free_port()
    told = shop.environment["CRM_CONFIG"]
    file = json.loads(Path(told).read_text())
    file["server"]["port"] = port
    file["partitions"] = file["partitions"][:1]
    Path(told).write_text(json.dumps(file))
    with subprocess.Popen(
        [sys.executable, "-m", "crm", "partitions", "keep"],
        env={**os.environ, **shop.environment, "PYTHONPATH": f"{ROOT}/app"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as keeper:
        try:
            wait_until(
                lambda: "crm_partitions_ahead{" in read(port, "/metrics"), "a round of the keeper"
            )
            metrics = read(port, "/metrics")
            assert read(port, "/healthz") == ""
        finally:
            keeper.send_signal(signal.SIGTERM)
            said, _ = keeper.communicate(timeout=20)
    assert keeper.returncode == 0
    assert PASSWORD not in said
    assert "-- database-1: crm_orders: 9 more ahead" in said
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    of = '{shard="database-1",table="crm_orders"}'
    assert (
        abs(float(values[f"crm_partitions_last_success_timestamp_seconds{of}"]) - time.time()) < 60
    )
    assert values[f"crm_partitions_ahead{of}"] == "3.0"
    assert values[f"crm_partitions_waiting{of}"] == "0.0"
    assert values[f"crm_partitions_failures_total{of}"] == "0.0"
    assert shop.archives() == [f"crm_orders_archive_p_{begun:%Y_%m}"]
    shop.check()


def read(port: int, path: str) -> str:
    """What the keeper answers; nothing as long as it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""
