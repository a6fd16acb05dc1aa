"""On a cluster nobody talks to anybody who was not allowed to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.model import Problem, Resource, Rule
from policies.reading import CONTROLLERS, is_kubernetes, pods, tier
from stacks.spec_policies import Policies

_BOTH = {"Ingress", "Egress"}
_DNS = 53
_KEPT_IN = ("cache", "database", "edge")
"""Workloads that nothing outside the stack is for: they hold its data, or are its door. All others
may have one policy, WORKLOAD-to-outside, that lets them out: a database of somebody else's, or a
bucket for backups, has an address that no policy can name."""


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
        for what in _too_open(policy):
            yield Problem(policy.name, what)


def _too_open(policy: Resource) -> Iterator[str]:
    spec = policy.inputs["spec"]
    for rule in spec.get("ingress") or ():
        if not rule.get("ports"):
            yield "opens every port"
        if not _names_workload(spec["podSelector"]):
            yield "lets somebody in to every pod"
        sources = rule.get("from") or [{}]
        named = all(_is_workload(source) or _may_ask(source, policy) for source in sources)
        if tier(policy) != "edge" and not named:
            yield "lets in more than one workload at once"
    for rule in spec.get("egress") or ():
        if _is_dns(rule) or _is_way_out(policy):
            continue
        if not rule.get("ports"):
            yield "opens every port of what it lets out to"
        if not _names_workload(spec["podSelector"]):
            yield "lets every pod out"
        if not all(map(_is_workload, rule.get("to") or [{}])):
            yield "lets out to more than one workload at once"


def _is_dns(rule: Mapping[str, Any]) -> bool:
    """Whether it is about looking up names alone; the name server may be anywhere."""
    ports = rule.get("ports") or ()
    return bool(ports) and all(p.get("port") == _DNS and "endPort" not in p for p in ports)


def _is_way_out(policy: Resource) -> bool:
    """Whether it is the one that lets a workload out of the stack, which is allowed one."""
    chosen = policy.inputs["spec"]["podSelector"].get("matchLabels") or {}
    name = chosen.get("crm.workload")
    own = policy.inputs["metadata"]["name"] == f"{name}-to-outside"
    return own and name not in _KEPT_IN


def _namespace(resource: Resource) -> str:
    return str(resource.inputs["metadata"].get("namespace", "default"))


def _denies_all(spec: Mapping[str, Any]) -> bool:
    rules = (spec.get("ingress"), spec.get("egress"))
    return not spec["podSelector"] and set(spec["policyTypes"]) == _BOTH and not any(rules)


def _selects(policy: Resource, labels: Mapping[str, Any]) -> bool:
    """Whether the policy is for those pods in particular."""
    chosen = policy.inputs["spec"]["podSelector"].get("matchLabels") or {}
    return bool(chosen) and chosen.items() <= labels.items()


def _is_workload(source: Mapping[str, Any]) -> bool:
    return set(source) == {"podSelector"} and _names_workload(source["podSelector"])


def _may_ask(source: Mapping[str, Any], policy: Resource) -> bool:
    """Whether it is one namespace, named by the label that the API server itself gives it, and
    let in to pods that have no data: to ask for their metrics."""
    chosen = source.get("namespaceSelector") or {}
    goal = (policy.inputs["spec"]["podSelector"].get("matchLabels") or {}).get("crm.workload")
    return (
        set(source) == {"namespaceSelector"}
        and set(chosen) == {"matchLabels"}
        and set(chosen["matchLabels"]) == {"kubernetes.io/metadata.name"}
        and (tier(policy) == "app" or goal == "partitions")
    )


def _names_workload(chosen: Mapping[str, Any]) -> bool:
    return "crm.workload" in (chosen.get("matchLabels") or {})


RULE = Rule(
    name="network_policies",
    reason="Pods of a cluster reach each other unless somebody says no.",
    fix="let the workload connect to what it needs by connects_to; the policies follow from it",
    reads=("NetworkPolicy", *CONTROLLERS),
    find=_find,
    alone=False,
)
