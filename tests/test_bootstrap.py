"""What a machine is found to lack, what is said about it, and that nothing is touched before."""

import dataclasses
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stacks import bootstrap_facts, bootstrap_install, paths
from stacks.bootstrap_facts import docker_state, environment_state
from stacks.bootstrap_install import install_environment, wait_for_daemon
from stacks.bootstrap_plan import GIB, Facts, obstacles, plan, ready_line, table
from stacks.bootstrap_run import run
from stacks.errors import CrmError

FRESH = Facts(
    verb="up",
    stack="dev",
    venv_module=False,
    python="3.13",
    environment="absent",
    docker="absent",
    docker_detail="/var/run/docker.sock",
    images=None,
    registry=False,
    debootstrap=False,
    pulumi=False,
)


def changed(facts: Facts, **changes: Any) -> Facts:
    return dataclasses.replace(facts, **changes)


def actions(facts: Facts) -> list[str]:
    return [step.action for step in plan(facts)]


def test_plan_of_a_fresh_machine_has_every_step_in_order() -> None:
    assert actions(FRESH) == ["python", "environment", "docker", "daemon", "debootstrap", "images"]
    assert obstacles(FRESH, plan(FRESH)) == []


def test_plan_of_a_ready_machine_is_empty() -> None:
    ready = Facts(verb="up", stack="dev", docker_detail="28.2.2")
    assert plan(ready) == []
    assert obstacles(ready, []) == []
    assert ready_line(ready) == "Ready: Python environment, Docker 28.2.2, images; Pulumi CLI."


def test_plan_with_a_registry_needs_no_debootstrap() -> None:
    facts = changed(FRESH, registry=True)
    assert "debootstrap" not in actions(facts)
    assert "pulled from its registry" in table(facts, plan(facts))


def test_plan_with_docker_stopped_only_starts_it() -> None:
    facts = Facts(verb="up", stack="dev", docker="stopped", systemd=True)
    (step,) = plan(facts)
    assert step.title == "Docker's daemon: systemctl start docker"


@pytest.mark.parametrize("verb", ["dev", "base"])
def test_plan_without_docker_when_the_verb_needs_none(verb: str) -> None:
    facts = changed(FRESH, verb=verb, free_bytes=100 * GIB)
    assert actions(facts) == ["python", "environment"]
    assert "Docker" not in table(facts, plan(facts))


def test_stack_for_a_cluster_needs_no_docker(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "ROOT", checkout)
    for stack, needs in (("dev", True), ("kubernetes", False), ("no-such", True)):
        assert bootstrap_facts.is_for_docker(stack) is needs, stack
    facts = changed(FRESH, verb="base", stack="kubernetes")
    assert actions(facts) == ["python", "environment"]
    assert table(facts, plan(facts)).startswith("Missing for `make up STACK=kubernetes`:")


def test_images_of_a_registry_of_ones_own_are_not_for_every_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [
        "mysql:9",
        "bitnami/redis:8",
        "registry.example.com/crm/crm-app:1",
        "localhost:5000/a:1",
    ]
    said = json.dumps({"images": [{"reference": name, "state": "missing"} for name in names]})
    done = subprocess.CompletedProcess[str]([], 0, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert bootstrap_facts.missing_images(None) == ("mysql:9", "bitnami/redis:8")
    assert bootstrap_facts.missing_images("sales") == tuple(names)


def test_plan_installs_the_tools_only_for_those_who_test() -> None:
    assert "pip install -e ., into" in table(FRESH, plan(FRESH))
    facts = changed(FRESH, verb="test", stack=None)
    assert "pip install -e .[dev], into" in table(facts, plan(facts))
    assert "Images of every stack, those missing" in table(facts, plan(facts))


def test_table_names_source_and_root_of_each_thing() -> None:
    images = ("crm-app:0123456789ab", "mysql:8.4.6")
    facts = Facts(verb="up", stack="horizontal", images=images, registry=False, debootstrap=True)
    text = table(facts, plan(facts))
    lines = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    built = "built here from Debian packages (no registry answers); not for production"
    assert cells == [
        ["Missing for `make up STACK=horizontal`:"],
        [],
        ["what", "from", "root"],
        ["Image crm-app", "built here from app/", "no"],
        ["Image mysql:8.4.6", built, "yes"],
    ]


def test_table_says_which_engine_deploys_without_the_cli() -> None:
    text = table(FRESH, plan(FRESH))
    assert text.endswith(
        "No Pulumi CLI on PATH, so the embedded engine deploys "
        "(to get the CLI: pulumi.com/docs/install)."
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"docker": "forbidden", "docker_detail": "/var/run/docker.sock"},
            "/var/run/docker.sock refuses this user: run `sudo usermod -aG docker $USER`, "
            "log out and in, then run `make up` again",
        ),
        (
            {"docker": "absent", "apt": False, "stack": "vertical"},
            "Docker is not installed and this is not Debian: install Docker by this system's own "
            "means, start it, see that `docker info` answers, then run `make up STACK=vertical` "
            "again",
        ),
        (
            {"docker": "absent", "root": False},
            "Docker is not installed and installing it needs root: run `sudo apt-get install "
            "docker.io && sudo usermod -aG docker $USER`, log out and in, then run `make up` again",
        ),
        (
            {"docker": "stopped", "root": False, "systemd": True},
            "Docker is installed but not running: run `sudo systemctl start docker`, "
            "then run `make up` again",
        ),
        (
            {"docker": "remote", "docker_detail": "tcp://build:2375"},
            "DOCKER_HOST is tcp://build:2375 and does not answer: start the daemon there, "
            "or unset DOCKER_HOST to use this machine's, then run `make up` again",
        ),
        (
            {"docker": "elsewhere"},
            "the docker client reaches its daemon through a context, which other programs do not "
            "read: run `export DOCKER_HOST=$(docker context inspect --format "
            "'{{.Endpoints.docker.Host}}')`, then run `make up` again",
        ),
        (
            {"environment": "absent", "venv_module": False, "root": False, "python": "3.12"},
            "Python 3.12 here cannot make environments: run: sudo apt-get install python3.12-venv; "
            "then run `make up` again",
        ),
        (
            {"images": ("nginx:1.30.0",), "registry": False, "root": False},
            "no image registry answers, and building the images from Debian packages needs root: "
            "run `sudo .venv/bin/python -m stacks.images ensure nginx:1.30.0`, or bring them with "
            "`docker load`; then run `make up` again",
        ),
        (
            {"images": ("nginx:1.30.0",), "registry": False, "debootstrap": False, "apt": False},
            "no image registry answers, and building the images from Debian packages needs "
            "debootstrap: install it with this system's package manager, then run `make up` again",
        ),
        (
            {"images": ("nginx:1.30.0",), "free_bytes": 3 * GIB},
            "3.0 GiB of disk are free and 6 GiB are needed: free some (docker system prune removes "
            "what no container uses), then run `make up` again",
        ),
    ],
)
def test_obstacle_names_the_way_out(changes: dict[str, object], expected: str) -> None:
    facts = changed(Facts(verb="up", stack="dev"), **changes)
    assert obstacles(facts, plan(facts)) == [expected]


