"""On a cluster nobody talks to anybody who was not allowed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.model import Problem, Resource, Rule
from policies.reading import CONTROLLERS, is_kubernetes, pods, tier
from stacks.spec_policies import Policies

_BOTH = {"Ingress", "Egress"}


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    policies = [r for r in resources if is_kubernetes(r) and r.kind == "NetworkPolicy"]
    closed = {_namespace(p) for p in policies if _denies_all(p.inputs["spec"])}
    for pod in pods(resources):
        name, where = pod.resource.name, _namespace(pod.resource)
        if where not in closed:
            yield Problem(name, f"the namespace {where} has no policy that denies all")
        if not any(_namespace(p) == where and _selects(p, pod.labels) for p in policies):
            yield Problem(name, "no NetworkPolicy is for its pods")
    for policy in policies:
        rules = policy.inputs["spec"].get("ingress") or ()
        if tier(policy) != "edge" and any(_is_open(rule) for rule in rules):
            yield Problem(policy.name, "lets everybody in")


def _namespace(resource: Resource) -> str:
    return str(resource.inputs["metadata"].get("namespace", "default"))


def _denies_all(spec: Mapping[str, Any]) -> bool:
    rules = (spec.get("ingress"), spec.get("egress"))
    return not spec["podSelector"] and set(spec["policyTypes"]) == _BOTH and not any(rules)


def _selects(policy: Resource, labels: Mapping[str, Any]) -> bool:
    """Whether the policy is for those pods in particular."""
    chosen = policy.inputs["spec"]["podSelector"].get("matchLabels") or {}
    return bool(chosen) and chosen.items() <= labels.items()


def _is_open(rule: Mapping[str, Any]) -> bool:
    sources = rule.get("from")
    return not sources or any(_is_everybody(source) for source in sources)


def _is_everybody(source: Mapping[str, Any]) -> bool:
    block = str((source.get("ipBlock") or {}).get("cidr", ""))
    anybody = [source.get(key) == {} for key in ("namespaceSelector", "podSelector")]
    return block.endswith("/0") or any(anybody)


RULE = Rule(
    name="network_policies",
    reason="Pods of a cluster reach each other unless somebody says no.",
    fix="let the workload connect to what it needs by connects_to; the policies follow from it",
    reads=("NetworkPolicy", *CONTROLLERS),
    find=_find,
    alone=False,
)
