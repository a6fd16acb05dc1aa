"""The workflows that people copy: what they call exists, and no secret is on a command line."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks import cli, stack_file
from stacks.paths import ROOT
from tests.project import Project

FILES = sorted((ROOT / "docs" / "ci").glob("*.yml"))


def scripts(node: Any) -> Iterator[str]:
    """The shell of each step."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("run", "script", "before_script"):
                yield from [value] if isinstance(value, str) else value
            else:
                yield from scripts(value)
    elif isinstance(node, list):
        for item in node:
            yield from scripts(item)


def text(name: str) -> str:
    return (ROOT / "docs" / "ci" / name).read_text(encoding="utf-8")


def commands(name: str) -> list[list[str]]:
    """Every call of `crm`, as words."""
    lines = [line.strip() for line in "\n".join(scripts(yaml.safe_load(text(name)))).splitlines()]
    calls = [re.split(r" (?:\|\|?|&&|>>?) ", line)[0] for line in lines if line.startswith("crm ")]
    return [shlex.split(call)[1:] for call in calls]


def test_there_is_one_for_each_host() -> None:
    assert [path.name for path in FILES] == ["github-actions.yml", "gitlab-ci.yml"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_crm_understands_what_is_called(path: Any) -> None:
    found = commands(path.name)
    assert {words[0] for words in found} == {"render", "check", "review"}
    for words in found:
        cli._parser().parse_args(words)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_secrets_are_on_no_command_line(path: Any) -> None:
    for script in scripts(yaml.safe_load(text(path.name))):
        assert not re.search(r"(secrets|github)\.\w*token", script, re.IGNORECASE)
        for line in script.splitlines():
            if "_TOKEN" in line:
                # Shells do these two by themselves.
                assert line.strip().startswith(("if [ ", "printf ")), line


def test_github_gives_no_rights_to_what_a_stranger_sends() -> None:
    found = yaml.safe_load(text("github-actions.yml"))
    # YAML 1.1 reads the key `on` as true.
    assert list(found[True]) == ["pull_request"]
    assert found["permissions"]["contents"] == "read"
    assert set(found["permissions"]) <= {"contents", "pull-requests", "security-events"}
    for script in scripts(found):
        assert "${{" not in script, "values of a pull request come as variables, never as shell"


def test_github_checks_every_stack() -> None:
    found = yaml.safe_load(text("github-actions.yml"))
    assert found["jobs"]["check"]["strategy"]["matrix"]["stack"] == stack_file.names()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_page_of_every_stack_of_both_sides_is_written(path: Path, project: Project) -> None:
    for stack in ("horizontal", "kubernetes"):
        project.stack_file(stack).unlink()

    def git(*arguments: str) -> None:
        names = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *names, *arguments], cwd=project.root, check=True)

    git("init", "--quiet")
    for rename in (None, ("vertical", "sales")):
        if rename:
            project.stack_file(rename[0]).rename(project.stack_file(rename[1]))
        git("add", "--all")
        git("commit", "--quiet", "--message", "one")
    (script,) = [s for s in scripts(yaml.safe_load(text(path.name))) if "crm review" in s]
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=project.root,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(project.root),
            "GITHUB_STEP_SUMMARY": str(project.root / "summary.md"),
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": "HEAD^1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (project.root / "review.md").read_text()
    assert re.findall(r"^# What changes for `(\w+)`$", page, re.MULTILINE) == [
        *("dev", "sales", "vertical")
    ]
    for fact in ("nothing of what runs", "this stack is new", "this stack is removed"):
        assert page.count(f"- **What changes:** {fact}") == 1
