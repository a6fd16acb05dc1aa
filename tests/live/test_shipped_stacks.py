"""What each shipped stack promises, looked up in what really runs."""

from __future__ import annotations

import subprocess

import pytest
from docker.models.containers import Container

from stacks import plan, stack_file
from tests.live import parity
from tests.live.client import call
from tests.live.logged import logged
from tests.live.stack import Stack
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live


@pytest.fixture(params=["dev", "horizontal", "vertical"])
def any_stack(request: pytest.FixtureRequest) -> Stack:
    """Each of those on this machine in turn."""
    stack = request.getfixturevalue(request.param)
    assert isinstance(stack, Stack)
    return stack


def test_second_up_changes_nothing(any_stack: Stack) -> None:
    changes = any_stack.up()
    assert changes.pop("same") > 30
    assert changes == {"create": 0, "update": 0, "replace": 0, "delete": 0}


def test_sizes_are_those_asked_for(any_stack: Stack) -> None:
    spec = stack_file.load(any_stack.name, any_stack.project.root / "stacks" / "config")
    edge, app, database, cache = spec.edge, spec.app, spec.database, spec.cache
    sizes = {
        "edge": (edge.cpus, edge.memory_mib),
        "app": (app.cpus, app.memory_mib),
        "database": (database.cpus, database.memory_mib),
        "cache": (cache.cpus, cache.memory_mib),
    }
    containers = any_stack.containers().values()
    assert {c.labels["crm.tier"] for c in containers} == set(sizes)
    for container in containers:
        cpus, memory_mib = sizes[container.labels["crm.tier"]]
        host = container.attrs["HostConfig"]
        assert host["NanoCpus"] == round(cpus * 1e9), container.name
        assert host["Memory"] == host["MemorySwap"] == memory_mib * 2**20, container.name


def is_healthy(container: Container) -> bool:
    return bool(container.attrs["State"]["Health"]["Status"] == "healthy")


def test_containers_are_fenced_in(any_stack: Stack) -> None:
    wait_until(lambda: all(map(is_healthy, any_stack.containers().values())), "all are healthy")
    for container in any_stack.containers().values():
        attrs = container.attrs
        host = attrs["HostConfig"]
        assert host["ReadonlyRootfs"] is True, container.name
        assert host["CapDrop"] == ["ALL"], container.name
        assert "no-new-privileges" in host["SecurityOpt"], container.name
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert attrs["Config"]["User"] not in ("", "0", "root"), container.name
        published = [b for bindings in host["PortBindings"].values() for b in bindings]
        expected = [{"HostIp": "127.0.0.1", "HostPort": str(any_stack.port)}]
        assert published == (expected if container.labels["crm.tier"] == "edge" else [])


def test_engine_leaves_what_the_pulumi_cli_leaves(any_stack: Stack) -> None:
    shipped = any_stack.name.partition("-")[2]
    state = parity.read_state(any_stack.project.root, any_stack.name)
    left = parity.normalise(state, any_stack.name, any_stack.port)
    assert left == parity.fixture(shipped)["resources"]


def test_outputs_and_preview_are_json(any_stack: Stack) -> None:
    outputs = any_stack.run("outputs")
    assert outputs["url"] == any_stack.url
    preview = any_stack.run("preview")
    assert preview["result"] == "succeeded"
    assert set(preview["changes"]) == {"create", "update", "replace", "delete", "same"}
    assert preview["outputs"]["url"] == any_stack.url
    assert preview["seconds"] > 0


def test_proxy_says_who_the_client_is_and_believes_no_one(any_stack: Stack) -> None:
    mark = "spoof-0123456789"
    answer = call(
        f"{any_stack.url}/api/v1/customers?limit=1",
        headers={"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "User-Agent": mark},
    )
    assert answer.status == 200
    served, request = answer.headers["x-served-by"], answer.headers["x-request-id"]
    lines = logged(any_stack.container(served), request)
    clients = {line["client"] for line in lines if "client" in line}
    assert len(clients) == 1
    assert "203.0.113.7" not in clients


def test_git_stays_clean(any_stack: Stack) -> None:
    for verb in (["check"], ["render"], ["outputs"], ["preview"], ["refresh"]):
        done = any_stack.crm(*verb)
        assert done.code == 0, done.err
    status = subprocess.run(
        ["git", "status", "--porcelain"],
        cwd=any_stack.project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert status.stdout == ""


def test_plan_and_containers_agree_on_instances(any_stack: Stack) -> None:
    spec = stack_file.load(any_stack.name, any_stack.project.root / "stacks" / "config")
    planned = plan.make(any_stack.name, spec)
    expected = {
        "edge",
        *planned.app.instances,
        *(shard.name for shard in planned.database.shards),
        *(node.name for node in planned.cache.nodes),
    }
    assert set(any_stack.containers()) == expected
