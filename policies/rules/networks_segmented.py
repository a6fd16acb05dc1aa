"""On Docker each tier has a network of its own, and only the edge's reaches out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import Container, containers, is_docker, tier, workload
from stacks.spec_policies import Policies

_DATA = ("database", "cache")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    networks = {r.inputs["name"]: r for r in resources if is_docker(r, "Network")}
    for network in networks.values():
        if network.inputs.get("driver") != "bridge":
            yield Problem(network.name, f"is of the driver {network.inputs.get('driver')}")
        if not network.inputs.get("internal") and not _is_open(network):
            yield Problem(network.name, "reaches the outside")
    for container in containers(resources):
        if container.pod is not None:
            continue
        joined = _joined(container)
        if not joined:
            yield Problem(container.name, "is in Docker's own network with everything else")
        for name in joined:
            other = networks.get(name)
            if other is None:
                yield Problem(container.name, f"is in {name}, which is not the stack's")
            elif tier(container.resource) == "edge" and tier(other) in _DATA:
                yield Problem(container.name, f"is in a network with the {tier(other)}")
            elif workload(container.resource) in _DATA and _is_open(other):
                yield Problem(container.name, f"is in {name}, which reaches the outside")


def _is_open(network: Resource) -> bool:
    """The edge's, and what a service is given to reach what is not the stack's."""
    return tier(network) == "edge" or network.name.endswith("-outside-network")


def _joined(container: Container) -> list[str]:
    if container.docker:
        return [given["name"] for given in container.given.get("networksAdvanced") or ()]
    return list(container.given.get("networks") or ())


RULE = Rule(
    name="networks_segmented",
    reason="Who breaks into the edge must not find the database next door.",
    fix="let the workload connect to what it needs by connects_to, and to nothing else",
    reads=("Network", "Container", "Job"),
    find=_find,
    alone=False,
)
