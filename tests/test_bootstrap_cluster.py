"""What a machine lacks for the Kubernetes for tests, and what is said about it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stacks import bootstrap_install, paths
from stacks.bootstrap_facts import cluster_needs
from stacks.bootstrap_install import install_cluster_packages, install_go
from stacks.bootstrap_plan import Facts, obstacles, plan, ready_line, table
from stacks.bootstrap_run import run
from tests.cluster import needs, recipe

PACKAGES = ("containerd", "containernetworking-plugins", "etcd-server", "runc")
BARE = Facts(
    verb="cluster",
    environment="absent",
    docker="absent",
    cluster_packages=PACKAGES,
    cluster_go=needs.GO_PACKAGE,
    cluster_built=False,
)


def changed(facts: Facts, **changes: Any) -> Facts:
    return dataclasses.replace(facts, **changes)


def actions(facts: Facts) -> list[str]:
    return [step.action for step in plan(facts)]


def test_plan_of_a_cluster_on_a_bare_machine_has_every_step_in_order() -> None:
    steps = ["environment", "docker", "daemon", "cluster-packages", "go", "cluster"]
    assert actions(BARE) == steps
    assert obstacles(BARE, plan(BARE)) == []
    tests = changed(BARE, verb="test", images=("mysql:8.4.6",), registry=True)
    assert actions(tests) == [*steps[:3], "images", *steps[3:]]


def test_plan_of_a_ready_machine_is_empty() -> None:
    ready = Facts(verb="cluster", docker_detail="28.2.2")
    assert plan(ready) == []
    assert ready_line(ready) == ("Ready: Python environment, Docker 28.2.2, Kubernetes' programs.")


def test_plan_of_other_verbs_brings_no_kubernetes() -> None:
    for verb in ("up", "dev", "base"):
        assert not {"cluster-packages", "go", "cluster"} & set(actions(changed(BARE, verb=verb)))


def test_table_names_source_and_root_of_each_thing() -> None:
    text = table(BARE, plan(BARE))
    cells = [tuple(cell.strip() for cell in line.split("  ") if cell.strip()) for line in
             text.splitlines()]  # fmt: skip
    assert cells[0] == ("Missing for `make cluster`:",)
    # What docker.io brings is not named twice.
    assert cells[6:] == [
        ("Network plugins, for Kubernetes", "Debian package containernetworking-plugins", "yes"),
        ("etcd, for Kubernetes", "Debian package etcd-server", "yes"),
        ("Go, to build Kubernetes", f"package index: pip install {needs.GO_PACKAGE}, into .venv",
         "no"),
        ("Kubernetes, for tests", "built here from Go modules, about ten minutes on two cores",
         "no"),
    ]  # fmt: skip


def test_tests_without_root_go_on_without_kubernetes() -> None:
    facts = Facts(verb="test", root=False, cluster_packages=PACKAGES, cluster_built=False)
    assert plan(facts) == []
    assert obstacles(facts, []) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"root": False},
            "Kubernetes in namespaces of its own needs root: run `sudo make cluster`, and "
            "`sudo make cluster-down` to stop it",
        ),
        (
            {"apt": False, "cluster_packages": ("etcd-server",)},
            "this is not Debian, and etcd-server are Debian's names for what Kubernetes needs "
            "here: install them by this system's own means, then run `make cluster` again",
        ),
    ],
)
def test_obstacle_names_the_way_out(changes: dict[str, object], expected: str) -> None:
    facts = changed(Facts(verb="cluster", cluster_built=False), **changes)
    assert obstacles(facts, plan(facts)) == [expected]


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[list[str]]:
    """The commands that are handed to ``name`` instead of being carried out."""
    calls: list[list[str]] = []

    def record(command: list[str], *_: object, **__: object) -> bool:
        calls.append(list(command))
        return True

    monkeypatch.setattr(bootstrap_install, name, record)
    return calls


def test_install_of_packages_leaves_no_service_running(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = recorded(monkeypatch, "apt_install")
    commands = recorded(monkeypatch, "run")
    served = Path("/lib/systemd/system/etcd.service").exists()
    install_cluster_packages(changed(BARE, docker="answers", systemd=True))
    assert installed == [list(PACKAGES)]
    # One that was there before is somebody's.
    assert commands == ([] if served else [["systemctl", "disable", "--now", "etcd"]])


def test_install_of_go_goes_into_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = recorded(monkeypatch, "run")
    install_go(BARE)
    ((program, *_, package),) = commands
    assert (program, package) == (str(paths.ROOT / ".venv/bin/python"), needs.GO_PACKAGE)


def test_needs_are_found_with_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tests.cluster.needs"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == cluster_needs()


def test_needs_name_the_packages_of_missing_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "DEBIAN", {"no-such-program": "its-package", "sh": "dash"})
    assert needs.debian_packages() == ["its-package"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not recipe.is_built()


def test_go_that_is_too_old_is_not_found(tmp_path: Path) -> None:
    go = tmp_path / "go"
    for version, enough in {"go1.26.3": False, "go1.26.4": True, "go1.27": True}.items():
        go.write_text(f"#!/bin/sh\necho {version}\n")
        go.chmod(0o755)
        assert needs._is_new_enough(str(go)) is enough
    assert not needs._is_new_enough(str(tmp_path / "none"))


def test_bootstrap_knows_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "too", "many"]) == 2
    assert "| cluster |" in capsys.readouterr().err
