"""Everything that runs has a limit of CPU, of memory and of what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policies.model import Problem, Resource, Rule
from policies.reading import (
    RUNNING,
    Container,
    containers,
    pods,
    quantity,
    sizes,
    with_containers,
)
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        for what in _missing(container):
            yield Problem(container.name, what)
    for pod in pods(resources):
        for volume in pod.spec.get("volumes") or ():
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield Problem(pod.resource.name, f"its volume {volume['name']} has no limit")


def _missing(container: Container) -> Iterator[str]:
    given = container.given
    cpus, memory_mib = sizes(container)
    if cpus <= 0:
        yield "has no limit of CPU"
    if memory_mib <= 0:
        yield "has no limit of memory"
    elif container.docker and given.get("memorySwap") != given["memory"]:
        yield "memory and swap have no limit together"
    if container.docker:
        options = given.get("logOpts") or {}
        if given.get("logDriver", "json-file") == "json-file" and not options.get("max-size"):
            yield "its log has no limit"
        for path, how in (given.get("tmpfs") or {}).items():
            if "size=" not in str(how):
                yield f"its memory at {path} has no limit"
    if container.pod is not None:
        asked = (given.get("resources") or {}).get("requests") or {}
        if quantity(asked.get("memory") or 0) / 2**20 != memory_mib:
            yield "its memory's request and limit differ, so that it may be the first to be killed"
        if not quantity(asked.get("cpu") or 0):
            yield "no CPUs are set aside for it"


def _mend(container: Container, given: dict[str, Any]) -> None:
    # How much it needs, of memory, CPU or space, is nothing that a rule can know.
    if container.docker:
        if given.get("memory"):
            given["memorySwap"] = given["memory"]
        options = given.get("logOpts") or {}
        if given.get("logDriver", "json-file") == "json-file" and not options.get("max-size"):
            given["logOpts"] = {"max-file": "3", **options, "max-size": "10m"}
    elif container.pod is not None:
        resources = given.get("resources") or {}
        limits, requests = (dict(resources.get(key) or {}) for key in ("limits", "requests"))
        if limits.get("memory"):
            requests["memory"] = limits["memory"]
        if limits.get("cpu") and not quantity(requests.get("cpu") or 0):
            requests["cpu"] = limits["cpu"]
        given["resources"] = {**resources, "requests": requests}


RULE = Rule(
    name="limits",
    reason="One that takes all of a machine takes its neighbours down with it.",
    fix="give cpus and memory_mib",
    reads=RUNNING,
    find=_find,
    remedy=lambda resource: with_containers(resource, _mend),
)
