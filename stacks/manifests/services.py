"""The names instances are reached by, and the one door from outside."""

from __future__ import annotations

from typing import Any

from stacks.manifests.common import metadata, selector
from stacks.plan import Plan
from stacks.workload import Instance, Workload

_TYPES = {"load_balancer": "LoadBalancer", "node_port": "NodePort", "ingress": "ClusterIP"}


def service(plan: Plan, workload: Workload, instance: Instance) -> dict[str, Any]:
    """A Service named as others call ``instance``, in front of its pod, and of those that share
    the name."""
    # What people come in by offers nothing else: a cluster may open all of its ports to them.
    offered = [port for port in workload.ports if port.publish or not is_published(workload)]
    alone = _alone(workload, instance)
    spec: dict[str, Any] = {
        "type": "ClusterIP",
        "selector": selector(plan, workload.name, alone.name if alone else None),
        "ports": [
            {"name": port.name, "port": port.number, "targetPort": port.name, "protocol": "TCP"}
            for port in offered
        ],
    }
    if workload.stop_first:
        # The pod's own address: members of a cluster tell each other theirs, and meet before
        # they are ready. Elsewhere the address stays the same, as proxies look it up once.
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    if is_published(workload):
        spec |= _published(plan, spec["ports"])
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan, instance.host, workload, alone),
        "spec": spec,
    }


def _alone(workload: Workload, instance: Instance) -> Instance | None:
    """``instance``, unless others are reached by its name too: all of the workload's, then."""
    return instance if len(workload.sharing(instance.host)) == 1 else None


def is_published(workload: Workload) -> bool:
    """Whether people come in by it."""
    return any(port.publish for port in workload.ports)


def _published(plan: Plan, ports: list[dict[str, Any]]) -> dict[str, Any]:
    expose = plan.kubernetes.expose
    found: dict[str, Any] = {"type": _TYPES[expose]}
    if expose == "node_port" and plan.kubernetes.node_port is not None:
        number = {"nodePort": plan.kubernetes.node_port}
        found["ports"] = [
            port | number if port["port"] == plan.edge.entry else port for port in ports
        ]
    if expose != "ingress":
        # `Local` keeps the client's address, but only nodes with an edge then answer, and a node
        # that has just lost it drops requests. So it is for those who go by the address.
        found["externalTrafficPolicy"] = "Local" if plan.edge.by_address else "Cluster"
    return found


def ingress(plan: Plan, workload: Workload, instance: Instance) -> dict[str, Any]:
    """HTTP for the stack's host name, by whatever serves Ingresses in the cluster."""
    port = next(port for port in workload.ports if port.publish)
    backend = {"service": {"name": instance.host, "port": {"name": port.name}}}
    spec: dict[str, Any] = {
        "rules": [
            {
                "host": plan.kubernetes.ingress_host,
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
            }
        ]
    }
    if plan.kubernetes.ingress_class:
        spec["ingressClassName"] = plan.kubernetes.ingress_class
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        # Not every kind of it says where it listens, so waiting for that might never end.
        "metadata": metadata(
            plan,
            instance.host,
            workload,
            _alone(workload, instance),
            {"pulumi.com/skipAwait": "true"},
        ),
        "spec": spec,
    }
