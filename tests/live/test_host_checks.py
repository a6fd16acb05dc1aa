"""What this machine cannot carry is refused before anything is touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

from tests import project as projects
from tests.live.client import call
from tests.live.ports import free_port
from tests.live.stack import Stack, prepare

pytestmark = pytest.mark.live

NOTHING: dict[str, list[str]] = {"containers": [], "networks": [], "volumes": []}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A ``dev`` stack that was never deployed."""
    return prepare(tmp_path / "project", "dev")


def one_sentence(done: projects.Run) -> str:
    """What a refusal says: one line, and nothing else anywhere."""
    assert done.code == 1, done.out + done.err
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def refused(stack: Stack, verb: str, *arguments: str, **environment: str) -> str:
    """What ``verb`` says when it refuses, having made nothing."""
    said = one_sentence(stack.crm(verb, *arguments, **environment))
    assert stack.objects() == NOTHING
    assert not list(stack.project.root.glob(f".crm/state/**/{stack.name}*"))
    return said


def machine() -> tuple[int, int]:
    """This machine's CPUs and memory in MiB."""
    info = docker.from_env().info()
    return int(info["NCPU"]), int(info["MemTotal"]) // 2**20


@pytest.mark.parametrize("verb", ["up", "preview"])
def test_more_memory_than_there_is(stack: Stack, verb: str) -> None:
    _, memory = machine()
    # Each alone would fit; together they do not.
    half = memory // 2
    stack.edit("    memory_mib: 640", f"    memory_mib: {half}")
    stack.edit("    memory_mib: 256", f"    memory_mib: {half}")
    said = refused(stack, verb, *(["--yes"] if verb == "up" else []))
    total = 2 * half + 64 + 64
    assert said.startswith(f"{stack.file}: crm:*.memory_mib: ")
    assert f"database 1 × {half} + cache 1 × 64 + app 1 × {half} + edge 1 × 64 = {total}" in said
    assert f"this machine has {memory}" in said


def test_memory_is_summed_over_replicas(stack: Stack) -> None:
    _, memory = machine()
    share = memory // 3
    stack.edit("replicas: 1", "replicas: 4")
    stack.edit("    memory_mib: 256", f"    memory_mib: {share}")
    assert f"app 4 × {share}" in refused(stack, "up", "--yes")


@pytest.mark.parametrize(
    ("tier", "line"),
    [("database", "    cpus: 1\n"), ("cache", "    cpus: 0.25\n")],
)
def test_more_cpus_than_there_are(stack: Stack, tier: str, line: str) -> None:
    cpus, _ = machine()
    stack.edit(line, f"    cpus: {cpus + 1}\n")
    said = refused(stack, "up", "--yes")
    assert said == (
        f"{stack.file}: crm:{tier}.cpus: {cpus + 1} CPUs, but this machine has {cpus}; "
        f"write {cpus} or less"
    )


def test_as_many_cpus_as_there_are_is_no_reason_to_refuse(stack: Stack) -> None:
    cpus, _ = machine()
    stack.edit("    cpus: 1\n", f"    cpus: {cpus}\n")
    assert stack.run("preview")["result"] == "succeeded"


@pytest.mark.parametrize("verb", ["up", "preview"])
def test_port_that_another_program_holds(stack: Stack, verb: str) -> None:
    with socket.create_server(("127.0.0.1", stack.port)):
        said = refused(stack, verb, *(["--yes"] if verb == "up" else []))
    assert said.startswith(f"{stack.file}: crm:edge.port: 127.0.0.1:{stack.port} cannot be used")
    assert "Address already in use" in said
    assert "another program" in said
    # The listener is gone, and so is the reason.
    assert stack.run("preview")["result"] == "succeeded"


def test_port_that_another_stack_holds_names_its_container(stack: Stack, dev: Stack) -> None:
    stack.edit(f"port: {stack.port}", f"port: {dev.port}")
    said = refused(stack, "up", "--yes")
    assert f"{stack.file}: crm:edge.port: 127.0.0.1:{dev.port}" in said
    assert f"crm-{dev.name}-edge" in said
    assert call(f"{dev.url}/readyz").status == 200


def test_own_port_is_no_reason_to_refuse(dev: Stack) -> None:
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", dev.port))
    before = {name: container.id for name, container in dev.containers().items()}
    changes = dev.up()
    assert sum(changes.values()) == changes["same"]
    assert {name: container.id for name, container in dev.containers().items()} == before


