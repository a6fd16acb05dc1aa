"""The level `remediate`: what rules put right before it is deployed, in every way in."""

from __future__ import annotations

from typing import Any

import pulumi_docker
import pytest
from msgspec import structs

from policies import judge
from policies.model import UNKNOWN, Finding, Resource
from policies.rules import RULES
from stacks import plan, policy_gate, stack_file
from stacks.embedded.state import Resource as Registered
from stacks.errors import CrmError
from stacks.pulumi_state.values import hide
from stacks.reviews import side, steps
from stacks.spec import StackSpec
from stacks.spec_policies import REMEDIES, Policies, RuleName
from tests.policies.changes import Change, drop, put
from tests.policies.judged import TODAY, Stack, planned, production, register
from tests.policies.mutations import FIRST, POD, SECURITY

LEVELS: dict[RuleName, Any] = dict.fromkeys(REMEDIES, "remediate")
ASKED = Policies(production=True, levels=LEVELS)
LIMITS = f"{FIRST}/resources"

MENDED: dict[RuleName, tuple[tuple[str, str, Change], ...]] = {
    "limits": (
        ("docker", "Container app-1", drop("memorySwap")),
        ("docker", "Container edge", put("memorySwap", -1)),
        ("docker", "Container database-1", put("logOpts", {})),
        ("kubernetes", "Deployment app-1", put(f"{LIMITS}/requests/memory", "1Mi")),
        ("kubernetes", "StatefulSet database-1", drop(f"{LIMITS}/requests/cpu")),
        ("kubernetes", "StatefulSet database-2", put(f"{LIMITS}/requests/cpu", "0")),
    ),
    "read_only_root": (
        ("docker", "Container app-1", put("securityOpts", [])),
        ("docker", "Container cache-1", drop("securityOpts")),
        ("kubernetes", "Deployment app-1", drop(f"{SECURITY}/allowPrivilegeEscalation")),
        ("kubernetes", "StatefulSet cache-1", put(f"{SECURITY}/allowPrivilegeEscalation", True)),
    ),
    "restart_policy": (
        ("docker", "Container app-1", put("restart", "no")),
        ("docker", "Container edge", drop("restart")),
        ("docker", "Container database-1", put("mustRun", False)),
        ("kubernetes", "StatefulSet database-2", put(f"{POD}/restartPolicy", "Never")),
    ),
}
CASES = [(rule, *case) for rule, cases in MENDED.items() for case in cases]


@pytest.mark.parametrize(("rule", "target", "resource", "change"), CASES)
def test_what_is_wrong_is_made_what_it_should_be(
    rule: RuleName, target: str, resource: str, change: Change
) -> None:
    stack = Stack(target)
    right = dict(Stack(target)[resource].inputs)
    change(stack, stack[resource])
    draft = stack[resource]
    given = Resource(draft.type, draft.name, draft.inputs)
    made, told = judge.mend(given, ASKED, TODAY)
    assert {(one.rule, one.level, one.resource) for one in told} == {
        (rule, "remediate", draft.name)
    }
    right["name"] = made.inputs.get("name")
    assert dict(made.inputs) == {key: each for key, each in right.items() if each is not None}
    # The inputs that were given are as they were.
    assert judge.mend(given, Policies(production=True), TODAY) == (given, [])
    # Whoever judges all says the same, and nothing else is wrong with it.
    assert judge.judge(list(stack), ASKED, TODAY) == told
    found = judge.judge(list(stack), Policies(production=True), TODAY)
    assert (rule, "mandatory") in {(one.rule, one.level) for one in found}


@pytest.mark.parametrize(
    ("rule", "target", "resource", "change"),
    [
        ("limits", "docker", "Container app-1", drop("memory")),
        ("limits", "kubernetes", "Deployment app-1", drop(f"{LIMITS}/limits/memory")),
        ("read_only_root", "docker", "Container app-1", put("readOnly", False)),
        ("read_only_root", "kubernetes", "Deployment app-1", drop(f"{SECURITY}")),
        ("restart_policy", "docker", "Job schema", drop("timeout_seconds")),
    ],
)
def test_what_no_rule_can_know_stays_mandatory(
    rule: RuleName, target: str, resource: str, change: Change
) -> None:
    stack = Stack(target)
    change(stack, stack[resource])
    found = judge.judge(list(stack), ASKED, TODAY)
    assert rule in {one.rule for one in found if one.level == "mandatory"}


def test_rules_that_mend_are_those_that_stack_files_may_ask_it_of() -> None:
    found = [rule for rule in RULES if rule.remedy is not None]
    assert tuple(rule.name for rule in found) == REMEDIES == tuple(MENDED)
    assert all(rule.alone for rule in found)


def test_rule_that_mends_nothing_is_not_asked_to() -> None:
    with pytest.raises(CrmError, match=r"levels\.redundancy.*this rule mends nothing; write advis"):
        stack_file.parse({"policies": {"levels": {"redundancy": "remediate"}}}, "sales")


def test_exception_is_for_mending_too() -> None:
    stack = Stack("docker")
    put("restart", "no")(stack, stack["Container app-1"])
    exception = {
        **{"rule": "restart_policy", "resource": "app-1", "owner": "ada", "until": "2027-01-31"},
        "reason": "it is looked at by hand, CRM-17",
    }
    wanted = {"policies": {"production": True, "levels": LEVELS, "exceptions": [exception]}}
    asked = stack_file.parse(wanted, "horizontal").policies
    draft = stack["Container app-1"]
    given = Resource(draft.type, draft.name, draft.inputs)
    assert judge.mend(given, asked, TODAY) == (given, [])
    assert judge.judge(list(stack), asked, TODAY) == []


