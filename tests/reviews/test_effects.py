"""What the engine's rules make of a change, in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import cache
from typing import Any

import msgspec

from stacks import declared, plan, stack_file
from stacks.reviews import effects, side, steps
from stacks.reviews.effects import Effect
from stacks.reviews.side import Side
from stacks.reviews.steps import Step, Steps
from stacks.spec_policies import Policies

DAY = date(2027, 1, 15)


@cache
def deployed(stack: str) -> Side:
    """As it comes from the other side."""
    found, _ = side.describe(stack, DAY)
    return msgspec.json.decode(msgspec.json.encode(found), type=Side)


def after(stack: str, **changes: dict[str, Any]) -> Steps:
    config = stack_file.read(stack)
    for key, values in changes.items():
        there = config.get(key, {})
        assert isinstance(there, dict)
        config[key] = {**there, **values}
    planned = plan.make(stack, stack_file.parse(config, stack))
    return steps.between(stack, deployed(stack).resources, planned)


def told(found: Steps) -> dict[str, Effect]:
    return {effect.workload: effect for effect in effects.of(found)}


def verdicts(found: Steps) -> dict[str, str]:
    return {name: effect.verdict for name, effect in told(found).items()}


def every(found: Steps, wanted: Callable[[Step], bool]) -> set[str]:
    return {step.name for step in found.all if wanted(step)}


def test_nothing_changes_where_nothing_does() -> None:
    for stack in stack_file.names():
        found = after(stack)
        assert {step.op for step in found.all} == {"same"}, stack
        assert found.refusal == ""
        assert set(verdicts(found).values()) == {"untouched"}


def test_description_holds_no_secret_and_nothing_unknown() -> None:
    for stack in ("horizontal", "kubernetes"):
        text = msgspec.json.encode(deployed(stack)).decode()
        assert "04da6b54-80e4-46f7-96ec-b56ff0331ba9" not in text
        made = [r for r in deployed(stack).resources if r.type.endswith(":GeneratedSecret")]
        assert made
        assert {resource.outputs["value"] for resource in made} == {"made"}


def test_pods_of_a_stateful_set_stop_first_and_those_of_a_deployment_do_not() -> None:
    found = told(after("kubernetes", database={"memory_mib": 1024}))
    assert (found["database"].verdict, found["database"].is_away) == ("restarted", True)
    found = told(after("kubernetes", app={"memory_mib": 512}))
    assert (found["app"].verdict, found["app"].is_away) == ("replaced without a gap", False)
    assert found["database"].verdict == "untouched"


def test_cluster_that_scales_by_itself_gets_other_instances() -> None:
    found = after("kubernetes", app={"replicas": {"min": 2, "max": 5}})
    assert told(found)["app"].text == "Starts: `app`. Stops for good: `app-1`, `app-2`, `app-3`."


def test_other_proxy_takes_the_port_over_from_the_one_before() -> None:
    found = told(after("horizontal", edge={"proxy": "nginx"}))
    assert (found["edge"].verdict, found["edge"].is_away) == ("restarted", True)
    assert found["app"].verdict == "untouched"


def test_service_that_is_new_stands_behind_the_app() -> None:
    routes = [{"prefix": "/api/v1/orders", "service": "orders"}]
    service = {"orders": {"replicas": 2, "health_path": "/healthz"}}
    found = told(after("dev", edge={"routes": routes}, services=service))
    assert list(found)[:3] == ["edge", "app", "orders"]
    assert found["orders"].text == "Starts: `orders-1`, `orders-2`."


def test_lost_volume_is_refused_by_the_engine() -> None:
    found = after("horizontal", database={"shards": 1})
    assert found.refusal.startswith("Volume database-2-data: protected; ")


def test_what_is_kept_stays_when_all_is_removed() -> None:
    found = steps.between("dev", deployed("dev").resources, None)
    assert found.refusal == ""
    gone = every(found, lambda step: step.op == "delete")
    assert {"app-1", "database-1", "edge"} <= gone
    assert not gone & {"database-1-data", "database_app_password"}


def test_data_is_known_by_what_is_protected() -> None:
    for stack in ("horizontal", "kubernetes"):
        found = every(steps.between(stack, [], _plan(stack)), lambda step: step.is_data)
        assert found == {"database-1-data", "database-2-data"}


def _plan(stack: str) -> plan.Plan:
    return plan.make(stack, stack_file.load(stack))


def test_self_made_certificate_is_made_anew_for_another_host_alone() -> None:
    config = stack_file.read("dev")
    edge = config["edge"]
    assert isinstance(edge, dict)

    def planned(host: str) -> plan.Plan:
        wanted = {**config, "edge": {**edge, "tls": {"hosts": [host]}}}
        return plan.make("dev", stack_file.parse(wanted, "dev"))

    first = planned("a.example.com")
    before = side._deployed(first, list(declared.resources(first)), Policies())
    same = steps.between("dev", before, planned("a.example.com"))
    assert {step.op for step in same.all} == {"same"}
    other = steps.between("dev", before, planned("b.example.com"))
    assert "edge-certificate" in every(other, lambda step: step.op == "update")
