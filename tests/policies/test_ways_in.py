"""Every way in asks the rules before anything is touched: both engines and ``crm check``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import CommandError, CommandResult, EngineEvent

from policies.model import UNKNOWN
from stacks import declared, deploy, engine_cli_recovery, policy_gate
from stacks.embedded.deployment import Deployment
from stacks.embedded.state import Resource as Registered
from stacks.embedded.state import State
from stacks.engine_cli import CliEngine
from stacks.paths import ROOT
from stacks.results import OnEvent, Result
from stacks.targets import kubernetes_host
from tests.embedded.conftest import PROGRAM
from tests.policies.judged import TARGETS, TODAY, production, register
from tests.project import Project

NOWHERE = "unix:///nowhere/docker.sock"
EXPIRED = """
  crm:policies:
    exceptions:
      - rule: limits
        resource: edge
        reason: measured in the next sprint
        owner: ada
        until: "2026-01-31"
"""


# --- The embedded engine -------------------------------------------------------------------------


def drive(folder: Path, verb: str, **environment: str) -> dict[str, Any]:
    (folder / "program").mkdir(exist_ok=True)
    (folder / "Pulumi.judged.yaml").write_text("config: {}\n")
    body = f"LOG = {str(folder / 'log')!r}\n{PROGRAM}\nNote('one')\n"
    (folder / "program" / "__main__.py").write_text(body)
    done = subprocess.run(
        [sys.executable, "-m", "tests.embedded.driver", str(folder), "judged", verb],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_embedded_engine_denies_in_the_plan_and_touches_nothing(tmp_path: Path) -> None:
    answer = drive(tmp_path, "preview", JUDGED_AS="dev")
    assert answer["result"] == "failed"
    assert "known_resources (mandatory): one" in answer["message"]
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / "state").exists()
    assert drive(tmp_path, "preview")["result"] == "succeeded"


def test_embedded_engine_ends_a_run_that_was_not_planned_first_in_failure(tmp_path: Path) -> None:
    answer = drive(tmp_path, "up", JUDGED_AS="dev")
    assert answer["result"] == "failed"
    assert "known_resources" in answer["message"]


class Denied:
    """An engine whose plan is denied."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def preview(self) -> Result:
        self.asked.append("preview")
        return Result("failed", message="limits (mandatory): app-1: has no limit of memory")

    def up(self) -> Result:
        self.asked.append("up")
        return Result("succeeded")

    def refresh(self, *, preview_only: bool = False) -> Result:
        raise NotImplementedError

    def destroy(self, *, delete_data: bool = False, preview_only: bool = False) -> Result:
        raise NotImplementedError

    def outputs(self, *, show_secrets: bool = False) -> dict[str, object]:
        raise NotImplementedError


def test_up_ends_with_a_plan_that_is_denied() -> None:
    engine = Denied()
    progress = deploy._Progress()
    result = deploy._decide(engine, "up", "dev", progress, yes=True, delete_data=False)
    assert engine.asked == ["preview"]
    assert (result.result, "app-1" in result.message) == ("failed", True)


# --- The Pulumi CLI ------------------------------------------------------------------------------


