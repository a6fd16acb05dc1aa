"""Both targets' resources, read alike: labels, containers, pods, files."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct, structs

from policies.model import HIDDEN, UNKNOWN, Resource

CONTROLLERS = ("Deployment", "StatefulSet", "Job", "CronJob")
"""The kinds of a cluster's that have pods."""

RUNNING = ("Container", *CONTROLLERS)
"""What runs something; Docker's jobs are of the kind ``Job`` too."""


class Pod(Struct, frozen=True):
    """The pods of one controller. ``job`` is the specification of a job, empty elsewhere."""

    resource: Resource
    labels: Mapping[str, Any]
    spec: Mapping[str, Any]
    job: Mapping[str, Any]

    @property
    def serves(self) -> bool:
        """Whether it is no job."""
        return self.resource.kind in ("Deployment", "StatefulSet")

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All of its containers, those that only run first too."""
        return [*self.spec.get("containers", ()), *self.spec.get("initContainers", ())]


class Container(Struct, frozen=True):
    """One container of either target. ``docker`` holds the inputs of a container of Docker's,
    ``pod`` what a cluster's container is in; both are missing for a job of Docker's."""

    resource: Resource
    given: Mapping[str, Any]
    docker: bool = False
    pod: Pod | None = None

    @property
    def name(self) -> str:
        """What findings call it."""
        return self.resource.name

    @property
    def security(self) -> Mapping[str, Any]:
        """A cluster's security context, the pod's under the container's own."""
        above = self.pod.spec.get("securityContext") or {} if self.pod else {}
        return {**above, **(self.given.get("securityContext") or {})}


def is_kubernetes(resource: Resource) -> bool:
    """Whether it is an object of a cluster's."""
    return resource.type.startswith("kubernetes:")


def is_docker(resource: Resource, kind: str) -> bool:
    """Whether it is Docker's, of that kind: of its provider or one of the program's own."""
    return resource.kind == kind and not is_kubernetes(resource)


def labels(resource: Resource) -> dict[str, Any]:
    """Its labels, however it writes them."""
    if is_kubernetes(resource):
        return dict(resource.inputs["metadata"].get("labels") or {})
    given = resource.inputs.get("labels") or {}
    if isinstance(given, Mapping):
        return dict(given)
    return {str(entry["label"]): entry["value"] for entry in given}


def tier(resource: Resource) -> str:
    """The tier it is part of; empty where it says none."""
    return str(labels(resource).get("crm.tier", ""))


def workload(resource: Resource) -> str:
    """The workload it is part of; empty where it says none."""
    return str(labels(resource).get("crm.workload", ""))


def pods(resources: Sequence[Resource]) -> Iterator[Pod]:
    """What a cluster's controllers make."""
    for resource in resources:
        if is_kubernetes(resource) and resource.kind in CONTROLLERS:
            spec = resource.inputs["spec"]
            if resource.kind == "CronJob":
                spec = spec["jobTemplate"]["spec"]
            template = spec["template"]
            job = spec if resource.kind in ("Job", "CronJob") else {}
            yield Pod(resource, template["metadata"].get("labels") or {}, template["spec"], job)


def containers(resources: Sequence[Resource]) -> Iterator[Container]:
    """Everything that would run, on either target."""
    for resource in resources:
        if is_docker(resource, "Container"):
            yield Container(resource, resource.inputs, docker=True)
        elif is_docker(resource, "Job"):
            yield Container(resource, resource.inputs)
    for pod in pods(resources):
        for given in pod.containers:
            yield Container(pod.resource, given, pod=pod)


def with_containers(
    resource: Resource, change: Callable[[Container, dict[str, Any]], None]
) -> dict[str, Any]:
    """Its inputs after ``change`` of each of its containers: that is given a copy to write to."""
    copied = structs.replace(resource, inputs=copy.deepcopy(dict(resource.inputs)))
    for container in containers([copied]):
        change(container, cast("dict[str, Any]", container.given))
    return cast("dict[str, Any]", copied.inputs)


def environment(container: Container) -> dict[str, Any]:
    """Its variables by name. One that is not text at all keeps its value under the name ``_``."""
    found: dict[str, Any] = {}
    if container.docker:
        given = container.given.get("envs") or []
        for entry in [given] if given in (HIDDEN, UNKNOWN) else given:
            name, _, value = ("_", "", entry) if entry is HIDDEN else str(entry).partition("=")
            found[name] = value
    elif container.pod is not None:
        for entry in container.given.get("env") or ():
            found[str(entry["name"])] = entry.get("value", "")
    else:
        found.update(container.given.get("env") or {})
    return found


def files(resource: Resource) -> Mapping[str, Any]:
    """The rendered files that it holds, by name."""
    if is_docker(resource, "Files"):
        return resource.inputs.get("files") or {}
    if is_kubernetes(resource) and resource.kind == "ConfigMap":
        return {**(resource.inputs.get("data") or {}), **(resource.inputs.get("binaryData") or {})}
    return {}


def quantity(text: object) -> float:
    """A number of Kubernetes': ``200m`` → 0.2, ``256Mi`` → bytes."""
    given = str(text)
    units = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    units |= {"Ti": 2**40}
    number = given.rstrip("KkMmGTi")
    return float(number) * (units[given.removeprefix(number)] if given != number else 1)


def sizes(container: Container) -> tuple[float, float]:
    """Its limits: CPUs and MiB of memory, 0 where it has none."""
    given = container.given
    if container.pod is not None:
        limits = (given.get("resources") or {}).get("limits") or {}
        return quantity(limits.get("cpu") or 0), quantity(limits.get("memory") or 0) / 2**20
    memory = given.get("memory" if container.docker else "memory_mib")
    return float(given.get("cpus") or 0), float(memory or 0)


def copies(resources: Sequence[Resource]) -> dict[str, tuple[int, int]]:
    """How many there are of each resource that runs something: at least, and at most."""
    scaled = {
        resource.inputs["spec"]["scaleTargetRef"]["name"]: resource.inputs["spec"]
        for resource in resources
        if is_kubernetes(resource) and resource.kind == "HorizontalPodAutoscaler"
    }
    found = {container.name: (1, 1) for container in containers(resources)}
    for pod in pods(resources):
        given = pod.resource.inputs
        number = int(given["spec"].get("replicas", 1))
        scale = scaled.get(given["metadata"]["name"])
        if scale is not None:
            found[pod.resource.name] = int(scale.get("minReplicas", 1)), int(scale["maxReplicas"])
        else:
            found[pod.resource.name] = number, number
    return found
