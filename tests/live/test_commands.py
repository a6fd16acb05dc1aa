"""What people at a terminal and programs get from the verbs; ``make`` in a clean checkout."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import project as projects
from tests.live.client import call
from tests.live.stack import UP_SECONDS, Stack, prepare

pytestmark = pytest.mark.live

COUNTS = {"create", "update", "replace", "delete", "same"}
NO_DOCKER = "unix:///nonexistent.sock"


def at_terminal(stack: Stack, typed: str, *arguments: str) -> projects.Run:
    """Run ``crm`` as a person at a terminal does, who types ``typed``; its output is piped."""
    keyboard, terminal = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "stacks.cli", arguments[0], stack.name, *arguments[1:]],
            cwd=stack.project.root,
            env={**os.environ, "PYTHONPATH": str(stack.project.root)},
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(keyboard, typed.encode())
        out, err = process.communicate(timeout=UP_SECONDS)
    finally:
        os.close(keyboard)
        os.close(terminal)
    return projects.Run(process.returncode, out, err)


def checkpoint(stack: Stack) -> bytes:
    """The stack's state, as it is on disk."""
    folder = stack.project.root / ".crm/state/.pulumi/stacks/crm"
    return (folder / f"{stack.name}.json").read_bytes()


def ids(stack: Stack) -> dict[str, str]:
    return {name: str(container.id) for name, container in stack.containers().items()}


@pytest.fixture
def unchanged(dev: Stack) -> Iterator[Stack]:
    """``dev``, whose state and containers a test must leave as they are."""
    there, state, running = dev.objects(), checkpoint(dev), ids(dev)
    yield dev
    assert checkpoint(dev) == state
    assert dev.objects() == there
    assert ids(dev) == running
    assert call(f"{dev.url}/readyz").status == 200


# --- For programs --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["preview", "up", "refresh"])
def test_json_is_one_object_of_one_form(dev: Stack, verb: str) -> None:
    document = dev.run(verb, *([] if verb == "preview" else ["--yes"]))
    assert set(document) == {"result", "changes", "outputs", "seconds"}
    assert document["result"] == "succeeded"
    assert set(document["changes"]) == COUNTS
    assert all(isinstance(number, int) for number in document["changes"].values())
    assert document["outputs"] == dev.run("outputs")
    assert document["outputs"]["url"] == dev.url
    assert 0 < document["seconds"] < UP_SECONDS


def failed(done: projects.Run) -> dict[str, Any]:
    """What ``--json`` says of a failure: the same form and a message."""
    assert done.code == 1
    assert "Traceback" not in done.err
    document = json.loads(done.out)
    assert isinstance(document, dict)
    assert set(document) == {"result", "changes", "outputs", "seconds", "message"}
    assert document["result"] == "failed"
    assert set(document["changes"]) == COUNTS
    return document


@pytest.mark.parametrize("verb", ["preview", "up", "refresh", "destroy"])
def test_refusal_is_json_for_programs_and_a_sentence_for_people(
    unchanged: Stack, verb: str
) -> None:
    yes = [] if verb == "preview" else ["--yes"]
    done = unchanged.crm(verb, "--json", *yes, DOCKER_HOST=NO_DOCKER)
    document = failed(done)
    assert document["message"].startswith("Docker does not answer")
    assert done.err == f"error: {document['message']}\n"
    assert sum(document["changes"].values()) == 0


def test_destroy_with_docker_away_goes_on_protecting_data(unchanged: Stack) -> None:
    done = unchanged.crm("destroy", "--yes", "--delete-data", DOCKER_HOST=NO_DOCKER)
    assert done.code == 1
    assert "Docker does not answer" in done.err
    kept = [
        resource["urn"].rpartition("::")[2]
        for resource in json.loads(checkpoint(unchanged))["checkpoint"]["latest"]["resources"]
        if resource.get("protect")
    ]
    assert "database-1-data" in kept
    assert "database_root_password" in kept


def test_failure_of_an_up_is_json(dev: Stack) -> None:
    template, right, wrong = "templates/nginx/nginx.conf.j2", "server_name _;", "server_nam _;"
    before = ids(dev)
    dev.project.edit(template, right, wrong)
    try:
        document = failed(dev.crm("up", "--json", "--yes"))
    finally:
        dev.project.edit(template, wrong, right)
    assert 'unknown directive "server_nam"' in document["message"]
    assert document["changes"]["same"] > 20
    dev.up()
    assert ids(dev) == before


def test_progress_has_a_line_as_each_resource_begins_and_ends(dev: Stack) -> None:
    before = ids(dev)
    dev.edit("replicas: 1", "replicas: 2")
    try:
        done = dev.crm("up", "--yes")
    finally:
        dev.edit("replicas: 2", "replicas: 1")
        changes = dev.up()
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    assert lines[0] == "  create   container app-2 …"
    assert lines[1].startswith("  create   container app-2 done in ")
    then = [["create", "endpoint", "app-2-endpoint"], ["update", "files", "edge-files"]]
    assert [line.split()[:3] for line in lines[2:]] == [then[0], then[0], then[1], then[1]]
    summary, *outputs = done.out.splitlines()
    assert summary.startswith("up: succeeded in ")
    assert f"  url: {dev.url}" in outputs
    assert (changes["delete"], changes["update"]) == (2, 1)
    assert ids(dev) == before


