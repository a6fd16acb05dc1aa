"""Ways to ask a set of manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stacks.manifests import Manifest
from stacks.workload import Workload
from tests.manifests.sets import NAMES

Object = dict[str, Any]

every_set = pytest.mark.parametrize("name", NAMES)


def of_kind(found: list[Manifest], *kinds: str) -> dict[str, Object]:
    """The objects of these kinds, by key."""
    return {m.key: m.object for m in found if m.object["kind"] in kinds}


def pods(found: list[Manifest]) -> Iterator[tuple[str, Object]]:
    """Each controller's key and its pod template."""
    for manifest in found:
        spec = manifest.object.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield manifest.key, spec["template"]


def containers(found: list[Manifest]) -> Iterator[tuple[str, Object]]:
    for key, template in pods(found):
        for container in template["spec"]["containers"] + template["spec"].get(
            "initContainers", []
        ):
            yield f"{key}/{container['name']}", container


def one(found: list[Manifest], key: str) -> Object:
    return next(m.object for m in found if m.key == key)


def container_of(found: list[Manifest], key: str) -> Object:
    containers: list[Object] = dict(pods(found))[key]["spec"]["containers"]
    return containers[0]


def named(workloads: list[Workload], name: str) -> Workload:
    return next(workload for workload in workloads if workload.name == name)


def reachable(found: list[Manifest], key: str) -> set[str]:
    """Everything that is there before ``key``."""
    after = {m.key: m.after for m in found}
    met: set[str] = set()
    waiting = [key]
    while waiting:
        for needed in after[waiting.pop()]:
            if needed not in met:
                met.add(needed)
                waiting.append(needed)
    return met
