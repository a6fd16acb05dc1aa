"""The pack itself, started as the Pulumi CLI starts it and asked by Pulumi's own protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from policies.rules import RULES
from stacks.embedded.state import Resource
from stacks.paths import ROOT
from stacks.pulumi_state.values import hide
from tests.policies.judged import TARGETS, production, register

LEVELS = {
    analyzer_pb2.ADVISORY: "advisory",
    analyzer_pb2.MANDATORY: "mandatory",
    analyzer_pb2.REMEDIATE: "remediate",
}
Found = set[tuple[str, str]]
EXPIRED = {
    "rule": "limits",
    "resource": "edge",
    "reason": "measured in the next sprint",
    "owner": "ada",
    "until": "2026-01-31",
}


class Pack:
    """What the CLI does with a pack: each resource as it is registered, then all of them."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub
        self.messages: list[str] = []

    def judge(self, resources: list[Resource], *, remediate: bool = True) -> Found:
        """(Rule, level) of each finding about one resource alone, then of those about all."""
        found: Found = set()
        for resource in resources:
            request = _request(resource)
            if remediate:
                assert not self.stub.Remediate(request).remediations
            found |= self._read(self.stub.Analyze(request))
        every = [
            ParseDict(
                {**_document(resource), "parent": resource.parent},
                analyzer_pb2.AnalyzerResource(),
            )
            for resource in resources
        ]
        together = analyzer_pb2.AnalyzeStackRequest(resources=every)
        return found | self._read(self.stub.AnalyzeStack(together))

    def _read(self, response: Any) -> Found:
        self.messages += [found.message for found in response.diagnostics]
        return {(f.policyName, LEVELS[f.enforcementLevel]) for f in response.diagnostics}


def _document(resource: Resource) -> dict[str, Any]:
    return {
        "type": resource.type,
        "urn": resource.urn,
        "name": resource.name,
        "properties": resource.inputs,
        "options": {"protect": resource.protect},
    }


def _request(resource: Resource) -> Any:
    document = _document(resource)
    given = ParseDict(document.pop("properties"), Struct())
    request = ParseDict(document, analyzer_pb2.AnalyzeRequest())
    request.properties.CopyFrom(given)
    return request


