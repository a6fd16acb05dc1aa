"""Workloads → Kubernetes objects as plain dictionaries, without Pulumi and without a cluster.

``crm render`` writes them, ``stacks/targets/kubernetes.py`` hands the same ones to Pulumi.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stacks.manifests import controllers, network_policies, services
from stacks.manifests.common import (
    DOCKER_CONFIG,
    PULL_SECRET,
    PULL_SECRET_OBJECT,
    SERVICE_ACCOUNT,
    Manifest,
    claim_spec,
    labels,
    metadata,
    rolling_secrets,
    secret_objects,
    short_hash,
)
from stacks.manifests.yaml_text import documents
from stacks.plan import Plan
from stacks.workload import Instance, Workload

__all__ = ["PULL_SECRET", "Manifest", "documents", "manifests"]

_LEVEL = "restricted"
_FILLED = {"crm.dev/filled-by": "crm up"}
"""A Secret's values are in no file: who applies the rendered ones has to give them."""


def manifests(plan: Plan, workloads: Sequence[Workload]) -> list[Manifest]:
    """Every object of the stack, each after what it comes after."""
    found = list(_of_stack(plan))
    everywhere = tuple(manifest.key for manifest in found if manifest.key != "namespace")
    running: dict[str, tuple[str, ...]] = {}
    for workload in workloads:
        before = tuple(key for name in workload.after for key in running[name])
        mine = list(_of_workload(plan, workload, workloads, (*everywhere, *before)))
        running[workload.name] = tuple(
            m.key for m in mine if m.object["kind"] in (*_CONTROLLERS, "Service")
        )
        found += mine
    return found


_CONTROLLERS = ("Deployment", "StatefulSet", "Job", "CronJob")


def _of_stack(plan: Plan) -> Iterator[Manifest]:
    """What all workloads share: the namespace and its rules."""
    namespace = metadata(plan, plan.kubernetes.namespace)
    del namespace["namespace"]
    for mode in ("enforce", "audit", "warn"):
        namespace["labels"] |= {
            f"pod-security.kubernetes.io/{mode}": _LEVEL,
            f"pod-security.kubernetes.io/{mode}-version": "latest",
        }
    yield Manifest(
        key="namespace",
        object={"apiVersion": "v1", "kind": "Namespace", "metadata": namespace},
    )
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(plan, SERVICE_ACCOUNT),
        "automountServiceAccountToken": False,
    }
    yield Manifest(key="service-account", object=account, after=("namespace",))
    deny = network_policies.deny_all(plan)
    yield Manifest(key="deny-all", object=deny, after=("namespace",))
    dns = network_policies.allow_dns(plan)
    yield Manifest(key="allow-dns", object=dns, after=("namespace",))
    if plan.kubernetes.pull_secret is not None:
        yield Manifest(
            key=PULL_SECRET_OBJECT,
            object=_secret(plan, PULL_SECRET_OBJECT, None, DOCKER_CONFIG),
            after=("namespace",),
            secrets=(PULL_SECRET,),
        )


def _of_workload(
    plan: Plan, workload: Workload, workloads: Sequence[Workload], before: tuple[str, ...]
) -> Iterator[Manifest]:
    needs = list(before)
    name = workload.name
    for policy in network_policies.of_workload(plan, workload, workloads):
        needs.append(policy["metadata"]["name"])
        yield Manifest(key=needs[-1], object=policy, after=("namespace",), workload=name)
    for secrets, held in secret_objects(workload).items():
        needs.append(secrets)
        yield Manifest(
            key=secrets,
            object=_secret(plan, secrets, workload, "Opaque"),
            after=("namespace",),
            workload=name,
            secrets=held,
        )
    yield from _files(plan, workload)
    last: tuple[str, ...] = ()
    for instance in workload.instances:
        made = list(_of_instance(plan, workload, instance, (*needs, *last)))
        # One after the other, so that an update never takes all of them at once.
        last = tuple(m.key for m in made if m.object["kind"] in _CONTROLLERS)
        yield from made
    if not workload.run_once:
        yield Manifest(
            key=f"{name}-disruptions",
            object=controllers.disruption_budget(plan, workload),
            after=("namespace",),
            workload=name,
        )


