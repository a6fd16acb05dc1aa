"""``kill -9`` of ``crm up`` by the Pulumi CLI, with all it had started: the next one converges.

The CLI has no place to step in, so it is watched from outside. It writes an operation into the
state file before it asks a provider for it: from there on its process is stopped again and again,
the provider goes on until Docker shows what the test waits for, and all of them are killed. Where
a provider of our own has to be caught in the middle, it is held there (``tests.live.kill``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stacks.paths import ROOT
from tests import pulumi_cli
from tests.live import killed
from tests.live.killed import KillStack, Seen
from tests.live.processes import EndedError, Processes, until

pytestmark = [pytest.mark.live, *pulumi_cli.NEEDED]

HOLD = """
import os, sys
if "pulumi.dynamic" in sys.orig_argv and "KILL_AT" in os.environ:
    from tests.live import kill
    kill.arm(os.environ["KILL_AT"], os.environ["KILL_STACK"])
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillStack]:
    """The stack, perhaps deployed by a test before this one."""
    with killed.made(tmp_path_factory.mktemp("kill") / "project", "pulumi") as stack:
        yield stack


@pytest.fixture
def stack(bare: KillStack) -> KillStack:
    """The stack, deployed and well."""
    return bare.well()


# --- Killing -------------------------------------------------------------------------------------


def mark_of(stack: KillStack) -> Path:
    """What a provider that is held somewhere has written there."""
    return stack.project.root.parent / "mark"


def start(stack: KillStack, verb: str, hold: str = "") -> Processes:
    """Start ``crm``; with ``hold`` its dynamic provider stops for good at that place."""
    held = stack.project.root.parent / "hold"
    held.mkdir(exist_ok=True)
    (held / "sitecustomize.py").write_text(HOLD, encoding="utf-8")
    mark = mark_of(stack)
    mark.unlink(missing_ok=True)
    stack.is_well = False
    path = os.pathsep.join([str(stack.project.root), *([str(held), str(ROOT)] if hold else ())])
    extra = {"KILL_AT": hold, "KILL_MARK": str(mark), "KILL_STACK": stack.name, "KILL_HOLD": "1"}
    return Processes(
        [
            *(sys.executable, "-m", "stacks.cli"),
            *(verb, stack.name, "--engine", "pulumi", "--yes"),
        ],
        stack.project.root,
        {**os.environ, "PYTHONPATH": path, **(extra if hold else {})},
    )


def advance(holds: Callable[[], Any], running: Processes) -> None:
    """Let the CLI do a little at a time, and its providers as much as they want, until ``holds``.

    It may ask for something, but cannot write down what came of it before it is seen.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        running.signal(signal.SIGSTOP, "pulumi")
        for _ in range(4):
            if holds():
                return
            time.sleep(0.05)
        running.signal(signal.SIGCONT, "pulumi")
        time.sleep(0.005)
    raise AssertionError(f"waited in vain; it said: {running.said}")


def locks(stack: KillStack) -> list[dict[str, Any]]:
    """The CLI's locks on the stack."""
    folder = stack.project.root / f".crm/state/.pulumi/locks/organization/crm/{stack.name}"
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def pending(stack: KillStack) -> set[tuple[str, str, str]]:
    """What the state says has begun: (operation, kind, name)."""
    try:
        operations = stack.state().get("pending_operations") or []
    except ValueError:
        return set()  # It is being written.
    return {
        (
            str(o["type"]),
            str(o["resource"]["type"]).rpartition(":")[2],
            str(o["resource"]["urn"]).rpartition("::")[2],
        )
        for o in operations
    }


def kill(
    stack: KillStack,
    operation: str,
    kind: str,
    name: str,
    then: Callable[[Seen], Any],
    *,
    verb: str = "up",
    hold: str = "",
) -> Seen:
    """Kill ``crm`` when the state says that ``operation`` has begun and Docker shows ``then``, or
    when its provider got to the place ``hold``."""
    wanted = (operation, kind, name)
    stale = wanted in pending(stack)
    # A container into which files are being sent cannot even be looked at.
    is_there = mark_of(stack).exists if hold else lambda: then(stack.seen())
    running = start(stack, verb, hold)
    try:
        if stale:
            until(lambda: wanted not in pending(stack), "its recovery", running)
        until(lambda: wanted in pending(stack), " ".join(wanted), running)
        [lock] = locks(stack)
        assert running.all()[lock["pid"]] == "pulumi"
        advance(is_there, running)
    finally:
        running.kill()
    assert wanted in pending(stack)
    assert locks(stack) == [lock]
    seen = stack.seen()
    assert then(seen)
    return seen


