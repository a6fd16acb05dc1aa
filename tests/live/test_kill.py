"""``kill -9`` of ``crm up`` by the embedded engine, where it hurts: the next one converges.

Each case changes the stack file so that there is something to do, has the run kill itself at one
place, shows from outside that it died exactly there, and then runs ``crm up`` again.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stacks.paths import ROOT
from tests.live import killed
from tests.live.killed import KillStack, Seen

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillStack]:
    """The stack, perhaps deployed by a test before this one."""
    with killed.made(tmp_path_factory.mktemp("kill") / "project", "embedded") as stack:
        yield stack


@pytest.fixture
def stack(bare: KillStack) -> KillStack:
    """The stack, deployed and well."""
    return bare.well()


def kill(stack: KillStack, place: str, verb: str = "up") -> Seen:
    """Run ``crm`` until it kills itself at ``place``; returns what is there right afterwards."""
    mark = stack.project.root.parent / "mark"
    mark.unlink(missing_ok=True)
    stack.is_well = False
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.live.kill"),
            *(verb, stack.name, "--engine", "embedded", "--yes"),
        ],
        cwd=stack.project.root,
        env={
            **os.environ,
            "PYTHONPATH": f"{stack.project.root}{os.pathsep}{ROOT}",
            "KILL_AT": place,
            "KILL_MARK": str(mark),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, f"{place} was not reached: {done.stderr}"
    left: dict[str, Any] = json.loads(mark.read_text(encoding="utf-8"))
    assert left["place"] == place
    if place.startswith("job-runs"):
        assert left["detail"] == "running"
    if place == "half-an-image":  # that comes before the engine
        assert is_free(stack.project.root / ".crm" / "images.lock")
    else:
        lock = stack.project.root / f".crm/state/{stack.name}.lock"
        assert lock.read_text() == str(left["pid"])
        assert is_free(lock)
    return stack.seen()


def is_free(lock: Path) -> bool:
    """Whether nobody holds the lock in the file ``lock``."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def assert_half_written(state_file: Path) -> None:
    """Beside the state lies the beginning of another one."""
    text = state_file.with_name(f".{state_file.name}.unfinished").read_text(encoding="utf-8")
    assert text.startswith('{"version": 3, "checkpoint": ')
    with pytest.raises(ValueError, match=r"line 1 column \d+"):
        json.loads(text)


def test_first_deployment_killed_three_times(bare: KillStack) -> None:
    """In the middle of the first generated secret's record; with a network made and not recorded;
    with a database at work on its first files that is not recorded either."""
    seen = kill(bare, "half-a-state:GeneratedSecret")
    assert_half_written(bare.state_file)
    assert [r["type"] for r in seen.resources if "GeneratedSecret" in r["type"]] == []
    assert seen.containers == {}

    seen = kill(bare, "made:database-network")
    assert seen.networks["database"] not in seen.ids()
    assert seen.records("Network", "database-network") == []
    assert seen.named("database-1") == []  # What does not need it may be made beside it.

    seen = kill(bare, "started:database-1")
    assert seen.health("database-1") == ["starting"]
    assert seen.records("Container", "database-1") == []
    bare.converge()


def test_lock_taken_and_nothing_done(stack: KillStack) -> None:
    before, there = stack.opened(), stack.seen()
    stack.set("cache", "eviction", "allkeys-lfu")
    seen = kill(stack, "locked")
    assert stack.opened() == before
    assert seen.containers.keys() == there.containers.keys()
    stack.converge()


def test_half_a_state_beside_the_whole_one(stack: KillStack) -> None:
    """The proxy works with new files already, but only the half-written state says so."""
    old, new = stack.change_edge()
    seen = kill(stack, f"half-a-state:{new}")
    assert_half_written(stack.state_file)
    assert old in seen.records("Files", "edge-files")[0]["outputs"]["files"]["nginx.conf"]
    assert new in stack.look("edge-files")["edge-files/nginx.conf"]
    stack.converge()


