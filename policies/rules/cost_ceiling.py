"""A stack costs no more in a month than was agreed, by `stacks/prices.yaml`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from policies.model import STACK, Problem, Resource, Rule
from policies.reading import (
    Container,
    containers,
    copies,
    is_docker,
    is_kubernetes,
    quantity,
    sizes,
    workload,
)
from stacks import prices
from stacks.spec_policies import Policies


def month(resources: Sequence[Resource], by: prices.Prices) -> float:
    """What ``resources`` cost in a month at most, as `crm review` counts: what always runs, and on
    a cluster storage. Volumes on Docker are as large as their disk."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    number = copies(resources)
    for container in containers(resources):
        if _always_runs(container):
            most = number[container.name][1]
            for place, size in enumerate(sizes(container)):
                sums[workload(container.resource)][place] += most * size
    for resource in resources:
        if is_kubernetes(resource) and resource.kind == "PersistentVolumeClaim":
            wanted = resource.inputs["spec"]["resources"]["requests"]["storage"]
            sums[workload(resource)][2] += quantity(wanted) / 2**30
    return round(sum(by.month(*each) for each in sums.values()), 2)


def _always_runs(container: Container) -> bool:
    if container.pod is None:
        return is_docker(container.resource, "Container")
    return container.pod.serves and any(
        container.given is one for one in container.pod.spec["containers"]
    )


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    ceiling = asked.parameters.cost_ceiling.month
    if ceiling is None:
        return
    by = prices.load()
    cost = month(resources, by)
    if cost > ceiling:
        what = f"costs up to {cost:.2f} {by.currency} a month, and the ceiling is {ceiling:.2f}"
        yield Problem(STACK, what)


RULE = Rule(
    name="cost_ceiling",
    reason="What a zero too many costs is seen at the end of the month otherwise.",
    fix="ask for less, or raise crm:policies.parameters.cost_ceiling.month",
    reads=(
        *("Container", "Deployment", "StatefulSet"),
        *("HorizontalPodAutoscaler", "PersistentVolumeClaim"),
    ),
    find=_find,
    alone=False,
)