def killed_when(stack: KillStack, holds: Callable[[Processes], Any]) -> None:
    """Kill ``crm up`` at an instant that it does not stay in: where it is seen, all is stopped."""
    running = start(stack, "up")
    try:
        while True:
            until(lambda: holds(running), "the instant", running, rest_seconds=0)
            running.signal(signal.SIGSTOP)
            if holds(running):
                return
            running.signal(signal.SIGCONT)
    finally:
        running.kill()


# --- The instants --------------------------------------------------------------------------------


def test_first_deployment_killed_three_times(bare: KillStack) -> None:
    """While the secrets are made; with a network made and not recorded; with a database at work
    on its first files that is not recorded either."""
    secret = ("creating", "GeneratedSecret", "database_root_password")
    seen = kill(bare, *secret, lambda _: True, hold="secret")
    assert seen.records(*secret[1:]) == []
    assert seen.containers == {}

    seen = kill(bare, "creating", "Network", "database-network", lambda s: "database" in s.networks)
    assert seen.networks["database"] not in seen.ids()

    seen = kill(bare, "creating", "Container", "database-1", lambda s: s.health("database-1"))
    assert seen.health("database-1") == ["starting"]
    assert seen.records("Container", "database-1") == []
    bare.converge()


def test_lock_taken_and_nothing_done(stack: KillStack) -> None:
    before, there = stack.opened(), stack.seen()
    stack.set("cache", "eviction", "allkeys-lfu")
    killed_when(stack, lambda running: {lock["pid"] for lock in locks(stack)} & set(running.all()))
    assert len(locks(stack)) == 1
    assert pending(stack) == set()
    assert stack.opened() == before
    assert stack.seen().containers.keys() == there.containers.keys()
    stack.converge()


def test_half_a_state_beside_the_whole_one(stack: KillStack) -> None:
    """Killed while the CLI wrote the state: the next file lies beside it, and is not it."""
    folder = stack.state_file.parent

    def unfinished() -> list[Path]:
        return list(folder.glob(f"{stack.name}.json.*.tmp"))

    for _ in range(10):  # The instant is short, and may pass unseen.
        stack.change_edge()
        with suppress(EndedError):
            killed_when(stack, lambda _: unfinished())
            break
    assert len(unfinished()) == 1
    assert stack.state()["resources"]
    assert len(locks(stack)) == 1
    stack.converge()
    assert unfinished() == []


@pytest.mark.parametrize("taken_back", [False, True])
def test_half_of_the_edges_files(stack: KillStack, taken_back: bool) -> None:
    """The container that writes them is left as well. Also when the change is given up."""
    before = stack.look("edge-files")["edge-files/nginx.conf"]
    old, new = stack.change_edge()
    seen = kill(
        stack,
        *("updating", "Files", "edge-files"),
        lambda s: s.named("edge-files-writer"),
        hold="half-the-files:edge-files",
    )
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
    seen = kill(stack, "deleting", "Container", "database-1", lambda s: not s.named("database-1"))
    assert [r["id"] for r in seen.records("Container", "database-1")] == [old]
    stack.converge()


def test_database_healthy_and_not_recorded(stack: KillStack) -> None:
    stack.grow("database")
    old = stack.seen().containers["database-1"].id

    seen = kill(
        stack,
        *("creating", "Container", "database-1"),
        lambda s: s.health("database-1") == ["healthy"] and s.containers["database-1"].id != old,
    )
    assert seen.containers["database-1"].id not in seen.ids()
    stack.converge()


def test_schema_job_runs(stack: KillStack) -> None:
    stack.grow("database")
    seen = kill(
        stack,
        *("updating", "Job", "schema"),
        lambda s: s.named("schema"),
        hold="job-runs:schema",
    )
    assert json.loads(mark_of(stack).read_text())["detail"] == "running"
    database = seen.containers["database-1"].id
    assert [r["id"] for r in seen.records("Container", "database-1")] == [database]
    assert database not in seen.records("Job", "schema")[0]["outputs"]["works_on"]
    stack.converge()


def test_old_replica_beside_the_new_one(stack: KillStack) -> None:
    stack.grow("app")
    two = ("updating", "Endpoint", "app-1-endpoint", lambda s: len(s.named("app-1")) == 2)
    seen = kill(stack, *two)
    records = seen.records("Container", "app-1")
    assert sorted(bool(r.get("delete")) for r in records) == [False, True]
    assert {seen.containers[c].id for c in seen.named("app-1")} == {r["id"] for r in records}
    stack.converge()