@contextmanager
def pack(policies: dict[str, Any], *, dry_run: bool = True) -> Iterator[Pack]:
    """The pack's own process, for a stack whose file holds ``policies``."""
    config = {"crm:policies": json.dumps(policies), "crm:redis_password": "an-open-secret"}
    process = subprocess.Popen(
        # As the CLI's Python host has it: main.go, RunPlugin, of pulumi-language-python.
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", str(ROOT / "policies")],
        cwd=ROOT / "policies",
        env={
            **os.environ,
            "PULUMI_CONFIG": json.dumps(config),
            "PULUMI_PROJECT": "crm",
            "PULUMI_STACK": "horizontal",
            "PULUMI_ORGANIZATION": "organization",
            "PULUMI_DRY_RUN": str(dry_run).lower(),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        assert port.isdigit(), f"the pack did not start: {port}"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Pack(analyzer_pb2_grpc.AnalyzerStub(channel))
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def at_work() -> Iterator[Pack]:
    with pack({"production": True}) as started:
        yield started


def find(resources: list[Resource], name: str, kind: str) -> Resource:
    return next(r for r in resources if r.name == name and r.type.endswith(f":{kind}"))


def test_pack_names_every_rule(at_work: Pack) -> None:
    info = at_work.stub.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == "crm"
    named = {policy.name: LEVELS[policy.enforcementLevel] for policy in info.policies}
    assert {rule.name for rule in RULES} < set(named)
    assert all(named[rule.name] == rule.level for rule in RULES)


@pytest.mark.parametrize("target", TARGETS)
def test_pack_allows_what_is_fit_for_production(at_work: Pack, target: str) -> None:
    assert at_work.judge(register(production(target))) == set()


CHANGES: list[tuple[str, str, str, str, Callable[[dict[str, Any]], Any]]] = [
    ("docker", "database-1", "Container", "closed_ports", lambda i: i["ports"].append({})),
    ("docker", "app-1", "Container", "host_isolation", lambda i: i.update(privileged=True)),
    ("docker", "database-network", "Network", "networks_segmented", lambda i: i.pop("internal")),
    (
        "kubernetes",
        "deny-all",
        "NetworkPolicy",
        "network_policies",
        lambda i: i["spec"].pop("policyTypes"),
    ),
    (
        *("kubernetes", "edge", "Deployment", "pod_security"),
        lambda i: i["spec"]["template"]["spec"].pop("automountServiceAccountToken"),
    ),
]


@pytest.mark.parametrize(("target", "name", "kind", "rule", "change"), CHANGES)
def test_pack_denies_what_the_rule_is_for(
    at_work: Pack,
    target: str,
    name: str,
    kind: str,
    rule: str,
    change: Callable[[dict[str, Any]], Any],
) -> None:
    resources = register(production(target))
    change(find(resources, name, kind).inputs)
    assert (rule, "mandatory") in at_work.judge(resources)


def test_unknown_value_is_judged_and_not_passed_over(at_work: Pack) -> None:
    resources = register(production("docker"))
    app = find(resources, "app-1", "Container")
    assert "04da6b54" in app.inputs["name"]
    app.inputs["readOnly"] = False
    assert at_work.judge(resources) == {("read_only_root", "mandatory")}


def test_secret_is_known_as_one_whatever_holds_it(at_work: Pack) -> None:
    resources = register(production("docker"))
    app = find(resources, "app-1", "Container")
    app.inputs["envs"] = hide(["CRM_INSTANCE=app-1", "GREETING=swordfish"])
    assert at_work.judge(resources) == {("no_plain_secrets", "mandatory")}
    assert not any("swordfish" in message for message in at_work.messages)
    # A CLI that asks nobody to remediate does not say what is secret.
    with pack({"production": True}) as started:
        assert started.judge(resources, remediate=False) == set()


def test_what_another_pack_made_of_a_resource_is_what_is_judged(at_work: Pack) -> None:
    resources = register(production("docker"))
    app = find(resources, "app-1", "Container")
    at_work.stub.Remediate(_request(app))
    app.inputs["privileged"] = True
    assert at_work.judge(resources, remediate=False) == {("host_isolation", "mandatory")}


def test_pack_goes_by_the_stacks_own_levels_and_exceptions() -> None:
    policies = {"levels": {"read_only_root": "advisory"}, "exceptions": [EXPIRED]}
    resources = register(production("docker"))
    find(resources, "app-1", "Container").inputs["readOnly"] = False
    with pack(policies, dry_run=False) as started:
        found = started.judge(resources)
    assert found == {("read_only_root", "advisory"), ("exceptions", "mandatory")}
    said = " ".join(started.messages)
    assert "2026-01-31" in said
    assert "ada" in said


def test_pack_tells_of_an_exception_for_what_is_not_there() -> None:
    exception = {**EXPIRED, "resource": "eddge", "until": "2099-01-31"}
    with pack({"exceptions": [exception, {**exception, "resource": "edge"}]}) as started:
        assert started.judge(register(production("docker"))) == {("idle_exceptions", "advisory")}
        (said,) = started.messages
    assert "eddge: the exception from limits" in said
    assert "ada" in said and "2099-01-31" in said


def test_pack_gives_the_cli_what_it_mended_and_says_so() -> None:
    resources = register(production("docker"))
    app = find(resources, "app-1", "Container")
    app.inputs |= {"restart": "no", "envs": hide(["CRM_INSTANCE=app-1", "GREETING=swordfish"])}
    asked = {"production": True, "levels": {"restart_policy": "remediate"}}
    with pack(asked) as started:
        (mended,) = started.stub.Remediate(_request(app)).remediations
        assert mended.policyName == "restart_policy"
        taken = MessageToDict(mended.properties)
        assert taken.pop("restart") == "unless-stopped"
        # Secrets are marked, so that they are encrypted, and known as such to other rules.
        assert taken["envs"] == app.inputs["envs"]
        app.inputs |= {**taken, "restart": "unless-stopped"}
        found = started.judge(resources, remediate=False)
    assert found == {("remedies", "advisory"), ("no_plain_secrets", "mandatory")}
    (said,) = (one for one in started.messages if "restart_policy" in one)
    assert "restart_policy: app-1: stays away once it stopped (restart: no), mended" in said


def test_what_the_cli_did_not_take_is_denied() -> None:
    resources = register(production("docker"))
    find(resources, "app-1", "Container").inputs["restart"] = "no"
    with pack({"production": True, "levels": {"restart_policy": "remediate"}}) as started:
        assert started.judge(resources, remediate=False) == {("restart_policy", "mandatory")}


def test_pack_knows_what_a_month_costs() -> None:
    with pack({"production": True, "parameters": {"cost_ceiling": {"month": 1}}}) as started:
        assert started.judge(register(production("docker"))) == {("cost_ceiling", "mandatory")}


def test_failing_rule_denies_even_where_it_is_advisory() -> None:
    resources = register(production("docker"))
    find(resources, "app-1", "Container").inputs["capabilities"] = "none"
    wanted = {"levels": {"host_isolation": "advisory"}}
    with pack(wanted) as started, pytest.raises(grpc.RpcError, match="the rule itself failed"):
        started.judge(resources)


def test_pack_is_described_for_the_cli() -> None:
    about = yaml.safe_load((ROOT / "policies" / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
    assert about["runtime"] == "python"
    assert about["description"]
