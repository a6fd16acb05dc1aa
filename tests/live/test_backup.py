"""What is kept of a stack comes back as it was, to the second asked for, or a drill says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import docker
import pytest

from tests.live.stack import Stack, deployed
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

CUSTOMERS, ORDERS, MILLION = 20_000, 100_000, 1_000_000
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
ROWS = f"""
SET SESSION cte_max_recursion_depth = {ORDERS};
INSERT INTO customers (id, name, email) {NUMBERS.format(CUSTOMERS)}
SELECT i, CONCAT('Zoë ''', i, '"\\\\'), CONCAT(i, '@example.org') FROM n;
INSERT INTO crm_orders {NUMBERS.format(ORDERS)}
SELECT i, 1 + i % {CUSTOMERS}, '2024-12-15' + INTERVAL (i % 780) DAY, i % 1000 / 7 FROM n;
"""
BACKUP = """\
    orders:
      partition_by: range
      column: order_date
      interval: month
      start: 2025-01
      count: 24
    backup:
      every_hours: 1
      folder: {}
"""


def ask_for_backups(stack: Stack) -> None:
    folder = stack.project.root.parent / "kept"
    stack.edit("  crm:database:\n", f"  crm:database:\n{BACKUP.format(folder)}")
    refused = stack.crm("up", "--yes")
    assert refused.code == 1
    made = folder / stack.name / "backup-1"
    assert refused.err.endswith(
        f"crm:database.backup.folder: {made} is no folder of this machine; run: mkdir -p {made}\n"
    )
    made.mkdir(parents=True)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``dev`` with backups, rows in every partition, and one backup of them."""
    folder = tmp_path_factory.mktemp("backup") / "project"
    with deployed(folder, "dev", change=ask_for_backups) as stack:
        stack.sql("database-1", ROWS)
        (made,) = stack.run("backup")["shards"]
        # Also the one row that says which shard it is.
        assert made["rows"] == CUSTOMERS + ORDERS + 1
        assert list((folder.parent / "kept").glob("*/backup-1/backups/*/SHA256SUMS"))
        image = stack.container("backup-1").image
        assert image is not None
        yield stack
    # They are the server's own, and whoever runs the tests may not be allowed to remove them.
    docker.from_env().containers.run(
        image,
        ["-c", "rm -rf /kept/*"],
        entrypoint="sh",
        volumes=[f"{folder.parent / 'kept'}:/kept"],
        remove=True,
    )


def count(stack: Stack, table: str) -> int:
    return int(stack.sql("database-1", f"SELECT COUNT(*) FROM {table}")[0][0])


def flip(stack: Stack, path: str) -> None:
    """Turn one bit in the middle of what ``path`` (a pattern) names last; twice is as before."""
    script = (
        f"file=$(ls {path} | tail -n 1); at=$(($(stat -c %s $file) / 2)); "
        "byte=0x$(od -An -tx1 -j $at -N 1 $file | tr -d ' '); "
        'printf "\\\\x$(printf %02x $((byte ^ 1)))" | '
        "dd of=$file bs=1 seek=$at conv=notrunc status=none"
    )
    stack.execute("backup-1", "bash", "-c", script)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def test_drill_finds_every_partition_as_it_was(kept: Stack) -> None:
    before = kept.objects()
    (shard,) = kept.run("drill")["shards"]
    assert shard["result"] == "succeeded"
    assert shard["rows"] == CUSTOMERS + ORDERS + 1
    # Those of the orders, before and after them too, and three tables that have none.
    assert shard["partitions"] == 26 + 3
    assert 0 < shard["rto_seconds"] <= 120
    assert shard["rpo_seconds"] == 0
    assert kept.objects() == before, "nothing of the throw-away server is left"


@pytest.mark.parametrize("name", ["dump.sql.gz", "rows.tsv", "SHA256SUMS", "binlog"])
def test_drill_fails_where_a_bit_is_another_and_says_where(kept: Stack, name: str) -> None:
    path = "/data/binlogs/*/binlog.0*" if name == "binlog" else f"/data/backups/*/{name}"
    flip(kept, path)
    try:
        done = kept.crm("drill", "--json")
    finally:
        flip(kept, path)
    assert done.code == 1, done.out
    assert "damaged" in done.err
    if name in ("dump.sql.gz", "rows.tsv", "binlog"):
        (shard,) = json.loads(done.out)["shards"]
        assert name in shard["message"]