def _of_instance(
    plan: Plan, workload: Workload, instance: Instance, needs: tuple[str, ...]
) -> Iterator[Manifest]:
    name = workload.name
    files_key = f"{_files_owner(workload, instance)}-files"
    needs = (*needs, files_key)
    if instance.data is not None:
        data = f"{instance.data.name}-data"
        needs = (*needs, data)
    if instance.own_data is not None:
        yield Manifest(
            key=data,
            object=_claim(plan, workload, instance, data, instance.own_data.size_gib),
            after=("namespace",),
            workload=name,
            protect=instance.own_data.protect,
        )
    # Of those that share a name it comes with the last.
    sharing = workload.sharing(instance.host)
    behind, is_last = sharing[0].name, sharing[-1] is instance
    service = None
    if workload.ports and not workload.run_once and is_last:
        service = Manifest(
            key=f"{behind}-service",
            object=services.service(plan, workload, instance),
            # One with an address of its own is ready when a pod stands behind it.
            after=("namespace",) if workload.stop_first else (instance.name,),
            workload=name,
        )
    if service is not None and workload.stop_first:
        needs = (*needs, service.key)
        yield service
    files = _config_map(plan, workload, instance)["metadata"]["name"]
    yield Manifest(
        key=instance.name,
        object=controllers.controller(plan, workload, instance, files),
        after=needs,
        workload=name,
        # A Job that is done needs no other password.
        rolls_on=() if workload.run_once else rolling_secrets(workload),
    )
    if service is not None and not workload.stop_first:
        yield service
    if workload.scale is not None:
        yield Manifest(
            key=f"{instance.name}-autoscaler",
            object=controllers.autoscaler(plan, workload, instance, workload.scale),
            after=(instance.name,),
            workload=name,
        )
    if services.is_published(workload) and plan.kubernetes.expose == "ingress" and is_last:
        yield Manifest(
            key=f"{behind}-ingress",
            object=services.ingress(plan, workload, instance),
            after=(f"{behind}-service",),
            workload=name,
        )


def _secret(plan: Plan, name: str, workload: Workload | None, kind: str) -> dict[str, Any]:
    about = metadata(plan, name, workload, annotations=_FILLED)
    # Every change of a Secret replaces the pods that use it; another owner must not.
    about["labels"] = labels(plan, workload)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": about, "type": kind}


def _files_owner(workload: Workload, instance: Instance) -> str:
    return instance.name if instance.files else workload.name


def _files(plan: Plan, workload: Workload) -> Iterator[Manifest]:
    """One ConfigMap for each instance with files of its own, one for all others."""
    met = set()
    for instance in workload.instances:
        key = f"{_files_owner(workload, instance)}-files"
        if key not in met:
            met.add(key)
            yield Manifest(
                key=key,
                object=_config_map(plan, workload, instance),
                after=("namespace",),
                workload=workload.name,
            )


def _config_map(plan: Plan, workload: Workload, instance: Instance) -> dict[str, Any]:
    """Never changed: other files are another ConfigMap, so that just what reads them rolls."""
    files = workload.files_of(instance)
    own = instance if instance.files else None
    name = f"{_files_owner(workload, instance)}-files-{short_hash(files)}"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan, name, workload, own),
        "immutable": True,
        "data": files,
    }


def _claim(
    plan: Plan, workload: Workload, instance: Instance, name: str, size_gib: int
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        # Many classes bind a volume only when its pod has a node, which comes after this.
        "metadata": metadata(plan, name, workload, instance, {"pulumi.com/skipAwait": "true"}),
        "spec": claim_spec(plan, size_gib),
    }
