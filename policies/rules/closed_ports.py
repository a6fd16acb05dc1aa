"""Nothing but the edge has published ports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, containers, is_kubernetes, tier
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        given = container.given
        ports = given.get("ports") or ()
        if container.pod is not None:
            if any(port.get("hostPort") for port in ports):
                yield Problem(container.name, "takes a port of its node's")
        elif given.get("publishAllPorts"):
            yield Problem(container.name, "publishes whatever its image exposes")
        elif ports and tier(container.resource) != "edge":
            numbers = ", ".join(f"{port.get('external', 'any'):g}" for port in ports)
            yield Problem(container.name, f"publishes port {numbers}")
    for resource in resources:
        if not is_kubernetes(resource) or tier(resource) == "edge":
            continue
        if resource.kind == "Ingress":
            yield Problem(resource.name, "is an Ingress of another tier than the edge")
        if resource.kind == "Service":
            spec = resource.inputs["spec"]
            if (kind := spec.get("type", "ClusterIP")) != "ClusterIP":
                yield Problem(resource.name, f"is offered outside the cluster ({kind})")
            if spec.get("externalIPs"):
                yield Problem(resource.name, "has addresses outside the cluster")


RULE = Rule(
    name="closed_ports",
    reason="A database or cache that the outside reaches is one password away from it.",
    fix="publish at the edge alone; for a look inside use docker exec or kubectl port-forward",
    reads=(*RUNNING, "Service", "Ingress"),
    find=_find,
)
