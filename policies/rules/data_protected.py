"""The database's data outlives mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import containers, is_docker, pods, tier, workload
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    kept = set()
    for resource in resources:
        is_claim = resource.kind == "PersistentVolumeClaim"
        is_volume = is_docker(resource, "Volume") and not resource.name.endswith("-files")
        if (is_claim or is_volume) and tier(resource) == "database":
            if resource.protect:
                about = resource.inputs["metadata"] if is_claim else resource.inputs
                kept.add(about["name"])
            else:
                yield Problem(resource.name, "holds data and is not protected")
        if is_docker(resource, "GeneratedSecret") and not resource.protect:
            yield Problem(resource.name, "opens data and is not protected")
    for container in containers(resources):
        if container.docker and workload(container.resource) == "database":
            given = container.given.get("volumes") or ()
            if not kept & {volume.get("volumeName") for volume in given}:
                yield Problem(container.name, "keeps its data in no protected volume")
    for pod in pods(resources):
        if pod.serves and workload(pod.resource) == "database":
            claims = [v.get("persistentVolumeClaim") or {} for v in pod.spec.get("volumes") or ()]
            if not kept & {claim.get("claimName") for claim in claims}:
                yield Problem(pod.resource.name, "keeps its data in no protected volume")


RULE = Rule(
    name="data_protected",
    reason="Containers come and go; rows that were acknowledged may not.",
    fix="protect the volume and what opens it (protect: true of the workload's data)",
    reads=(
        *("Volume", "PersistentVolumeClaim", "GeneratedSecret"),
        *("Container", "Deployment", "StatefulSet"),
    ),
    find=_find,
    alone=False,
)
