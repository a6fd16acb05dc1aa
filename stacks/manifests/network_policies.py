"""Who may talk to whom: nobody, then one allow at each end of every real connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stacks.manifests.common import metadata, selector
from stacks.plan import Plan
from stacks.workload import Port, Workload


def deny_all(plan: Plan) -> dict[str, Any]:
    """Nothing goes in or out unless another policy allows it."""
    return _policy(plan, "deny-all", None, {"policyTypes": ["Ingress", "Egress"]})


def allow_dns(plan: Plan) -> dict[str, Any]:
    """Names are looked up by all. Where is left open: clusters differ in where their name server
    runs, and one on the node itself matches no selector."""
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return _policy(
        plan, "allow-dns", None, {"policyTypes": ["Egress"], "egress": [{"ports": ports}]}
    )


def of_workload(
    plan: Plan, workload: Workload, workloads: Sequence[Workload]
) -> Iterator[dict[str, Any]]:
    """The policies that select ``workload``'s pods."""
    for other in workloads:
        ports = _ports(workload, other)
        if workload.name in other.connects_to and ports:
            source = {"podSelector": {"matchLabels": selector(plan, other.name)}}
            yield _policy(
                plan,
                f"{workload.name}-from-{other.name}",
                workload,
                {"policyTypes": ["Ingress"], "ingress": [{"from": [source], "ports": ports}]},
            )
    published = [port for port in workload.ports if port.publish]
    if published:
        yield _policy(
            plan,
            f"{workload.name}-from-outside",
            workload,
            {"policyTypes": ["Ingress"], "ingress": [{"ports": [_port(p) for p in published]}]},
        )
    figures = [_port(port) for port in workload.ports if port.metrics]
    if plan.kubernetes.metrics_from and figures:
        named = {"kubernetes.io/metadata.name": plan.kubernetes.metrics_from}
        source = {"namespaceSelector": {"matchLabels": named}}
        yield _policy(
            plan,
            f"{workload.name}-from-namespace",
            workload,
            {"policyTypes": ["Ingress"], "ingress": [{"from": [source], "ports": figures}]},
        )
    for other in workloads:
        ports = _ports(other, workload)
        if other.name in workload.connects_to and ports:
            goal = {"podSelector": {"matchLabels": selector(plan, other.name)}}
            yield _policy(
                plan,
                f"{workload.name}-to-{other.name}",
                workload,
                {"policyTypes": ["Egress"], "egress": [{"to": [goal], "ports": ports}]},
            )
    if workload.reaches_outside:
        yield _policy(
            plan,
            f"{workload.name}-to-outside",
            workload,
            {"policyTypes": ["Egress"], "egress": [{}]},
        )


def _ports(listening: Workload, calling: Workload) -> list[dict[str, Any]]:
    """What ``calling`` may reach of ``listening``."""
    own = listening.name == calling.name
    return [_port(port) for port in listening.ports if own or not port.peers]


def _port(port: Port) -> dict[str, Any]:
    return {"port": port.number, "protocol": "TCP"}


def _policy(
    plan: Plan, name: str, workload: Workload | None, spec: dict[str, Any]
) -> dict[str, Any]:
    chosen = {"matchLabels": selector(plan, workload.name)} if workload else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(plan, name, workload),
        "spec": {"podSelector": chosen, **spec},
    }
