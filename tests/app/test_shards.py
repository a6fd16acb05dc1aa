"""Which shard a row is on, and how long one that is down may cost."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymysql import OperationalError

from crm import mysql
from crm.errors import DependencyError
from crm.figures import Figures
from crm.settings import Settings
from crm.shards import Shard, Shards


@pytest.fixture
def shards(settings: Settings) -> Iterator[Shards]:
    made = Shards(settings, Figures())
    yield made
    made.close()


def test_password_ahead_of_the_server_leaves_the_last_good_one(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(iter(shards))
    tried: list[str] = []
    good = "first"

    def connect(_shard: object, _database: object, _secrets: object, password: str) -> str:
        tried.append(password)
        if password != good:
            raise OperationalError(1045, "Access denied")
        return f"by {password}"

    monkeypatch.setattr(mysql, "connect", connect)
    reach: Callable[[str], Any] = first._reach
    with pytest.raises(OperationalError):
        reach("second")  # none was good yet
    assert first.is_locked_out
    assert reach("first") == "by first"
    assert reach("second") == "by first"
    assert not first.is_locked_out
    good = "second"
    assert reach("second") == "by second"
    assert reach("first") == "by second"
    assert tried == ["second", "first", "second", "first", "second", "first", "second"]


def test_of_follows_the_bucket(shards: Shards) -> None:
    for row_id in range(200):
        held = shards.of(row_id).settings
        assert held.first_bucket <= shards.bucket_of(row_id) <= held.last_bucket


def test_begin_on_a_dead_shard_names_it_and_then_fails_at_once(shards: Shards) -> None:
    first, second = shards
    with pytest.raises(DependencyError, match="database-1"), first.begin():
        pass
    started = time.perf_counter()
    with pytest.raises(DependencyError), first.begin():
        pass
    assert time.perf_counter() - started < 0.1
    assert not first.is_open
    assert second.is_open


def test_place_avoids_a_shard_known_to_be_down(shards: Shards) -> None:
    first, second = shards
    with pytest.raises(DependencyError), first.begin():
        pass
    assert {shards.of(shards.place()).name for _ in range(20)} == {second.name}


def test_ask_does_not_wait_for_one_that_hangs(shards: Shards) -> None:
    done = threading.Event()

    def work(shard: Shard) -> str:
        if shard.name == "database-2":
            done.wait(5)
        return shard.name

    try:
        answers = {shard.name: answer for shard, answer in shards.ask(work, 0.2)}
    finally:
        done.set()
    assert answers["database-1"] == "database-1"
    hanging = answers["database-2"]
    assert isinstance(hanging, DependencyError)
    assert hanging.reason == "no answer within 0.2 s"


def test_secret_stays_out_of_errors(shards: Shards) -> None:
    for _, answer in shards.ask(lambda shard: shard.check()):
        assert isinstance(answer, DependencyError)
        assert "canary" not in str(answer)
