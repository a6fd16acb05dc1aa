"""``crm shards plan``, and the map that a stack's state tells of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stacks import engines, manifests, plan, render, shard_map, stack_file, tiers
from stacks.services import numbered
from stacks.targets.kubernetes import type_token
from tests import project as projects
from tests.live import parity

TWO = shard_map.of(numbered("database", 2))
Resource = dict[str, Any]


def on_docker() -> list[Resource]:
    """What the real CLI recorded of ``horizontal``, with the text of its files put back."""
    planned = plan.make("horizontal", stack_file.load("horizontal"))
    text = render.Renderer().tree(planned)["app/app.json"]
    found = [{**r, "custom": bool(r["custom"])} for r in parity.fixture("horizontal")["resources"]]
    for resource in found:
        files = resource["inputs"].get("files") or {}
        if "app.json" in files:
            files["app.json"] = text
    return found


def on_a_cluster() -> list[Resource]:
    """The objects of ``kubernetes`` as resources, and files that a rollout has not reached."""
    planned = plan.make("kubernetes", stack_file.load("kubernetes"))
    files = render.Renderer().tree(planned)
    wanted = manifests.manifests(planned, tiers.workloads(planned, files, "crm-app:1"))
    found: list[Resource] = [
        {
            **{"urn": f"urn::{m.key}", "type": type_token(m.object), "custom": True},
            **{"protect": m.protect, "inputs": m.object},
        }
        for m in wanted
    ]
    other = json.dumps({"database": {"shards": []}})
    new = {"metadata": {"name": "app-files-00000000"}, "data": {"app.json": other}}
    return [{**found[0], "type": "kubernetes:core/v1:ConfigMap", "inputs": new}, *found]


STATES = {"docker": on_docker, "kubernetes": on_a_cluster}


def state(folder: Path, stack: str, resources: list[Resource]) -> None:
    file = folder / ".pulumi" / "stacks" / "crm" / f"{stack}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    latest = {"manifest": {"version": "v3.260.0"}, "resources": resources}
    file.write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the state that is looked at."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path / 'state'}")
    return tmp_path / "state"


@pytest.mark.parametrize("target", STATES)
def test_state_of_a_running_stack_tells_the_map(told: Path, target: str) -> None:
    assert engines.shard_map_of("sales") is None
    state(told, "sales", STATES[target]())
    assert engines.shard_map_of("sales") == TWO


@pytest.mark.parametrize("target", STATES)
def test_state_of_a_destroyed_stack_tells_it_by_the_volumes(told: Path, target: str) -> None:
    kept = [r for r in STATES[target]() if r["protect"] or r["type"].endswith(":Namespace")]
    assert len(kept) >= 2
    state(told, "sales", kept)
    assert engines.shard_map_of("sales") == TWO


def test_first_up_that_was_killed_tells_no_map(told: Path) -> None:
    """Not all volumes may be there: the next run goes on by the stack file."""
    for last in ("database-1-data", "schema-files"):
        names = {"database-network", "database_root_password", "database-1-data", last}
        begun = [r for r in on_docker() if r["urn"].rpartition("::")[2] in names]
        assert len(begun) >= len(names)
        state(told, "sales", begun)
        assert engines.shard_map_of("sales") is None


@pytest.mark.parametrize("verb", ["preview", "up"])
@pytest.mark.parametrize(("stack", "target"), [("horizontal", "docker"), ("kubernetes",) * 2])
def test_other_number_of_shards_is_refused_before_anything_is_asked(
    project: projects.Project, told: Path, verb: str, stack: str, target: str
) -> None:
    projects.copy(project.root, under=("app/",))
    state(told, stack, STATES[target]())
    project.edit(f"stacks/config/Pulumi.{stack}.yaml", "shards: 2", "shards: 3")
    done = project.crm(verb, stack, DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.code == 1
    assert done.err == (
        f"error: stacks/config/Pulumi.{stack}.yaml: crm:database.shards: {stack} is deployed with "
        "2; with 3, 33 of 64 buckets of customers would be on another server, which nothing "
        f"moves (crm shards plan {stack} shows it); write 2 again, or, to begin anew without the "
        f"rows: crm destroy {stack} --delete-data\n"
    )


def test_plan_compares_the_stack_file_with_what_is_deployed(
    project: projects.Project, told: Path
) -> None:
    state(told, "horizontal", on_docker())
    assert "0 of 64 buckets" in project.crm("shards", "plan", "horizontal").out
    project.edit("stacks/config/Pulumi.horizontal.yaml", "shards: 2", "shards: 1")
    done = project.crm("shards", "plan", "horizontal", "--json")
    assert json.loads(done.out)["moves"] == [
        {"from": "database-2", "to": "database-1", "first_bucket": 32, "last_bucket": 63}
    ]
    said = project.crm("shards", "plan", "horizontal").out
    assert "map 8314793c (deployed) → map 058d60bf" in said
    assert "buckets 32–63 (32): database-2 → database-1\n32 of 64 buckets" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "write: crm shards plan dev --shards N"),
        (("--shards", "65"), "--shards: 65 is not allowed; write a number from 1 to 64"),
    ],
)
def test_plan_without_anything_to_compare_is_refused(
    project: projects.Project, told: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = project.crm("shards", "plan", "dev", *arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(f"{sentence}\n")


def test_plan_of_a_stack_that_is_not_deployed_needs_no_docker(project: projects.Project) -> None:
    done = project.crm("shards", "plan", "dev", "--shards", "2", DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.code == 0, done.err
    assert "database-2   –               32–63 (32)" in done.out
    assert not (project.root / ".crm" / "state").exists()