def fails(_resource: Resource) -> dict[str, Any]:
    raise KeyError("spec")


def test_remedy_that_raises_allows_nothing() -> None:
    stack = Stack("docker")
    put("restart", "no")(stack, stack["Container app-1"])
    (restart,) = (rule for rule in RULES if rule.name == "restart_policy")
    rule = structs.replace(restart, remedy=fails)
    found = judge.judge(list(stack), ASKED, TODAY, [rule])
    assert {one.level for one in found} == {"mandatory"}
    assert "KeyError" in found[-1].what


def test_what_was_right_already_stays_as_it_is() -> None:
    stack = Stack("kubernetes")
    app = stack["Deployment app-1"]
    put(f"{LIMITS}/requests/cpu", "50m")(stack, app)
    put(f"{LIMITS}/requests/memory", "1Mi")(stack, app)
    made, _ = judge.mend(Resource(app.type, app.name, app.inputs), ASKED, TODAY)
    (container,) = made.inputs["spec"]["template"]["spec"]["containers"]
    requests, limits = (container["resources"][key] for key in ("requests", "limits"))
    assert (requests["cpu"], requests["memory"]) == ("50m", limits["memory"])


# --- Names on Docker -----------------------------------------------------------------------------


def name_of(made: str) -> Any:
    stack = Stack("docker")
    draft = stack["Container app-1"]
    draft.inputs |= {"restart": "no", "name": made}
    mended, _ = judge.mend(Resource(draft.type, draft.name, draft.inputs), ASKED, TODAY)
    return mended.inputs["name"]


def test_mended_container_starts_beside_the_one_it_replaces() -> None:
    name = name_of("crm-a-app-1-0123abcd")
    assert name != "crm-a-app-1-0123abcd"
    assert name.startswith("crm-a-app-1-")
    assert len(name) == len("crm-a-app-1-0123abcd")
    assert name == name_of("crm-a-app-1-0123abcd")
    assert name != name_of("crm-a-app-1-0123abce")


@pytest.mark.parametrize("name", ["crm-a-database-1", UNKNOWN])
def test_name_that_says_nothing_of_what_it_is_stays(name: str) -> None:
    assert name_of(name) == name


# --- Every way in --------------------------------------------------------------------------------


def asking(level: str) -> StackSpec:
    policies = {"production": True, "levels": {"restart_policy": level}}
    return production("docker", policies=policies)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's code as somebody left it who forgot what a container does once it stopped."""
    container = pulumi_docker.Container

    def without(resource: str, /, **given: Any) -> pulumi_docker.Container:
        return container(resource, **{**given, "restart": "no"})

    monkeypatch.setattr(pulumi_docker, "Container", without)


def restarts(registered: list[Registered]) -> dict[str, Any]:
    return {r.name: r.inputs["restart"] for r in registered if r.type.endswith(":Container")}


@pytest.mark.usefixtures("forgetful")
def test_engine_deploys_what_was_mended_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = asking("remediate")
    monkeypatch.setattr(stack_file, "load", lambda _stack: spec)
    assert set(restarts(register(spec)).values()) == {"no"}
    made = planned(spec)
    assert set(restarts(made).values()) == {"unless-stopped"}
    said = capsys.readouterr().err
    assert "policy restart_policy (remediate): app-1, app-2, app-3, backup-1, backup-2" in said
    assert "stays away once it stopped (restart: no), mended before it is deployed" in said
    # Secrets are what they were, and marked.
    (files,) = (r for r in made if r.type.endswith(":Files") and r.name == "edge-files")
    assert files.inputs["secrets"]["edge_tls_key"] == hide("given-from-elsewhere")


@pytest.mark.usefixtures("forgetful")
def test_engine_refuses_where_it_is_not_asked_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_file, "load", lambda _stack: asking("mandatory"))
    with pytest.raises(CrmError, match=r"restart_policy \(mandatory\): app-1"):
        planned(asking("mandatory"))


@pytest.mark.usefixtures("forgetful")
def test_check_allows_what_would_be_mended(capsys: pytest.CaptureFixture[str]) -> None:
    spec = asking("remediate")
    number = policy_gate.check(plan.make("horizontal", spec), spec.policies)
    assert number > 40
    _, found = policy_gate.judged(plan.make("horizontal", spec), spec.policies)
    assert {(one.rule, one.level) for one in found} == {("restart_policy", "remediate")}
    assert all(isinstance(one, Finding) for one in found)
    capsys.readouterr()


@pytest.mark.usefixtures("forgetful")
def test_review_is_of_what_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(level: str) -> tuple[side.Side, plan.Plan]:
        monkeypatch.setattr(stack_file, "load", lambda *_: asking(level))
        return side.describe("horizontal", TODAY)

    left, wanted = described("remediate")
    assert {one.level for one in left.findings} == {"remediate"}
    assert set(restarts(left.resources).values()) == {"unless-stopped"}
    asked = asking("remediate").policies
    same = steps.between("horizontal", left.resources, wanted, asked)
    assert {step.op for step in same.all} == {"same"}
    # What one would see who takes the level away, were it not refused.
    other = steps.between("horizontal", left.resources, wanted, Policies())
    assert {s.name for s in other.all if s.op == "replace"} >= {"app-1", "edge"}
