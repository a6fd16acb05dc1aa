"""Every rule denies what it is for and nothing that is shipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from policies import judge
from policies.files import FILE_RULES
from policies.model import Finding, Resource, Rule
from policies.rules import RULES
from policies.rules.cost_ceiling import month
from stacks import declared, policy_gate, prices, stack_file
from stacks.paths import STACK_FILES
from stacks.prices import load
from stacks.reviews import side
from stacks.spec_policies import CostCeiling, Parameters, Policies, RuleName
from tests.live import parity
from tests.policies.changes import Change, add, let_out, put
from tests.policies.judged import EDGES, ORDERS, TARGETS, TODAY, Stack, production, register
from tests.policies.mutations import CLUSTER, DOCKER, FIRST, MUTATIONS

PRODUCTION = Policies(production=True, parameters=Parameters(cost_ceiling=CostCeiling(month=1_000)))
PRICES = prices.Prices("EUR", 0.03, 0.004, 0.09, 730)
CASES = [
    pytest.param(rule, *mutation, id=f"{rule}-{number}-{mutation[1].replace(' ', '-')}")
    for rule, mutations in MUTATIONS.items()
    for number, mutation in enumerate(mutations, start=1)
]


@pytest.fixture(autouse=True)
def _these_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever somebody makes of those that are shipped."""
    monkeypatch.setattr(prices, "load", lambda: PRICES)


def failing(resources: Sequence[Resource], asked: Policies = PRODUCTION) -> set[str]:
    found = judge.judge(resources, asked, TODAY)
    return {finding.rule for finding in found if finding.level == "mandatory"}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stack", stack_file.names())
def test_shipped_stack_passes_on_both_targets(stack: str, target: str) -> None:
    spec = stack_file.load(stack, target=target)
    found = policy_gate.findings(register(spec, stack), spec.policies, TODAY)
    assert found == []


@pytest.mark.parametrize("target", TARGETS)
def test_stack_fit_for_production_passes_every_rule(target: str) -> None:
    assert judge.judge(list(Stack(target)), PRODUCTION, TODAY) == []


@pytest.mark.parametrize(("rule", "target", "resource", "change"), CASES)
def test_mutation_is_killed_by_its_rule(
    rule: str, target: str, resource: str, change: Change
) -> None:
    stack = Stack(target)
    change(stack, stack[resource])
    found = judge.judge(list(stack), PRODUCTION, TODAY)
    mine = [finding for finding in found if finding.rule == rule]
    assert mine, f"survived; others said: {found}"
    assert all(finding.level == "mandatory" for finding in mine)
    assert not [finding for finding in mine if "rule itself failed" in finding.what], mine


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2\n-----END CERTIFICATE-----\n"
SHARE = {"type": "nfs", "o": "addr=files.example.com,rw", "device": ":/export"}
DIGEST = "nginx@sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("target", "resource", "change"),
    [
        (DOCKER, "Volume app-files", put("driverOpts", SHARE)),
        (DOCKER, "Volume app-files", put("driverOpts", {"type": "tmpfs", "device": "tmpfs"})),
        (DOCKER, "Container app-1", put("mounts", [{"type": "volume", "source": "files"}])),
        (DOCKER, "Container edge", put("image", DIGEST)),
        (DOCKER, "Container edge", put("image", "registry.example.com:5000/nginx:1.30-alpine3.22")),
        (DOCKER, "Container app-1", put("image", "crm-app:0123456789ab")),
        (DOCKER, "Container app-1", put("image", "crm-app:d94741a")),
        (CLUSTER, "Deployment app-1", put(f"{FIRST}/image", "crm-app:2026-11-01")),
        (DOCKER, "Container app-1", add("envs", "DB_PASSWORD_FILE=/run/secrets/x")),
        (DOCKER, "Container app-1", add("envs", "PWD=/srv/crm")),
        (DOCKER, "Container app-1", add("envs", "DATABASE_URL=mysql://crm:${PASSWORD}@db/crm")),
        (DOCKER, "Container app-1", put("command", ["sh", "-c", "mysql -p$(cat /run/secrets/x)"])),
        (DOCKER, "Container app-1", put("command", ["redis-cli", "-p", "6379", "-a", "$SECRET"])),
        (DOCKER, "Container app-1", put("command", ["find", "/srv", "-print0", "-a", "-prune"])),
        (DOCKER, "Container app-1", add("labels", {"label": "crm.secrets", "value": "app"})),
        (DOCKER, "Files app-files", put("files/ca.pem", CERTIFICATE)),
        (DOCKER, "Files app-files", put("files/a.json", '{"password_file": "/run/secrets/x"}')),
        (CLUSTER, "Deployment app-1", put("metadata/annotations", {"checksum/secret": "a1b2"})),
        (CLUSTER, "Deployment edge", put(f"{FIRST}/args", ["--token-file", "/run/secrets/x"])),
    ],
)
def test_what_is_like_a_mistake_and_is_none_passes(
    target: str, resource: str, change: Change
) -> None:
    stack = Stack(target)
    change(stack, stack[resource])
    assert judge.judge(list(stack), PRODUCTION, TODAY) == []


