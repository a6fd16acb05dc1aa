"""The keeper of partitions whose shards refuse every connection: what it says of itself."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from crm import partition_keeper, partitions
from crm.errors import CrmError
from crm.partition_keeper import Keeper
from crm.settings import Settings, load
from tests.app.conftest import app_file

KEPT = {"table": "crm_orders", "column": "order_date", "interval": "month", "ahead": 3}


def loaded(folder: Path, **more: object) -> Settings:
    (folder / "app.json").write_text(json.dumps({**app_file(), **more}))
    (folder / "database_owner_password").write_text("canary\n")
    return load({"CRM_CONFIG": str(folder / "app.json"), "CRM_SECRETS": str(folder)})


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(loaded(tmp_path, partitions=[KEPT]))


@pytest.fixture
def url(keeper: Keeper) -> Iterator[str]:
    server = partition_keeper.serve(keeper, 0)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def read(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_round_that_fails_is_counted_for_each_shard_and_tried_again_soon(
    keeper: Keeper, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keeper.round() == partition_keeper.RETRY_SECONDS
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in said] == [
        "database-1",
        "database-2",
    ]
    assert "canary" not in "".join(said)
    _, metrics = read(f"{url}/metrics")
    for shard in ("database-1", "database-2"):
        assert f'crm_partitions_failures_total{{shard="{shard}",table="crm_orders"}} 1.0' in metrics
    assert 'crm_partitions_last_success_timestamp_seconds{shard="' not in metrics
    later = [keeper.round() for _ in range(6)]
    assert later == [120, 240, 480, 960, 960, 960]


def test_keeper_is_healthy_unless_it_hangs(
    keeper: Keeper, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A database that is away is no reason to restart it.
    keeper.round()
    assert read(f"{url}/healthz")[0] == 200
    later = time.monotonic() + partition_keeper.RETRY_SECONDS + partitions.STATEMENT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not keeper.is_alive
    monkeypatch.undo()


def test_stack_that_keeps_none_has_no_keeper(tmp_path: Path) -> None:
    with pytest.raises(CrmError, match=r"app.json: partitions: is missing"):
        Keeper(loaded(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"interval": "year"}, "partitions[0].interval: Invalid enum value 'year'"),
        ({"ahead": 0}, "partitions[0].ahead: Expected `int` >= 1"),
        ({"table": "a`b"}, "partitions[0].table: Expected `str` matching"),
        ({"retentoin": 3}, "unknown field `retentoin`; did you mean `retention`"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, wrong: dict[str, object], says: str) -> None:
    with pytest.raises(CrmError) as caught:
        loaded(tmp_path, partitions=[{**KEPT, **wrong}])
    assert says in str(caught.value)
