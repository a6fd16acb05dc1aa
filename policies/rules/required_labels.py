"""It can be seen of everything whose it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, is_docker, is_kubernetes, labels, pods
from stacks.spec_policies import Policies

_DOCKER = ("Container", "Job", "Network", "Volume", "Files")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for resource in resources:
        wanted: list[str] = []
        if is_kubernetes(resource):
            wanted = ["crm.stack"]
        elif any(is_docker(resource, kind) for kind in _DOCKER):
            wanted = ["crm.stack", "crm.tier", "crm.workload"]
        if resource.kind == "Container" or (is_kubernetes(resource) and resource.kind in RUNNING):
            wanted += [
                "crm.tier",
                "crm.workload",
                "crm.owner",
                *asked.parameters.required_labels.labels,
            ]
            wanted += ["crm.cost_centre"] if asked.production else []
        found = labels(resource) if wanted else {}
        for name in dict.fromkeys(wanted):
            if not found.get(name):
                yield Problem(resource.name, f"has no label {name}")
    for pod in pods(resources):
        for name in ("crm.stack", "crm.tier", "crm.workload"):
            if not pod.labels.get(name):
                yield Problem(pod.resource.name, f"its pods have no label {name}")


RULE = Rule(
    name="required_labels",
    reason="What nobody owns nobody pays for, mends or dares to delete.",
    fix="write crm:owner and, in production, crm:cost_centre; the others are the targets' to set",
    find=_find,
)