def test_backups_may_have_a_folder_of_the_machine() -> None:
    database = {"shards": 2, "orders": ORDERS, "backup": {"folder": "/srv/backups"}}
    spec = production(DOCKER, database=database)
    assert policy_gate.findings(register(spec), spec.policies, TODAY) == []


@pytest.mark.parametrize("workload", ["app", "schema"])
def test_workload_may_be_let_out_of_a_cluster_by_one_policy(workload: str) -> None:
    stack = Stack(CLUSTER)
    draft = stack[f"NetworkPolicy {workload}-to-database"]
    let_out(workload)(stack, draft)
    assert judge.judge(list(stack), PRODUCTION, TODAY) == []
    draft.inputs["metadata"]["name"] = f"{workload}-to-database"
    assert failing(list(stack)) == {"network_policies"}


def test_secret_is_named_with_its_place_and_never_shown() -> None:
    stack = Stack(DOCKER)
    stack["Files app-files"].inputs["files"]["a.ini"] = "[crm]\ndb_password = swordfish\n"
    app = stack["Container app-1"].inputs
    app["envs"].append("CRM_TOKEN=swordfish")
    app["labels"].append({"label": "crm.pass", "value": "swordfish"})
    app["command"] = ["crm", "--api-key", "swordfish"]
    said = {finding.what for finding in judge.judge(list(stack), PRODUCTION, TODAY)}
    assert said == {
        "has a secret (db_password) in its file a.ini, line 2",
        "has a secret in its envs (CRM_TOKEN)",
        "has a secret in its labels (crm.pass)",
        "has a secret on its command line, after --api-key",
    }


def test_there_are_enough_mutations_of_every_rule() -> None:
    names = {rule.name for rule in RULES}
    assert set(MUTATIONS) == names
    assert all(len(mutations) >= 3 for mutations in MUTATIONS.values())
    assert sum(map(len, MUTATIONS.values())) >= 80


def test_rules_are_those_that_stack_files_may_name_one_a_file() -> None:
    names = [rule.name for rule in RULES]
    assert sorted(names + [rule.name for rule in FILE_RULES]) == sorted(get_args(RuleName))
    folder = Path(judge.__file__).parent / "rules"
    assert names == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert all(rule.reason and rule.fix for rule in RULES)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.alone], ids=lambda rule: rule.name)
def test_rule_that_judges_alone_says_the_same_of_all_together(rule: Rule) -> None:
    for target, resource, change in MUTATIONS[rule.name]:
        stack = Stack(target)
        change(stack, stack[resource])
        together = [
            Finding("mandatory", rule.name, p.resource, p.what, rule.fix)
            for p in rule.find(list(stack), PRODUCTION)
        ]
        assert sorted(together) == sorted(judge.by_rule(rule, list(stack), PRODUCTION, TODAY))


def test_what_only_production_needs_is_not_asked_elsewhere() -> None:
    stack = Stack("docker")
    stack.drafts = [d for d in stack.drafts if d.name not in ("app-2", "app-3")]
    for draft in stack.drafts:
        if draft.type.endswith(":Container"):
            draft.inputs["labels"] = [
                label for label in draft.inputs["labels"] if label["label"] != "crm.cost_centre"
            ]
    assert failing(list(stack)) == {"redundancy", "required_labels"}
    assert failing(list(stack), Policies()) == set()


