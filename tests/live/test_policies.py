"""A stack that a policy denies leaves nothing behind on a real Docker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import project as projects

pytestmark = pytest.mark.live

STACK = "denied"


def belongings() -> str:
    """Whatever Docker has of the stack."""
    found = ""
    for listing in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
        wanted = ["--quiet", "--filter", f"label=crm.stack={STACK}"]
        done = subprocess.run(
            ["docker", *listing, *wanted], check=True, capture_output=True, text=True
        )
        found += done.stdout
    return found


@pytest.mark.parametrize("words", [["preview"], ["up", "--yes"]], ids=lambda words: words[0])
def test_denied_stack_touches_nothing(tmp_path: Path, words: list[str]) -> None:
    project = projects.copy(tmp_path, under=(*projects.RUN_FROM, "Pulumi"))
    text = project.stack_file("dev").read_text(encoding="utf-8")
    text = text.replace("port: 8080", "port: 18397")
    project.write_stack(STACK, text + "  crm:policies:\n    production: true\n")
    done = project.crm(*words, STACK, "--engine", "embedded")
    assert done.code == 1
    assert "redundancy (mandatory): app: has 1 of the 2 replicas" in done.err
    assert belongings() == ""
    assert not list((tmp_path / ".crm" / "state").rglob(f"{STACK}.json"))
