"""The real CLI reads what the embedded engine wrote, takes the stack over and gives it back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import pulumi_cli
from tests.embedded.conftest import Project
from tests.embedded.names import STACK
from tests.embedded.test_engine import SHELF, changes

pytestmark = pulumi_cli.NEEDED


@pytest.fixture
def shared(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that both engines drive, over one state."""
    (project.folder / "Pulumi.yaml").write_text(
        "name: crm\nruntime: python\nmain: program/\nstackConfigDir: .\n"
    )
    (project.folder / "state").mkdir()
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{project.folder / 'state'}")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "throw-away")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    project.program(SHELF)
    return project


def pulumi(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What the CLI says."""
    command = ["pulumi", *arguments, "--stack", STACK, "--non-interactive"]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True)


def previewed(project: Project) -> dict[str, Any]:
    """What the CLI would do."""
    done = pulumi(project, "preview", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    counted: dict[str, Any] = json.loads(done.stdout)["changeSummary"]
    return counted


def test_plain_cli_is_refused_and_told_the_command(shared: Project) -> None:
    shared.run("up")
    done = pulumi(shared, "up", "--yes")
    assert done.returncode != 0
    assert f"crm handover {STACK} --to pulumi" in done.stdout + done.stderr


def test_stack_goes_over_to_the_cli_and_back_unchanged(shared: Project) -> None:
    shared.run("up")
    shared.run("handover", to="pulumi")
    assert previewed(shared) == {"same": 4}
    done = pulumi(shared, "up", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = pulumi(shared, "stack", "output", "--json", "--show-secrets")
    assert json.loads(shown.stdout) == {"key": "canary-a", "plain": "a"}

    assert f"crm handover {STACK} --to embedded" in shared.run("up")["refused"]
    shared.run("handover", to="embedded")
    assert changes(shared.run("up")) == {"same": 4}
    shared.run("handover", to="pulumi")
    assert previewed(shared) == {"same": 4}
    assert shared.log == ["create one", "create two"]


def test_secret_config_set_by_the_cli_works_here(shared: Project) -> None:
    shared.run("up")
    shared.run("handover", to="pulumi")
    done = pulumi(shared, "config", "set", "--secret", "word", "naïve <&> café")
    assert done.returncode == 0, done.stderr
    shared.run("handover", to="embedded")
    shared.program('pulumi.export("word", pulumi.Config().require_secret("word")); Note("one")')
    assert shared.run("up")["outputs"] == {"word": "[secret]"}
    assert shared.run("outputs", show_secrets=True)["value"] == {"word": "naïve <&> café"}