# --- For people ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "arguments", "question"),
    [
        ("n\n", ("destroy",), "data volumes and credentials are kept."),
        ("\x04", ("destroy",), "data volumes and credentials are kept."),
        ("y\n", ("destroy", "--delete-data"), "Type its name to go on:"),
        ("\n", ("destroy", "--json"), "data volumes and credentials are kept."),
    ],
    ids=["no", "end of input", "yes in place of the name", "nothing, with --json"],
)
def test_person_who_does_not_say_yes_changes_nothing(
    unchanged: Stack, typed: str, arguments: tuple[str, ...], question: str
) -> None:
    done = at_terminal(unchanged, typed, *arguments)
    assert done.code == 1, done.err
    assert question in done.err
    assert done.err.splitlines()[-1].endswith("error: nothing was changed")
    assert "Traceback" not in done.err
    # Shown before it was asked.
    assert "delete   container app-1" in done.err
    shown = ("delete   volume database-1-data" in done.err, "--delete-data" in arguments)
    assert shown in ((True, True), (False, False))
    if "--json" in arguments:
        assert failed(done)["message"] == "nothing was changed"
    else:
        assert done.out == ""


def test_person_is_shown_an_up_and_asked_before_it(dev: Stack) -> None:
    before = ids(dev)
    old, new = ("    replicas: 1\n    cpus: 0.5\n", "    replicas: 1\n    cpus: 0.75\n")
    dev.edit(old, new)
    try:
        refused = at_terminal(dev, "n\n", "up")
        assert refused.code == 1
        assert "replace  container app-1 (" in refused.err
        assert f"Carry this out on {dev.name}? [y/N]" in refused.err
        assert ids(dev) == before
        done = at_terminal(dev, "y\n", "up")
        assert done.code == 0, done.err
        after = ids(dev)
        assert {name for name in after if after[name] != before[name]} == {"app-1"}
        assert dev.container("app-1").attrs["HostConfig"]["NanoCpus"] == 750_000_000
    finally:
        dev.edit(new, old)
        dev.up()


def test_person_is_not_asked_about_nothing(dev: Stack) -> None:
    before = ids(dev)
    done = at_terminal(dev, "", "up", "--json")
    assert done.code == 0, done.err
    assert "[y/N]" not in done.err
    assert json.loads(done.out)["changes"]["same"] > 20
    assert ids(dev) == before


# --- make ----------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Stack]:
    """A whole checkout, committed, whose environment is the one that runs this test."""
    stack = prepare(tmp_path / "project", "dev")
    root = stack.project.root
    projects.copy(root, under=("",))
    environment = root / ".venv"
    binaries = environment / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    command = binaries / "crm"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m stacks.cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    stamp = (
        "import json; from stacks import bootstrap_facts as facts; "
        "facts.STAMP.write_text(json.dumps({'root': str(facts.paths.ROOT), 'extras': 'dev', "
        "'fingerprint': facts.fingerprint()}))"
    )
    written = stack.project.python("-c", stamp)
    assert written.code == 0, written.err
    golden = stack.project.crm("render", "--all", "-o", "tests/golden")
    assert golden.code == 0, golden.err
    git(stack, "add", "--all")
    git(stack, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "all")
    try:
        yield stack
    finally:
        stack.crm("destroy", "--yes", "--delete-data")


def git(stack: Stack, *arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(
        command, cwd=stack.project.root, check=True, capture_output=True, text=True
    ).stdout


def make(stack: Stack, *verb: str) -> projects.Run:
    """``make`` in the checkout, asked nothing; it must succeed and leave git clean."""
    root = stack.project.root
    # Another CLI or configuration of this machine's is none of the checkout's.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", *verb, f"STACK={stack.name}", f"PYTHON={sys.executable}"],
        cwd=root,
        env={**kept, "PYTHONPATH": str(root), "YES": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=UP_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(stack, "status", "--porcelain") == "", verb
    return projects.Run(done.returncode, done.stdout, done.stderr)


def test_make_goes_from_up_to_down_and_leaves_git_clean(checkout: Stack) -> None:
    assert shutil.which("make"), "this test needs make; on Debian: apt-get install make"
    listed = make(checkout, "help").out
    for verb in ("up", "down", "preview", "outputs", "test", "lint", "render", "golden", "bench"):
        assert f"  {verb} " in listed
    make(checkout, "golden")
    make(checkout, "render")
    made = make(checkout, "up")
    assert f"url: {checkout.url}" in made.out
    assert call(f"{checkout.url}/readyz").status == 200
    for verb in ("up", "preview"):
        said = make(checkout, verb).out
        assert f"{verb}: succeeded" in said
        assert "(0 create, 0 delete, 0 replace, " in said
        assert ", 0 update)" in said
    assert f"url: {checkout.url}" in make(checkout, "outputs").out
    make(checkout, "down")
    data = f"crm-{checkout.name}-database-1-data"
    assert checkout.objects() == {"containers": [], "networks": [], "volumes": [data]}

    gone = at_terminal(checkout, f"{checkout.name}\n", "destroy", "--delete-data")
    assert gone.code == 0, gone.err
    assert checkout.objects() == {"containers": [], "networks": [], "volumes": []}
    make(checkout, "clean")
    assert not (checkout.project.root / ".venv").exists()
    assert (checkout.project.root / ".crm" / "passphrase").exists()


@pytest.mark.parametrize("folder", [".mypy_cache", ".ruff_cache", ".pytest_cache", ".crm", ".venv"])
def test_what_tools_leave_is_ignored(checkout_root: Path, folder: str) -> None:
    command = ["git", "check-ignore", "-q", f"{folder}/file"]
    assert subprocess.run(command, cwd=checkout_root, check=False).returncode == 0


@pytest.fixture(scope="module")
def checkout_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ignored")
    projects.copy(root, under=(".gitignore",))
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root
