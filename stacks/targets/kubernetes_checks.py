"""Whether a cluster can carry the stack: asked before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.plan import Plan
from stacks.targets import kubernetes_host
from stacks.targets.kubernetes_host import Cluster, Refused
from stacks.workload import STACK_LABEL, Workload, size_key

OWNER_LABEL = "crm.owner"
OLDEST = (1, 31)
"""Its API server knows every field we use: kubernetes.io/docs' version skew, three minors back."""


def check(plan: Plan, workloads: Sequence[Workload]) -> None:
    """Raise ``CrmError`` when the cluster cannot be had, is too old, does not know what the stack
    file names, belongs to somebody else there, or is too small for one of the workloads."""
    cluster = kubernetes_host.connect(plan.kubernetes.context)
    _check_version(cluster)
    source = stack_file_name(plan.stack)
    _check_namespace(cluster, plan, source)
    _check_storage(cluster, plan, workloads, source)
    _check_nodes(cluster, workloads, source)
    _check_entry(cluster, plan, source)


def _check_version(cluster: Cluster) -> None:
    found = cluster.server_version()
    if found < OLDEST:
        raise CrmError(
            f"the cluster of context {cluster.context} runs Kubernetes {_dotted(found)}, and what "
            f"is written here needs {_dotted(OLDEST)} or later; upgrade it, or name another "
            "cluster in crm:kubernetes.context"
        )


def _check_namespace(cluster: Cluster, plan: Plan, source: str) -> None:
    name = plan.kubernetes.namespace
    labels = cluster.namespace_labels(name)
    if labels is None:
        return
    stack, owner = labels.get(STACK_LABEL), labels.get(OWNER_LABEL)
    way_out = "; write another one, such as"
    if stack is None:
        who = "is there already and belongs to somebody else"
    elif stack != plan.stack:
        who = f"belongs to the stack {stack}"
    elif owner != plan.owner:
        who = f"belongs to {owner or 'nobody'}, and this stack's crm:owner is {plan.owner}"
        way_out = (
            f"; if that is right, run: kubectl label namespace {name} "
            f"{OWNER_LABEL}={plan.owner} --overwrite; else write another one, such as"
        )
    else:
        return
    raise CrmError(
        f"{source}: crm:kubernetes.namespace: {name} in the cluster of context {cluster.context} "
        f"{who}{way_out} {name}-2"
    )


def _check_storage(
    cluster: Cluster, plan: Plan, workloads: Sequence[Workload], source: str
) -> None:
    if not any(instance.data for workload in workloads for instance in workload.instances):
        return
    found = cluster.storage_classes()
    wanted = plan.kubernetes.storage_class
    if wanted is not None and wanted not in found:
        raise CrmError(
            f"{source}: crm:kubernetes.storage_class: the cluster has no {wanted}; "
            f"it has {_listed(found)}"
        )
    if wanted is None and not any(found.values()):
        raise CrmError(
            f"{source}: crm:kubernetes.storage_class: the cluster has no default; write the one "
            f"to use: it has {_listed(found)}"
        )


def _check_nodes(cluster: Cluster, workloads: Sequence[Workload], source: str) -> None:
    """A pod that no node could ever take would wait for ever. Whether all fit at once is the
    scheduler's to say: clusters may grow."""
    nodes = cluster.node_sizes()
    if not nodes:
        raise CrmError(f"the cluster of context {cluster.context} has no node that takes pods")
    for workload in workloads:
        if any(
            workload.cpus <= node.cpus and workload.memory_mib <= node.memory_mib for node in nodes
        ):
            continue
        cpus = max(node.cpus for node in nodes)
        memory_mib = max(node.memory_mib for node in nodes)
        if workload.cpus > cpus:
            what, wanted, most = "cpus", f"{workload.cpus:g} CPUs", f"{cpus:g}"
        elif workload.memory_mib > memory_mib:
            what, wanted, most = "memory_mib", f"{workload.memory_mib} MiB", f"{memory_mib}"
        else:
            what, most = "", ""
        key = size_key(workload)
        if key is None:
            raise CrmError(
                f"{source}: {workload.name}, whose size is the platform's own, asks for "
                f"{workload.cpus:g} CPUs and {workload.memory_mib} MiB, but the largest node "
                f"offers {cpus:g} and {memory_mib} to pods; give the cluster a larger one"
            )
        if not what:
            sizes = ", ".join(f"{n.name} {n.cpus:g} and {n.memory_mib}" for n in nodes[:5])
            raise CrmError(
                f"{source}: crm:{key}: {workload.cpus:g} CPUs and {workload.memory_mib} "
                f"MiB fit on no node at once ({sizes}); lower one of them"
            )
        raise CrmError(
            f"{source}: crm:{key}.{what}: {workload.name} asks for {wanted}, but the "
            f"largest node offers {most} to pods; write {most} or less"
        )


def _check_entry(cluster: Cluster, plan: Plan, source: str) -> None:
    asked = plan.kubernetes
    if asked.expose == "ingress":
        found = cluster.ingress_classes()
        if asked.ingress_class is not None and asked.ingress_class not in found:
            raise CrmError(
                f"{source}: crm:kubernetes.ingress_class: the cluster has no "
                f"{asked.ingress_class}; it has {_listed(found)}"
            )
        if asked.ingress_class is None and not any(found.values()):
            raise CrmError(
                f"{source}: crm:kubernetes.ingress_class: the cluster has no default; write the "
                f"one to use: it has {_listed(found)}"
            )
    if asked.expose == "node_port" and asked.node_port is not None:
        # Who may not look at other namespaces learns it from the API server, at the edge.
        with suppress(Refused):
            _check_node_port(cluster, asked.node_port, asked.namespace, source)


def _check_node_port(cluster: Cluster, port: int, namespace: str, source: str) -> None:
    for service in cluster.find("v1", "Service"):
        where = service["metadata"]["namespace"]
        taken = {entry.get("nodePort") for entry in service["spec"].get("ports") or ()}
        if port in taken and where != namespace:
            raise CrmError(
                f"{source}: crm:kubernetes.node_port: {port} is taken by the Service "
                f"{service['metadata']['name']} in the namespace {where}; write another one"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none at all"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