@pytest.mark.parametrize("taken_back", [False, True])
def test_half_of_the_edges_files(stack: KillStack, taken_back: bool) -> None:
    """The container that writes them is left as well. Also when the change is given up."""
    before = stack.look("edge-files")["edge-files/nginx.conf"]
    old, new = stack.change_edge()
    seen = kill(stack, "half-the-files:edge-files")
    assert seen.named("edge-files-writer") == ["edge-files-writer"]
    assert seen.records("Files", "edge-files")[0]["outputs"]["files"]["nginx.conf"] == before
    half, whole = stack.changed("edge-files", "nginx.conf", before), before.replace(old, new)
    assert whole.startswith(half)
    assert 0 < len(half) < len(whole)
    if taken_back:
        stack.project.edit(killed.EDGE_TEMPLATE, new, old)
    stack.converge()


def test_database_deleted_and_still_recorded(stack: KillStack) -> None:
    stack.grow("database")
    old = stack.seen().containers["database-1"].id
    seen = kill(stack, "deleted:database-1")
    assert seen.named("database-1") == []
    assert [
        (r["id"], r.get("pendingReplacement")) for r in seen.records("Container", "database-1")
    ] == [(old, None)]
    stack.converge()


def test_database_started_and_not_recorded(stack: KillStack) -> None:
    stack.grow("database")
    old = stack.seen().containers["database-1"].id
    seen = kill(stack, "started:database-1")
    assert seen.containers["database-1"].id not in {old, *seen.ids()}
    assert seen.containers["database-1"].status == "running"
    assert [
        (r["id"], r["pendingReplacement"]) for r in seen.records("Container", "database-1")
    ] == [(old, True)]
    stack.converge()


def test_schema_job_runs(stack: KillStack) -> None:
    stack.grow("database")
    seen = kill(stack, "job-runs:schema")
    assert seen.named("schema") == ["schema"]
    database = seen.containers["database-1"].id
    assert [r["id"] for r in seen.records("Container", "database-1")] == [database]
    assert database not in seen.records("Job", "schema")[0]["outputs"]["works_on"]
    stack.converge()


def test_old_replica_beside_the_new_one(stack: KillStack) -> None:
    stack.grow("app")
    seen = kill(stack, "deleting:app-1")
    records = seen.records("Container", "app-1")
    assert sorted(bool(r.get("delete")) for r in records) == [False, True]
    there = {seen.containers[c].id for c in seen.named("app-1")}
    assert there == {r["id"] for r in records}
    stack.converge()


def test_half_an_image(stack: KillStack) -> None:
    reference = stack.change_app()
    before = stack.opened()
    kill(stack, "half-an-image")
    assert stack.client.images.list(reference) == []
    assert stack.opened() == before
    stack.converge()
    used = {c.attrs["Config"]["Image"] for c in stack.seen().containers.values()}
    assert reference in used


def test_refresh_after_a_kill(stack: KillStack) -> None:
    """``crm refresh`` tells what the killed run had deleted; ``crm up`` brings it back."""
    stack.grow("cache")
    seen = kill(stack, "deleted:cache-1")
    assert seen.named("cache-1") == []
    assert len(seen.records("Container", "cache-1")) == 1
    run = stack.crm("refresh", "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out)["drift"] == ["Container cache-1: gone"]
    assert stack.seen().records("Container", "cache-1") == []
    stack.converge()


def test_destroy_half_done(stack: KillStack) -> None:
    """Only volumes are left, and a network's record; ``crm up`` makes the rest again."""
    seen = kill(stack, "deleted:database-network", "destroy")
    assert seen.containers == {}
    assert "database" not in seen.networks
    assert len(seen.records("Network", "database-network")) == 1
    assert "database-1-data" in seen.volumes
    stack.converge()


def test_database_stopped_by_a_destroy_that_is_killed(stack: KillStack) -> None:
    """``crm up`` does not take it for one that runs."""
    seen = kill(stack, "stopped:database-1", "destroy")
    database = seen.containers["database-1"]
    assert database.status == "exited"
    assert [r["id"] for r in seen.records("Container", "database-1")] == [database.id]
    stack.converge()


def test_second_replica_healthy_and_not_recorded(stack: KillStack) -> None:
    stack.set("app", "replicas", 2)
    seen = kill(stack, "made:app-2")
    assert seen.health("app-2") == ["healthy"]
    assert seen.records("Container", "app-2") == []
    stack.converge()
