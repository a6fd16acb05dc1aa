"""Work on volumes, done once and asked for by a person: a Job that is gone when it was looked at.

Its files are in a ConfigMap, and a volume of its own is one of the pod: both go with the Job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stacks.manifests import pods
from stacks.manifests.common import claim_spec, metadata
from stacks.plan import Plan
from stacks.workload import DATA_PATH, Workload

ANSWER = "/dev/termination-log"
"""What a container writes here is kept with how it ended: 4096 bytes at most."""

_KEPT_SECONDS = 600
"""How long one that has ended stays when nobody is there any more to look at it."""


def job(
    plan: Plan,
    workload: Workload,
    claims: Mapping[str, str],
    *,
    seconds: int,
    own_gib: int | None = None,
    node: str | None = None,
) -> dict[str, Any]:
    """A Job of ``workload``, which has one instance, that waits for its files.

    ``claims`` are mounted by path, all but the one at ``DATA_PATH`` to read only; with ``own_gib``
    it has a volume of its own there, of that size. All claims are of the node ``node``, where it
    is known.
    """
    (instance,) = workload.instances
    template = pods.template(plan, workload, instance, instance.name)
    template["spec"] |= {"restartPolicy": "Never"} | ({"affinity": _on(node)} if node else {})
    (container,) = template["spec"]["containers"]
    for path, claim in sorted(claims.items()):
        name = pods.volume_name(path)
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}}
        template["spec"]["volumes"].append({"name": name, **source})
        mount = {"name": name, "mountPath": path}
        container["volumeMounts"].append(
            mount if path == DATA_PATH else {**mount, "readOnly": True}
        )
    if own_gib is not None:
        claimed = {"metadata": {"labels": template["metadata"]["labels"]}}
        claimed["spec"] = claim_spec(plan, own_gib)
        name = pods.volume_name(DATA_PATH)
        template["spec"]["volumes"].append(
            {"name": name, "ephemeral": {"volumeClaimTemplate": claimed}}
        )
        container["volumeMounts"].append({"name": name, "mountPath": DATA_PATH})
    # Else every start would walk through all of the data.
    template["spec"]["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(plan, instance.name, workload, instance),
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": template,
        },
    }


def files(plan: Plan, workload: Workload, owner: Mapping[str, Any]) -> dict[str, Any]:
    """The ConfigMap that ``job``'s pod reads; it goes with ``owner``, the live Job."""
    (instance,) = workload.instances
    about = metadata(plan, instance.name, workload, instance)
    about["ownerReferences"] = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": about,
        "data": workload.files_of(instance),
    }


def _on(node: str) -> dict[str, Any]:
    """Not by the label of a host name, which some clusters give another value."""
    wanted = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = [{"matchFields": [wanted]}]
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}
        }
    }
