"""A stack stays as large as was agreed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from policies.model import STACK, Problem, Resource, Rule
from policies.reading import RUNNING, containers, copies, is_kubernetes, quantity, sizes
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    sums = {"containers": 0.0, "cpus": 0.0, "memory_mib": 0.0, "storage_gib": 0.0}
    number = copies(resources)
    for container in containers(resources):
        most = number[container.name][1]
        cpus, memory_mib = sizes(container)
        sums["containers"] += most
        sums["cpus"] += most * cpus
        sums["memory_mib"] += most * memory_mib
    for resource in resources:
        if is_kubernetes(resource) and resource.kind == "PersistentVolumeClaim":
            wanted = resource.inputs["spec"]["resources"]["requests"]["storage"]
            sums["storage_gib"] += quantity(wanted) / 2**30
    ceilings = structs.asdict(asked.parameters.size_ceiling)
    for name, value in sums.items():
        if value > ceilings[name]:
            what = f"asks for {value:g} {name}, and the ceiling is {ceilings[name]}"
            yield Problem(STACK, what)


RULE = Rule(
    name="size_ceiling",
    reason="A zero too many is a bill, or a machine that is full.",
    fix="ask for less, or raise crm:policies.parameters.size_ceiling",
    reads=(*RUNNING, "HorizontalPodAutoscaler", "PersistentVolumeClaim"),
    find=_find,
    alone=False,
)