def test_without_a_ceiling_no_cost_is_too_much() -> None:
    stack = Stack("docker")
    stack["Container app-1"].inputs["cpus"] = "900.0"
    assert "cost_ceiling" in failing(list(stack))
    assert "cost_ceiling" not in failing(list(stack), Policies(production=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("stack", stack_file.names())
def test_cost_is_what_a_review_shows_but_for_volumes_on_docker(
    stack: str, target: str, tmp_path: Path
) -> None:
    text = (STACK_FILES / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8")
    (tmp_path / f"Pulumi.{stack}.yaml").write_text(
        re.sub(r"^  crm:target:.*\n", "", text, flags=re.M) + f"  crm:target: {target}\n",
        encoding="utf-8",
    )
    seen, planned = side.describe(stack, TODAY, tmp_path)
    shown = sum(
        PRICES.month(s.most * s.cpus, s.most * s.memory_mib, on_cluster * s.most * s.storage_gib)
        for s in seen.sizes
        for on_cluster in [target == "kubernetes"]
    )
    resources = policy_gate.plain(declared.resources(planned))
    assert shown > 0
    assert month(resources, PRICES) == pytest.approx(shown)


def test_wrong_prices_allow_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    monkeypatch.setattr(prices, "load", lambda: load(path))
    found = judge.judge(list(Stack("docker")), PRODUCTION, TODAY)
    assert [(finding.rule, finding.level) for finding in found] == [("cost_ceiling", "mandatory")]
    assert "prices.yaml: cannot be read" in found[0].what


def test_self_made_certificate_is_not_for_production() -> None:
    spec = production("docker", edge={"proxy": "nginx", "tls": {}})
    found = policy_gate.findings(register(spec), spec.policies, TODAY)
    assert [finding.resource for finding in found] == ["edge-certificate"]


def test_nginx_with_a_certificate_is_for_production() -> None:
    edge = production("docker").edge
    assert edge.tls is not None
    tls = {"hosts": list(edge.tls.hosts), "certificate": {"file": "c"}, "key": {"file": "k"}}
    for target in TARGETS:
        asked = {"proxy": "nginx", "tls": tls, "replicas": EDGES[target]}
        spec = production(target, edge=asked)
        assert policy_gate.findings(register(spec), spec.policies, TODAY) == []


@pytest.mark.parametrize("stack", parity.STACKS)
def test_what_the_real_cli_recorded_passes(stack: str) -> None:
    # Its providers fill in defaults. Images, names and files are not in the recordings.
    unread = {"connection_budget", "pinned_images", "safe_names"}
    recorded = [
        Resource(r["type"], r["urn"].rpartition("::")[2], r["inputs"], r["protect"])
        for r in parity.fixture(stack)["resources"]
    ]
    rules = [rule for rule in RULES if rule.name not in unread]
    assert judge.judge(recorded, Policies(), TODAY, rules) == []


GIVEN = {"file": "/run/secrets/x"}
EXTERNAL = {
    "database": {
        "external": {"host": "db.example.com", "password": GIVEN, "owner_password": GIVEN}
    },
    "cache": {"external": {"host": "cache.example.com", "password": GIVEN}},
}
S3 = {"bucket": "crm", "access_key_id": {"env": "CRM_S3_ID"}, "secret_access_key": GIVEN}
OFFSITE = {"database": {"backup": {"s3": S3}}}
SERVICES = {
    "edge": {"proxy": "nginx", "routes": [{"prefix": "/api/v1/orders", "service": "orders"}]},
    "services": {"orders": {"replicas": 2, "health_path": "/healthz"}},
    "app": {"replicas": 2},
}


@pytest.mark.parametrize(
    ("target", "config"),
    [
        ("docker", EXTERNAL),
        ("kubernetes", EXTERNAL),
        ("docker", OFFSITE),
        ("kubernetes", OFFSITE),
        ("docker", SERVICES),
        ("kubernetes", SERVICES),
        ("docker", {"edge": {"address": "0.0.0.0", "tls": {}}}),
        ("docker", {"secrets": {"database_app_password": GIVEN, "cache_password": GIVEN}}),
        ("kubernetes", {"app": {"replicas": {"min": 2, "max": 6}}}),
        ("kubernetes", {"kubernetes": {"expose": "ingress", "ingress_host": "crm.example.com"}}),
        ("kubernetes", {"kubernetes": {"expose": "node_port", "node_port": 30080}}),
        (
            "kubernetes",
            {"kubernetes": {"metrics_from": "monitoring"}, "database": {"orders": ORDERS}},
        ),
        (
            "kubernetes",
            {"images": {"registry": "registry.example.com/team", "pull_secret": GIVEN}},
        ),
    ],
)
def test_whatever_a_stack_file_may_ask_for_passes(target: str, config: dict[str, object]) -> None:
    spec = stack_file.parse({"target": target, **config}, "other")
    assert policy_gate.findings(register(spec, "other"), spec.policies, TODAY) == []