def test_new_port_that_is_taken_leaves_the_running_stack_alone(dev: Stack) -> None:
    taken = free_port()
    before = {name: container.id for name, container in dev.containers().items()}
    dev.edit(f"port: {dev.port}", f"port: {taken}")
    try:
        with socket.create_server(("127.0.0.1", taken)):
            said = one_sentence(dev.crm("up", "--yes"))
    finally:
        dev.edit(f"port: {taken}", f"port: {dev.port}")
    assert f"crm:edge.port: 127.0.0.1:{taken} cannot be used" in said
    assert {name: container.id for name, container in dev.containers().items()} == before
    assert call(f"{dev.url}/readyz").status == 200


@pytest.mark.parametrize("verb", ["up", "preview"])
@pytest.mark.parametrize("host", ["unix:///nonexistent.sock", "tcp://127.0.0.1:1"])
def test_docker_that_does_not_answer(stack: Stack, verb: str, host: str) -> None:
    arguments = ["--yes"] if verb == "up" else []
    said = refused(stack, verb, *arguments, DOCKER_HOST=host)
    assert said.startswith("Docker does not answer (")
    assert "systemctl start docker" in said


def test_docker_that_does_not_answer_when_a_stack_is_to_go(dev: Stack) -> None:
    state = dev.project.root / f".crm/state/.pulumi/stacks/crm/{dev.name}.json"
    before = state.read_bytes()
    done = dev.crm("destroy", "--yes", DOCKER_HOST="unix:///nonexistent.sock")
    assert done.code == 1
    assert "Docker does not answer" in done.err
    assert "Traceback" not in done.err
    assert call(f"{dev.url}/readyz").status == 200
    resources = dev.crm("preview", "--json")
    assert resources.code == 0, resources.err
    assert b"database-1-data" in before
    assert b"database-1-data" in state.read_bytes()


@pytest.mark.parametrize("verb", ["up", "preview", "destroy", "refresh", "outputs"])
def test_stack_there_is_not(stack: Stack, verb: str) -> None:
    unknown = f"{stack.name[:-1]}w"
    arguments = ["--yes"] if verb in ("up", "destroy", "refresh") else []
    said = one_sentence(stack.project.crm(verb, unknown, *arguments))
    assert said.startswith(f"stacks/config/Pulumi.{unknown}.yaml: there is no such stack")
    assert f"did you mean '{stack.name}'?" in said
    assert not (stack.project.root / ".crm" / "state").exists()


def test_stack_that_was_never_deployed_has_no_outputs(stack: Stack) -> None:
    assert refused(stack, "outputs") == f"{stack.name}: not deployed yet; run: crm up {stack.name}"


def test_two_at_once(stack: Stack, tmp_path: Path) -> None:
    lock = stack.project.root / f".crm/state/{stack.name}.lock"
    printed = tmp_path / "printed"
    with printed.open("wb") as file:
        first = subprocess.Popen(
            [sys.executable, "-m", "stacks.cli", "up", stack.name, "--engine", "embedded", "--yes"],
            cwd=stack.project.root,
            env={**os.environ, "PYTHONPATH": str(stack.project.root)},
            stdout=file,
            stderr=file,
        )
    try:
        # It plans first, without the lock; whoever starts once it is held must be refused.
        deadline = time.monotonic() + 300
        while not (lock.exists() and lock.read_text() == str(first.pid)):
            assert first.poll() is None, printed.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # So that it still runs, however slow the others are, or there would be nothing to refuse.
        first.send_signal(signal.SIGSTOP)
        for verb in ("up", "refresh", "destroy"):
            second = stack.crm(verb, "--yes")
            assert first.poll() is None, printed.read_text()
            assert second.code == 1
            assert "Traceback" not in second.err
            assert f"{stack.name}: process {first.pid} is changing this stack" in second.err
            assert "wait for it to end" in second.err
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=900) == 0, printed.read_text()
        assert call(f"{stack.url}/readyz").status == 200
        changes = stack.up()
        assert sum(changes.values()) == changes["same"]
    finally:
        first.kill()
        first.wait()
        stack.crm("destroy", "--yes", "--delete-data")
    assert stack.objects() == NOTHING