def test_second_replica_not_recorded_and_not_wanted_any_more(stack: KillStack) -> None:
    stack.set("app", "replicas", 2)
    seen = kill(stack, "creating", "Container", "app-2", lambda s: s.named("app-2"))
    assert seen.records("Container", "app-2") == []
    stack.set("app", "replicas", 1)
    stack.converge()


def test_lock_of_a_killed_run_cancelled_by_hand(stack: KillStack) -> None:
    """The other engine says what to do; ``pulumi cancel`` takes the lock, and leaves the rest."""
    stack.grow("cache")
    kill(stack, "creating", "Container", "cache-1", lambda s: s.named("cache-1"))
    run = stack.project.crm("handover", stack.name, "--to", "embedded")
    assert run.code == 1
    assert f"it was killed; to go on: crm up {stack.name} --engine pulumi" in run.err
    done = subprocess.run(
        ["pulumi", "cancel", "--yes", "--stack", stack.name],
        cwd=stack.project.root,
        env={**os.environ, "PULUMI_BACKEND_URL": f"file://{stack.state_file.parents[3]}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert locks(stack) == []
    assert pending(stack) != set()
    stack.converge()


def test_database_stopped_by_a_destroy_that_is_killed(stack: KillStack) -> None:
    """The daemon stops it all the same; ``crm up`` does not take it for one that runs."""
    seen = kill(
        stack,
        *("deleting", "Container", "database-1"),
        lambda s: b"Received SHUTDOWN" in s.containers["database-1"].logs(),
        verb="destroy",
    )
    [record] = seen.records("Container", "database-1")
    assert record["id"] == seen.containers["database-1"].id
    stack.converge()


def test_deleted_by_a_run_whose_change_is_taken_back(stack: KillStack) -> None:
    text = (stack.project.root / stack.path).read_text(encoding="utf-8")
    stack.grow("cache")
    seen = kill(stack, "deleting", "Container", "cache-1", lambda s: not s.named("cache-1"))
    assert len(seen.records("Container", "cache-1")) == 1
    stack.project.write_stack(stack.name, text)
    stack.converge()


def test_refresh_after_a_kill(stack: KillStack) -> None:
    """``crm refresh`` clears up like ``crm up``, which then goes on."""
    stack.grow("cache")
    seen = kill(stack, "creating", "Container", "cache-1", lambda s: s.named("cache-1"))
    assert seen.containers["cache-1"].id not in seen.ids()
    run = stack.crm("refresh")
    assert run.code == 0, run.err
    assert locks(stack) == []
    assert pending(stack) == set()
    assert stack.seen().named("cache-1") == []
    stack.converge()


@pytest.mark.parametrize(
    ("kind", "name"), [("Network", "database-network"), ("Volume", "database-1-files")]
)
def test_destroy_half_done(stack: KillStack, kind: str, name: str) -> None:
    """Something is gone and its record is left; ``crm up`` makes what is missing again."""
    seen = kill(
        stack,
        *("deleting", kind, name),
        lambda s: name.removesuffix("-network") not in {*s.networks, *s.volumes},
        verb="destroy",
    )
    assert [c for c in seen.containers if c.startswith("database")] == []
    assert len(seen.records(kind, name)) == 1
    assert "database-1-data" in seen.volumes
    stack.converge()


def test_second_run_at_the_same_time_is_refused(stack: KillStack) -> None:
    stack.set("cache", "ttl_seconds", 200)
    first = start(stack, "up")
    try:
        until(lambda: locks(stack), "its lock", first)
        first.signal(signal.SIGSTOP)  # however fast this machine is
        [lock] = locks(stack)
        assert lock["pid"] in first.all()
        second = stack.crm("up")
        first.signal(signal.SIGCONT)
        assert first.first.wait(timeout=120) == 0, first.said
    finally:
        if first.all():
            first.kill()
    assert second.code == 1
    assert f"process {lock['pid']}); wait for it to end" in second.err
    assert "Traceback" not in second.err
    stack.assert_well()


def test_destroy_after_a_kill_leaves_nothing(stack: KillStack) -> None:
    stack.grow("app")
    seen = kill(stack, "creating", "Container", "app-1", lambda s: len(s.named("app-1")) == 2)
    assert len(seen.records("Container", "app-1")) == 1
    run = stack.crm("destroy", "--delete-data")
    assert run.code == 0, run.err
    seen = stack.seen()
    assert (seen.containers, seen.networks, seen.volumes, seen.resources) == ({}, {}, set(), [])
