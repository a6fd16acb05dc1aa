"""Sizes are looked up rarely, and nobody waits for them."""

import threading
import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from crm import sizes
from crm.errors import DependencyError
from crm.figures import Figures
from crm.settings import Settings
from crm.shards import Shard, Shards
from crm.sizes import Count, Rarely, Size, Sizes


@pytest.fixture
def shards(settings: Settings) -> Iterator[Shards]:
    made = Shards(settings, Figures())
    yield made
    made.close()


def later(rarely: Rarely[str], is_it: list[str]) -> bool:
    """Whether it says so within a while."""
    until = time.monotonic() + 5
    while (found := rarely.last()) != is_it and time.monotonic() < until:
        time.sleep(0.01)
    return found == is_it


def test_answer_is_not_waited_for_and_is_kept(shards: Shards) -> None:
    shard, go, asked = next(iter(shards)), threading.Event(), []

    def ask(shard: Shard) -> list[str]:
        go.wait(5)
        asked.append(shard.name)
        return [f"answer {len(asked)}"]

    rarely = Rarely(shard, ask, 3600)
    try:
        assert rarely.last() == rarely.last() == []
    finally:
        go.set()
    assert later(rarely, ["answer 1"])
    assert rarely.last() == ["answer 1"]
    assert asked == [shard.name]


def test_answer_that_is_old_is_asked_for_again_and_given_until_then(shards: Shards) -> None:
    answers = iter((["one"], ["two"]))
    rarely = Rarely(next(iter(shards)), lambda _: next(answers), 0.05)
    assert later(rarely, ["one"])
    assert later(rarely, ["two"])


def test_shard_that_fails_has_no_sizes_any_more(shards: Shards) -> None:
    def ask(shard: Shard) -> list[str]:
        if answers:
            return [answers.pop()]
        raise DependencyError(shard.name, "is away")

    answers = ["known"]
    rarely = Rarely(next(iter(shards)), ask, 0.05)
    assert later(rarely, ["known"])
    assert later(rarely, [])


def test_bytes_of_a_bucket_are_its_rows_share_of_the_table(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sizes,
        "partitions",
        lambda shard: [
            Size("crm_orders", "p0", 30, 4000),
            Size("crm_orders", "p1", 10, 1000),
            Size("users", "", 7, 70),
        ],
    )
    monkeypatch.setattr(
        sizes,
        "buckets",
        lambda shard, of: [Count("crm_orders", 3, 30), Count("crm_orders", of - 1, 10)],
    )
    measured = Sizes(shards)
    until = time.monotonic() + 5
    while "crm_bucket_bytes{" not in (found := measured.expose().decode()):
        assert time.monotonic() < until, found
        time.sleep(0.01)
    for line in (
        'crm_partition_rows{partition="p0",shard="database-1",table="crm_orders"} 30.0',
        'crm_partition_bytes{partition="",shard="database-2",table="users"} 70.0',
        'crm_bucket_rows{bucket="63",shard="database-1",table="crm_orders"} 10.0',
        'crm_bucket_bytes{bucket="3",shard="database-1",table="crm_orders"} 3750.0',
    ):
        assert line in found.splitlines()


def test_metrics_of_shards_that_are_away_are_there_at_once(client: FlaskClient) -> None:
    for _ in range(3):
        started = time.perf_counter()
        answer = client.get("/metrics")
        assert time.perf_counter() - started < 0.5
        assert answer.status_code == 200
        assert b"# TYPE crm_bucket_rows gauge" in answer.data
        assert b"crm_bucket_rows{" not in answer.data
