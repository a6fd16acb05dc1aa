"""What the benchmark measures on a real server is there to be measured."""

from __future__ import annotations

import pytest

from tests.bench import partitions

pytestmark = pytest.mark.live


@pytest.mark.alone
def test_partitions_are_measured_against_both_and_dropped() -> None:
    rows = list(partitions.rows(2, 4800))
    assert [row.against for row in rows] == [
        "primary key only",
        "index on the date",
        "its rows deleted",
    ]
    assert all(row.pair.one.wall > 0 and row.pair.other.wall > 0 for row in rows)
    assert [row.bound for row in rows] == [0.1, None, None]