def test_backup_waits_for_who_archives_a_partition_and_holds_nobody_up(kept: Stack) -> None:
    # As the keeper of partitions does while it writes a table to a file.
    reads = "SELECT GET_LOCK('crm_partitions', 0); SELECT SLEEP(16) FROM customers WHERE id = 1"
    with ThreadPoolExecutor() as pool:
        reader = pool.submit(kept.sql, "database-1", reads)
        time.sleep(1)
        backup = pool.submit(kept.run, "backup")
        slowest = 0.0
        while not reader.done():
            began = time.monotonic()
            kept.sql("database-1", "UPDATE customers SET name = name WHERE id = 2")
            slowest = max(slowest, time.monotonic() - began)
            assert not backup.done() or reader.done(), "it waits"
    (made,) = backup.result()["shards"]
    assert made["rows"] == CUSTOMERS + ORDERS + 1
    # Held up, it would have waited for the reader's end.
    assert slowest < 8


def test_server_that_is_away_can_be_drilled_and_a_keeper_that_is_away_stops_a_restore(
    kept: Stack,
) -> None:
    server, keeper = kept.container("database-1"), kept.container("backup-1")
    server.stop()
    try:
        (drilled,) = kept.run("drill")["shards"]
    finally:
        server.start()
    assert drilled["result"] == "succeeded"
    assert drilled["bytes_behind"] is None
    assert drilled["rows"] == CUSTOMERS + ORDERS + 1
    keeper.stop()
    try:
        done = kept.crm("restore", "--to", now(), "--yes")
    finally:
        keeper.start()
    assert done.code == 1
    assert "database-1: nothing was changed: " in done.err
    assert f"run `crm up {kept.name}`" in done.err
    wait_until(lambda: server_is_healthy(kept), "the server is back")


def server_is_healthy(stack: Stack) -> bool:
    return bool(stack.container("database-1").attrs["State"]["Health"]["Status"] == "healthy")


def test_mistaken_delete_is_undone_to_the_second_before(kept: Stack) -> None:
    kept.sql("database-1", "INSERT INTO users VALUES (1, 'Ada', 'a@x', 'admin', DEFAULT)")
    time.sleep(1.1)
    right = now()
    time.sleep(1.1)
    kept.sql("database-1", "DELETE FROM users; DELETE FROM crm_orders WHERE id > 7")
    assert (count(kept, "users"), count(kept, "crm_orders")) == (0, 7)

    asked = kept.crm("restore", "--to", right)
    assert asked.code == 1
    assert "backup" in asked.err
    assert "add --yes" in asked.err
    assert count(kept, "crm_orders") == 7

    kept.run("restore", "--to", right, "--yes")
    assert (count(kept, "users"), count(kept, "crm_orders")) == (1, ORDERS)
    # The new server's rows are kept as well, and what ran before it is still there.
    assert len(json.loads(kept.crm("backups", "--json").out)["backups"]) >= 3
    assert "before-restore-" in kept.execute("database-1", "ls", "/data")
    changes = kept.up()
    assert changes["same"] == sum(changes.values())


def test_password_is_on_no_command_line_and_in_no_environment(kept: Stack) -> None:
    container = docker.from_env().containers.get(f"crm-{kept.name}-backup-1")
    password = kept.execute("backup-1", "cat", "/etc/crm/secrets/database_backup_password").strip()
    assert len(password) == 32
    assert password not in json.dumps(container.attrs)
    assert password not in json.dumps(container.top(ps_args="axww -o pid,args"))
    assert password not in container.logs().decode()


def test_backup_account_cannot_write(kept: Stack) -> None:
    client = ("mysql", "--defaults-file=/run/crm/client.cnf", "-e")
    code, said = kept.attempt("backup-1", *client, "DELETE FROM crm.users")
    assert code != 0
    assert "denied" in said


def test_drill_of_a_million_rows(kept: Stack) -> None:
    columns = "id + {}, customer_id, order_date, order_amount"
    more = f"INSERT INTO crm_orders SELECT {columns} FROM crm_orders"
    for there in (1, 2, 4):
        kept.sql("database-1", more.format(there * ORDERS))
    kept.sql("database-1", f"{more.format(8 * ORDERS)} WHERE id <= {2 * ORDERS}")
    assert count(kept, "crm_orders") == MILLION
    (made,) = kept.run("backup")["shards"]
    (drilled,) = kept.run("drill")["shards"]
    # Of every partition the rows and their sum were compared.
    assert (drilled["result"], drilled["partitions"]) == ("succeeded", made["partitions"])
    assert drilled["rows"] == made["rows"] > MILLION
    assert drilled["rpo_seconds"] == 0
    # On a machine that has nothing else to do: 120 s at most.
    print(f"a million rows: restored in {drilled['rto_seconds']} s")
    assert drilled["rto_seconds"] <= 600
