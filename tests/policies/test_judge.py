"""Levels, exceptions and what happens when a rule fails by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pytest

from policies import judge
from policies.model import Problem, Resource, Rule, lines
from stacks import policy_gate, stack_file
from stacks.errors import CrmError
from stacks.spec_policies import Policies
from tests.policies.changes import put
from tests.policies.judged import EDGES, TARGETS, TODAY, Stack, planned, production, register

EXCEPTION = {
    "rule": "closed_ports",
    "resource": "database-1",
    "reason": "the importer still comes in by it, CRM-17",
    "owner": "ada",
    "until": "2027-01-31",
}


def asked(**policies: Any) -> Policies:
    return stack_file.parse({"policies": {"production": True, **policies}}, "horizontal").policies


def published() -> list[Resource]:
    """A stack whose first shard publishes its port."""
    stack = Stack("docker")
    put("ports", [{"internal": 3306, "external": 3306}])(stack, stack["Container database-1"])
    return list(stack)


def fails(_resources: Sequence[Resource], _asked: Policies) -> Iterator[Problem]:
    raise KeyError("spec")
    yield


@pytest.mark.parametrize("alone", [True, False])
def test_rule_that_raises_fails_closed_even_where_it_is_advisory(alone: bool) -> None:
    rule = Rule(
        name="limits", reason="r", fix="f", reads=(), find=fails, alone=alone, level="advisory"
    )
    (found,) = judge.judge(list(Stack("docker"))[:1], asked(), TODAY, [rule])
    assert found.level == "mandatory"
    assert "KeyError" in found.what


def test_level_of_the_stack_goes_before_the_rules_own() -> None:
    (found,) = judge.judge(published(), asked(levels={"closed_ports": "advisory"}), TODAY)
    assert found.level == "advisory"
    (found,) = judge.judge(published(), asked(), TODAY)
    assert found.level == "mandatory"


def test_exception_holds_to_the_end_of_its_last_day() -> None:
    wanted = asked(exceptions=[EXCEPTION])
    assert judge.judge(published(), wanted, date(2027, 1, 31)) == []


def test_expired_exception_is_mandatory_and_names_day_and_owner() -> None:
    wanted = asked(levels={"closed_ports": "advisory"}, exceptions=[EXCEPTION])
    advice, ended = judge.judge(published(), wanted, date(2027, 2, 1))
    assert (advice.rule, advice.level) == ("closed_ports", "advisory")
    assert (ended.rule, ended.level) == ("exceptions", "mandatory")
    assert "2027-01-31" in ended.what
    assert "ada" in ended.what
    assert "CRM-17" in ended.what
    # So even where there is nothing left that it would be made for.
    assert [f.rule for f in judge.judge(list(Stack("docker")), wanted, date(2027, 2, 1))] == [
        "exceptions"
    ]


@pytest.mark.parametrize("change", [{"resource": "database-2"}, {"rule": "limits"}])
def test_exception_is_for_one_rule_and_one_resource(change: dict[str, str]) -> None:
    wanted = asked(exceptions=[{**EXCEPTION, **change}])
    assert [f.rule for f in judge.judge(published(), wanted, TODAY)] == ["closed_ports"]


def test_exception_holds_whatever_the_hash_in_a_name() -> None:
    exception = {**EXCEPTION, "rule": "tls_in_production", "resource": "edge-files"}
    for target in TARGETS:
        spec = production(target, edge={"proxy": "haproxy", "replicas": EDGES[target]})
        found = policy_gate.findings(register(spec), spec.policies, TODAY)
        assert [f.rule for f in found] == ["tls_in_production"]
        wanted = asked(exceptions=[exception])
        assert policy_gate.findings(register(spec), wanted, TODAY) == []


def test_exception_for_what_is_not_there_is_told_with_owner_and_day() -> None:
    wanted = asked(exceptions=[{**EXCEPTION, "resource": "databse-1"}])
    (told,) = judge.judge(list(Stack("docker")), wanted, TODAY)
    assert (told.rule, told.level, told.resource) == ("exceptions", "advisory", "databse-1")
    for word in ("closed_ports", "ada", "2027-01-31", "CRM-17"):
        assert word in told.what
    # Once it is over, that alone is told.
    (ended,) = judge.judge(list(Stack("docker")), wanted, date(2027, 2, 1))
    assert (ended.level, "ended on 2027-01-31" in ended.what) == ("mandatory", True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name", ["edge-files", "app", "stack", "edge", "mysql/database-2/my.cnf", "database-1-data"]
)
def test_exception_is_for_whatever_a_finding_may_name(name: str, target: str) -> None:
    wanted = asked(exceptions=[{**EXCEPTION, "resource": name}])
    assert judge.judge(list(Stack(target)), wanted, TODAY) == []


def test_parameters_change_what_a_rule_asks() -> None:
    resources = list(Stack("docker"))
    small = {"containers": 5, "cpus": 2, "memory_mib": 512}
    found = judge.judge(resources, asked(parameters={"size_ceiling": small}), TODAY)
    assert sorted(f.what.split()[3].rstrip(",") for f in found) == sorted(small)
    (one,) = judge.judge(resources, asked(parameters={"cost_ceiling": {"month": 0.5}}), TODAY)
    assert (one.rule, one.resource) == ("cost_ceiling", "stack")
    assert one.what.endswith(" a month, and the ceiling is 0.50")
    wanted = asked(parameters={"required_labels": {"labels": ["crm.team"]}})
    found = judge.judge(resources, wanted, TODAY)
    assert {f.what for f in found} == {"has no label crm.team"}
    found = judge.judge(resources, asked(parameters={"redundancy": {"replicas": 4}}), TODAY)
    assert [f.resource for f in found] == ["app"]


def test_same_finding_of_several_resources_is_one_line() -> None:
    wanted = asked(parameters={"required_labels": {"labels": ["crm.team"]}})
    (line,) = lines(judge.judge(list(Stack("docker")), wanted, TODAY))
    assert "app-1, app-2, app-3, backup-1, backup-2, cache-1" in line


# --- The gate ------------------------------------------------------------------------------------


def test_gate_refuses_by_the_stack_files_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = production("docker", cost_centre="")
    monkeypatch.setattr(stack_file, "load", lambda _stack: spec)
    with pytest.raises(CrmError, match=r"(?s)horizontal\.yaml: policies .*required_labels.*edge"):
        planned(spec)


def test_gate_tells_what_is_advisory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = {"production": True, "levels": {"required_labels": "advisory"}}
    spec = production("docker", cost_centre="", policies=policies)
    monkeypatch.setattr(stack_file, "load", lambda _stack: spec)
    planned(spec)
    assert "policy required_labels (advisory): app-1, app-2" in capsys.readouterr().err


def test_no_secret_reaches_a_rule() -> None:
    resources = policy_gate.plain(register(production("docker")))
    shown = repr(resources)
    assert "given-from-elsewhere" not in shown
    assert shown.count("[secret]") == 2  # the certificate and its key
    assert not any("__provider" in resource.inputs for resource in resources)


# --- The stack file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"levels": {"no_ports": "advisory"}}, "crm:policies.levels.no_ports: 'no_ports' is not"),
        ({"levels": {"limits": "off"}}, "'off' is not allowed; write one of advisory, mandatory"),
        ({"exceptions": [{**EXCEPTION, "until": "soon"}]}, "exceptions[0].until: 'soon'"),
        ({"exceptions": [{**EXCEPTION, "until": "2027-02-30"}]}, "there is no day 2027-02-30"),
        (
            {"exceptions": [{**EXCEPTION, "until": date(2027, 1, 31)}]},
            "a day, with quotes",
        ),
        ({"exceptions": [{**EXCEPTION, "reason": "because"}]}, "a sentence of 10 to 400"),
        ({"parameters": {"size_ceiling": {"cpu": 1}}}, "did you mean `cpus`?"),
        ({"parameters": {"cost_ceiling": {"month": 0}}}, "month: 0 is not allowed; write a number"),
        ({"production": "yes"}, "crm:policies.production: 'yes' is not allowed; write true"),
    ],
)
def test_wrong_policies_are_refused_with_the_right_form(
    policies: dict[str, Any], words: str
) -> None:
    with pytest.raises(CrmError) as refused:
        stack_file.parse({"policies": policies}, "sales")
    assert words in str(refused.value)


def test_exception_without_a_day_is_none() -> None:
    with pytest.raises(CrmError, match="until: is missing"):
        asked(exceptions=[{k: v for k, v in EXCEPTION.items() if k != "until"}])