def test_obstacle_of_root_waits_until_images_are_known_to_be_missing() -> None:
    facts = Facts(
        verb="up", stack="dev", environment="stale", images=None, registry=False, root=False
    )
    assert obstacles(facts, plan(facts)) == []


def test_obstacle_of_a_full_disk_does_not_stop_a_ready_machine() -> None:
    facts = Facts(verb="up", stack="dev", free_bytes=0)
    assert obstacles(facts, plan(facts)) == []


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment as an earlier run for `make up` left it."""
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(bootstrap_facts, "ENVIRONMENT", folder)
    monkeypatch.setattr(bootstrap_facts, "STAMP", folder / "stamp.json")
    stamp(folder)
    return folder


def stamp(folder: Path, **changes: str) -> None:
    content = {"fingerprint": bootstrap_facts.fingerprint(), "extras": "", "root": str(paths.ROOT)}
    (folder / "stamp.json").write_text(json.dumps({**content, **changes}))


def test_environment_for_up_lacks_only_the_tools_for_test(environment: Path) -> None:
    assert environment_state("up") == "ready"
    assert environment_state("test") == "stale"
    stamp(environment, extras="dev")
    assert environment_state("up") == "ready"
    assert environment_state("test") == "ready"


def test_environment_is_stale_when_pyproject_changed(environment: Path) -> None:
    stamp(environment, fingerprint="of another pyproject.toml")
    assert environment_state("up") == "stale"


def test_environment_is_stale_when_its_installation_was_killed(environment: Path) -> None:
    (environment / "stamp.json").unlink()
    assert environment_state("up") == "stale"
    (environment / "stamp.json").write_text('{"finge')
    assert environment_state("up") == "stale"


def test_environment_is_broken_when_moved_or_its_python_is_gone(environment: Path) -> None:
    stamp(environment, root="/somewhere/else")
    assert environment_state("up") == "broken"
    (environment / "bin/python").unlink()
    (environment / "bin/python").symlink_to("/gone/python3")
    assert environment_state("up") == "broken"
    shutil.rmtree(environment)
    assert environment_state("up") == "absent"


def test_install_environment_that_fails_leaves_no_stamp(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (environment / "bin/python").unlink()
    (environment / "bin/python").symlink_to("/bin/false")
    monkeypatch.setattr(bootstrap_install, "ENVIRONMENT", environment)
    monkeypatch.setattr(bootstrap_install, "STAMP", environment / "stamp.json")
    monkeypatch.setattr(bootstrap_install, "LOG", tmp_path / "bootstrap.log")
    with pytest.raises(
        CrmError, match=r"`python -m pip install .*failed: exit code 1.*PIP_INDEX_URL"
    ):
        install_environment(Facts(verb="test"))
    assert not (environment / "stamp.json").exists()


def test_run_names_the_last_error_and_keeps_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "bootstrap.log"
    monkeypatch.setattr(bootstrap_install, "LOG", log)
    script = "echo reading; echo 'E: no such package'; exit 100"
    with pytest.raises(CrmError, match=r"`sh .*` failed: E: no such package; .*bootstrap\.log"):
        bootstrap_install.run(["sh", "-c", script])
    assert "reading\nE: no such package\n" in log.read_text()
    assert not bootstrap_install.run(["no-such-program-here"], required=False)


def test_docker_state_of_a_named_daemon_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = f"unix://{tmp_path}/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", host)
    assert docker_state() == ("remote", host)


def test_wait_for_daemon_that_dies_says_what_its_log_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr(bootstrap_install, "DAEMON_LOG", tmp_path / "dockerd.log")
    monkeypatch.setattr(bootstrap_install, "DAEMON_SECONDS", 0.5)
    (tmp_path / "dockerd.log").write_text("level=info\nfailed to start daemon: no cgroups\n")
    process = subprocess.Popen(["false"])
    with pytest.raises(CrmError, match=r"does not answer after 1 s: .*no cgroups; its log"):
        wait_for_daemon(process)


@pytest.mark.live
def test_docker_state_of_the_daemon_here(monkeypatch: pytest.MonkeyPatch) -> None:
    state, version = docker_state()
    assert state == "answers"
    assert version[0].isdigit()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone's bare essentials, with no environment."""
    shutil.copytree(paths.ROOT / "stacks", tmp_path / "stacks")
    for name in ("pyproject.toml", "Makefile"):
        shutil.copy(paths.ROOT / name, tmp_path)
    return tmp_path


