"""The shard map: what it says, what another one would move."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import plan, render, shard_map, stack_file
from stacks.plan import Plan
from stacks.services import numbered
from stacks.shard_map import BUCKETS, Held, Map, Move


def plan_of(**config: Any) -> Plan:
    return plan.make("dev", stack_file.parse(config, "dev"))


def of(shards: int) -> Map:
    return shard_map.of(numbered("database", shards))


def test_moves_are_runs_of_buckets() -> None:
    assert shard_map.moves(of(2), of(3)) == (
        Move(21, 31, "database-1", "database-2"),
        Move(42, 63, "database-2", "database-3"),
    )
    assert shard_map.moves(of(2), of(1)) == (Move(32, 63, "database-2", "database-1"),)


@pytest.mark.parametrize("shards", range(1, 64))
def test_moves_make_one_map_of_the_other(shards: int) -> None:
    def owners(held: Map) -> list[str]:
        return [each.name for each in held for _ in range(each.first, each.last + 1)]

    before, after = of(shards), of(shards + 1)
    moved = owners(before)
    for move in shard_map.moves(before, after):
        assert set(moved[move.first : move.last + 1]) == {move.source}
        moved[move.first : move.last + 1] = [move.target] * move.count
    assert moved == owners(after)
    assert shard_map.moves(before, before) == ()


def test_two_maps_may_give_a_server_the_same_buckets_but_not_the_same_version() -> None:
    assert of(22)[0] == of(23)[0] == Held("database-1", 0, 1)
    assert shard_map.version(of(22)) != shard_map.version(of(23))


@pytest.mark.parametrize("shards", [1, 3, BUCKETS])
def test_map_of_a_rendered_file_is_the_planned_one(shards: int) -> None:
    planned = plan_of(database={"shards": shards})
    text = render.Renderer().tree(planned)["app/app.json"]
    assert shard_map.given(text) == planned.database.map == of(shards)
    assert f'"map_version": "{shard_map.version(of(shards))}"' in text


def test_servers_of_somebody_else_are_no_map() -> None:
    password = {"env": "PASSWORD"}
    external = {
        **{"host": "db.example.com", "user": "a", "password": password},
        **{"owner_user": "o", "owner_password": password},
    }
    planned = plan_of(database={"external": external})
    assert shard_map.given(render.Renderer().tree(planned)["app/app.json"]) is None
