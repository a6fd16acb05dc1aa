"""The keeper of partitions as a container of a stack, and ``crm partitions`` beside it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.live.stack import Stack
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

AHEAD = 15
METRICS = (
    "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
)


def ends(stack: Stack) -> list[str]:
    """The bounds of all partitions but the catch-all."""
    rows = stack.sql(
        "database-1",
        "SELECT PARTITION_DESCRIPTION FROM information_schema.PARTITIONS "
        "WHERE TABLE_NAME = 'crm_orders' AND PARTITION_DESCRIPTION <> 'MAXVALUE'",
    )
    return [text.strip("'") for (text,) in rows]


def test_keeper_comes_with_ahead_does_its_work_and_goes(vertical: Stack) -> None:
    today = datetime.now(UTC)
    months = today.year * 12 + today.month + AHEAD
    enough = f"{months // 12}-{months % 12 + 1:02}-01"
    rows = vertical.sql("database-1", "SELECT COUNT(*) FROM crm_orders")
    asked = f"count: 36\n      ahead: {AHEAD}"
    vertical.edit("count: 36", asked)
    try:
        assert vertical.project.crm("partitions", "plan", vertical.name).err == (
            f"error: {vertical.name}: no container of `partitions` runs here; "
            f"run `crm up {vertical.name}`\n"
        )
        changes = vertical.up()
        assert changes["replace"] == changes["delete"] == 0
        assert changes["create"] > 0
        wait_until(lambda: max(ends(vertical)) >= enough, "enough partitions ahead")
        metrics = vertical.execute("partitions", "python3", "-c", METRICS)
        assert 'crm_partitions_failures_total{shard="database-1",table="crm_orders"} 0.0' in metrics
        for action in ("plan", "apply"):
            run = vertical.project.crm("partitions", action, vertical.name)
            assert (run.code, run.err) == (0, "")
            assert run.out.splitlines()[0] == "-- database-1: crm_orders: nothing to do"
        keeper = vertical.container("partitions")
        assert keeper.attrs["State"]["Health"]["Status"] == "healthy"
        assert list(keeper.attrs["NetworkSettings"]["Networks"]) == [
            f"crm-{vertical.name}-database"
        ]
        vertical.edit(asked, f"{asked}\n      retention: 1000")
        refused = vertical.project.crm("partitions", "plan", vertical.name)
        assert refused.code == 1
        assert "has changed since the last `up`; run `crm up" in refused.err
        vertical.edit("\n      retention: 1000", "")
    finally:
        vertical.edit(asked, "count: 36")
        vertical.up()
    assert "partitions" not in vertical.containers()
    assert vertical.sql("database-1", "SELECT COUNT(*) FROM crm_orders") == rows