def environ(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in {"YES", "MAKEFLAGS"}}
    return {**kept, **changes}


def test_bootstrap_that_cannot_go_on_touches_nothing(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "stacks/bootstrap.py", "up"],
        cwd=checkout,
        env=environ(DOCKER_HOST=f"unix://{checkout}/none.sock"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Missing for `make up`:" in done.stdout
    assert done.stderr.startswith(f"error: DOCKER_HOST is unix://{checkout}/none.sock and does not")
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".crm").exists()


@pytest.mark.parametrize(
    ("stack", "sentence"),
    [
        ("nope", "there is no such stack (there are: dev, horizontal, kubernetes, vertical)"),
        ("kubernets", "there is no such stack; did you mean 'kubernetes'? (there are: dev, "),
        ("../x", "'../x' cannot be a stack's name; write lower-case letters, "),
        ("Dev", "for example Pulumi.sales.yaml (there are: dev, horizontal, kubernetes, vertical)"),
        ("dev-", "no dash last"),
    ],
)
def test_bootstrap_of_a_stack_there_is_not_touches_nothing(
    checkout: Path, stack: str, sentence: str
) -> None:
    done = subprocess.run(
        # Without site-packages: as on a machine that has nothing yet.
        [sys.executable, "-I", "-S", "stacks/bootstrap.py", "up", stack],
        cwd=checkout,
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: stacks/config/Pulumi.{stack}.yaml: ")
    assert sentence in done.stderr
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".crm").exists()


def test_bootstrap_without_the_default_stacks_file_touches_nothing(checkout: Path) -> None:
    (checkout / "stacks/config/Pulumi.dev.yaml").unlink()
    done = make(checkout, "up")
    assert done.returncode != 0
    assert "Pulumi.dev.yaml: there is no such stack (there are: horizontal" in done.stderr
    assert "Missing" not in done.stdout
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"])
def test_bootstrap_on_a_terminal_asks_and_takes_no_for_an_answer(
    checkout: Path, answer: bytes
) -> None:
    terminal, child = pty.openpty()
    try:
        os.write(terminal, answer)
        done = subprocess.run(
            [sys.executable, "-m", "stacks.bootstrap", "base"],
            cwd=checkout,
            env=environ(),
            stdin=child,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(child)
    assert done.returncode in {1, 130}
    assert "Install all of this? [y/N]" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_run_with_an_unknown_verb_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fly"]) == 2
    assert capsys.readouterr().err.startswith("usage: python3 -m stacks.bootstrap up [STACK]")


def test_bootstrap_starts_with_the_standard_library_alone() -> None:
    program = "import sys; sys.argv[1:] = ['x']; import stacks.bootstrap as b; b.main()"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {program}"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.startswith("usage:"), done.stderr


def make(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env=environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_with_an_old_python_says_so(checkout: Path) -> None:
    old = checkout / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(checkout, "up", f"PYTHON={old}")
    assert done.returncode != 0
    assert done.stderr.startswith(f"error: {old} is missing or older than 3.11; install Python")


def test_make_help_lists_every_verb(checkout: Path) -> None:
    listed = {line.split()[0] for line in make(checkout).stdout.splitlines() if line[:2] == "  "}
    verbs = {"up", "down", "preview", "outputs", "test", "lint", "render", "golden", "bench"}
    assert listed == verbs | {"cluster", "cluster-down", "help", "clean"}
    assert not (checkout / ".crm").exists()