class Automation:
    """Stands for the Automation API: what it is asked, and a policy's answer."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.asked: dict[str, dict[str, Any]] = {}

    def preview(self, **options: Any) -> None:
        self._answer("preview", options)

    def up(self, **options: Any) -> None:
        self._answer("up", options)

    def _answer(self, verb: str, options: dict[str, Any]) -> None:
        self.asked[verb] = options
        message = "<{%reset%}>Why.\napp-1: has no limit of memory; write one<{%reset%}>\n"
        found = {"policyName": "limits", "enforcementLevel": self.level, "message": message}
        options["on_event"](EngineEvent.from_json({"policyEvent": found}))
        if self.level == "mandatory":
            raise CommandError(CommandResult("", "error: preview failed", 255))


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> CliEngine:
    monkeypatch.setattr(engine_cli_recovery, "recover", lambda *_: None)
    monkeypatch.setattr(engine_cli_recovery, "protect_again", lambda *_: None)
    monkeypatch.setattr(CliEngine, "outputs", lambda _self: {})
    path = ROOT / "stacks" / "config" / "Pulumi.dev.yaml"
    return CliEngine("dev", path, "file:///nowhere", "", lambda _event: None)


def test_cli_is_given_the_pack_and_says_what_it_denies(
    cli: CliEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Automation("mandatory")
    monkeypatch.setattr(CliEngine, "_stack", lambda _self: stack)
    for result in (cli.preview(), cli.up()):
        assert result.result == "failed"
        assert "limits (mandatory): Why. app-1: has no limit of memory; write one" in result.message
        assert "<{%" not in result.message
    assert set(stack.asked) == {"preview", "up"}
    for options in stack.asked.values():
        (folder,) = options["policy_packs"]
        assert (Path(folder) / "PulumiPolicy.yaml").is_file()


def test_cli_tells_what_is_advisory_and_goes_on(
    cli: CliEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(CliEngine, "_stack", lambda _self: Automation("advisory"))
    assert cli.preview().result == "succeeded"
    assert "policy limits (advisory): Why. app-1" in capsys.readouterr().err


# --- crm check -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["dev", "kubernetes"])
def test_check_judges_without_docker_and_without_a_cluster(project: Project, stack: str) -> None:
    done = project.crm("check", stack, DOCKER_HOST=NOWHERE, KUBECONFIG="/nowhere/kubeconfig")
    assert f"{stack}: policies: all " in done.out
    assert "resources may be deployed" in done.out


def test_check_denies_what_the_stack_file_asks_for(project: Project) -> None:
    path = project.stack_file("dev")
    path.write_text(path.read_text() + "  crm:policies:\n    production: true\n")
    done = project.crm("check", "dev", DOCKER_HOST=NOWHERE)
    assert done.code == 1
    assert "policies" not in done.out
    assert "error: stacks/config/Pulumi.dev.yaml: policies do not allow this:" in done.err
    for rule in ("redundancy", "required_labels", "tls_in_production"):
        assert f"  {rule} (mandatory): " in done.err


def test_check_denies_what_costs_too_much(project: Project) -> None:
    path = project.stack_file("dev")
    wanted = "  crm:policies:\n    parameters:\n      cost_ceiling:\n        month: 1\n"
    path.write_text(path.read_text() + wanted)
    done = project.crm("check", "dev", DOCKER_HOST=NOWHERE)
    assert done.code == 1
    assert "  cost_ceiling (mandatory): stack: costs up to " in done.err


def test_expired_exception_fails_ci_with_the_day_and_the_owner(project: Project) -> None:
    path = project.stack_file("horizontal")
    path.write_text(path.read_text() + EXPIRED.lstrip("\n"))
    done = project.crm("check", "horizontal", DOCKER_HOST=NOWHERE)
    assert done.code == 1
    assert "exceptions (mandatory): edge: the exception from limits ended on 2026-01-31" in done.err
    assert "its owner is ada" in done.err


# --- What an `up` knows --------------------------------------------------------------------------


class Making(declared.Nothing):
    """Makes nothing, and says what would be known of it."""

    def create(self, new: Registered) -> tuple[str, dict[str, Any]]:
        outputs = {**new.inputs, "version": "0123456789abcdef", "value": "swordfish"}
        if new.type.startswith("kubernetes:"):
            outputs["metadata"] = {**outputs["metadata"], "resourceVersion": "17"}
        return f"{new.name}-id", outputs


class Cluster:
    """Knows where the edge is."""

    def url_of(self, *_names: str) -> str:
        return "https://edge"


@pytest.mark.parametrize("target", TARGETS)
def test_values_that_only_an_up_knows_pass_too(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    def making(state: State, _handler_of: object, on_event: OnEvent, _save: None) -> Deployment:
        return Deployment(state, lambda *_: Making(), on_event, lambda: None)

    monkeypatch.setattr(declared, "Deployment", making)
    monkeypatch.setattr(kubernetes_host, "connect", lambda _context=None: Cluster())
    spec = production(target)
    registered = register(spec)
    assert UNKNOWN not in repr(policy_gate.plain(registered))
    assert "swordfish" in repr(registered)
    assert policy_gate.findings(registered, spec.policies, TODAY) == []
