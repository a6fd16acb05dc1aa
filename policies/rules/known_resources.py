"""Nothing is deployed that no rule reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import CONTROLLERS
from stacks.spec_policies import Policies

_DYNAMIC = "pulumi-python:dynamic/crm:"
_CLUSTER = {
    *("Namespace", "ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service"),
    *CONTROLLERS,
    *("HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "Ingress"),
}
_KNOWN = {
    *("docker:index/container:Container", "docker:index/network:Network"),
    "docker:index/volume:Volume",
    *(
        f"{_DYNAMIC}{kind}"
        for kind in ("Endpoint", "Files", "GeneratedCertificate", "GeneratedSecret", "Image", "Job")
    ),
}


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for resource in resources:
        groups = resource.type.startswith("crm:") or resource.type.startswith("pulumi:")
        in_cluster = resource.type.startswith("kubernetes:") and resource.kind in _CLUSTER
        if not groups and not in_cluster and resource.type not in _KNOWN:
            yield Problem(resource.name, f"is a {resource.type}, which no rule reads")


RULE = Rule(
    name="known_resources",
    reason="What is never judged passes whatever it is.",
    fix="teach the rules to read its kind, then add it to policies/rules/known_resources.py",
    find=_find,
)
