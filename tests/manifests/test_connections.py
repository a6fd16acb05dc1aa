"""Who may talk to whom, and the one door from outside."""

from __future__ import annotations

import re
from typing import Any

import yaml

from stacks.manifests import Manifest
from stacks.paths import ROOT
from tests.manifests.reading import Object, every_set, of_kind, one
from tests.manifests.sets import NAMES, made, parsed

# --- Who may talk to whom -------------------------------------------------------------------------


def allowed(found: list[Manifest], direction: str) -> set[tuple[str, str, int]]:
    """(from, to, port) of every allow in ``direction`` (``ingress`` or ``egress``)."""
    side = "from" if direction == "ingress" else "to"
    pairs = set()
    for policy in of_kind(found, "NetworkPolicy").values():
        mine = policy["spec"]["podSelector"].get("matchLabels", {}).get("crm.workload", "*")
        for rule in policy["spec"].get(direction, []):
            for peer in rule.get(side, [{}]):
                other = peer.get("podSelector", {}).get("matchLabels", {}).get("crm.workload", "*")
                ends = (other, mine) if direction == "ingress" else (mine, other)
                for port in rule.get("ports", [{"port": 0}]):
                    pairs.add((*ends, port["port"]))
    return pairs


def test_default_is_deny_both_ways() -> None:
    spec = one(made("kubernetes")[2], "deny-all")["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_real_connection_is_allowed_at_both_ends_and_no_other() -> None:
    _, _, found = made("kubernetes")
    inside = {
        ("schema", "database", 3306),
        ("app", "database", 3306),
        ("app", "cache", 6379),
        ("cache", "cache", 6379),
        ("cache", "cache", 16379),
        ("edge", "app", 8000),
    }
    assert allowed(found, "ingress") == inside | {("*", "edge", 8080)}
    assert allowed(found, "egress") == inside | {("*", "*", 53)}


def test_cluster_bus_asks_for_no_password_so_only_its_members_reach_it() -> None:
    _, _, found = made("kubernetes")
    assert {a for a, _, port in allowed(found, "ingress") if port == 16379} == {"cache"}


def test_only_who_uses_what_is_not_of_the_stack_reaches_outside() -> None:
    _, _, found = made("external")
    outside = {
        source for source, goal, port in allowed(found, "egress") if (goal, port) == ("*", 0)
    }
    assert outside == {"schema", "app"}
    everywhere = allowed(made("kubernetes")[2], "egress")
    assert not [a for a in everywhere if a[1:] == ("*", 0)]


@every_set
def test_policies_follow_from_the_workloads(name: str) -> None:
    _, workloads, found = made(name)
    pairs = {(a, b) for a, b, _ in allowed(found, "egress")} - {("*", "*")}
    wanted = {(w.name, other) for w in workloads for other in w.connects_to}
    wanted |= {(w.name, "*") for w in workloads if w.reaches_outside}
    assert pairs == wanted


# Who has figures, by the variant that runs all of them.
FIGURES = {("edge", 9113), ("app", 8000), ("orders", 8000), ("partitions", 8000)}


def test_one_namespace_may_ask_all_that_have_figures_and_nothing_else() -> None:
    config: dict[str, Any] = {
        "edge": {"routes": [{"prefix": "/api/v1/orders", "service": "orders"}]},
        "services": {"orders": {"health_path": "/healthz"}},
        "database": {
            "backup": {},
            "tables": {"visits": {"column": "seen_at", "interval": "day", "ahead": 1}},
        },
    }
    _, _, closed = parsed(**config)
    _, _, found = parsed(**config, kubernetes={"metrics_from": "monitoring"})
    # All else is as it is without it.
    others = [m.object for m in found if not m.key.endswith("-from-namespace")]
    assert others == [m.object for m in closed]
    opened = [m for m in found if m.key.endswith("-from-namespace")]
    asked = set()
    for manifest in opened:
        spec = manifest.object["spec"]
        (rule,) = spec["ingress"]
        named = {"kubernetes.io/metadata.name": "monitoring"}
        assert rule["from"] == [{"namespaceSelector": {"matchLabels": named}}]
        assert spec["policyTypes"] == ["Ingress"]
        (port,) = rule["ports"]
        asked.add((spec["podSelector"]["matchLabels"]["crm.workload"], port["port"]))
    assert asked == FIGURES


def test_documented_monitor_finds_the_pods_and_ports_with_figures() -> None:
    _, workloads, _ = parsed(
        database={"tables": {"visits": {"column": "seen_at", "interval": "day", "ahead": 1}}}
    )
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(apiVersion: monitoring.*?)```", text, re.DOTALL)
    asked = set()
    for monitor in yaml.safe_load_all(shown):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["path"] == "/metrics"
        (chosen,) = monitor["spec"]["selector"]["matchExpressions"]
        assert chosen["operator"] == "In"
        for workload in workloads:
            labels = {"crm.tier": workload.tier, "crm.workload": workload.name}
            if labels[chosen["key"]] in chosen["values"]:
                (number,) = [p.number for p in workload.ports if p.name == endpoint["port"]]
                asked.add((workload.name, number))
    assert asked == {pair for pair in FIGURES if pair[0] != "orders"}


# --- The door -------------------------------------------------------------------------------------


def door(**config: Any) -> Object:
    spec: Object = one(parsed(**config)[2], "edge-service")["spec"]
    return spec


def test_edge_is_offered_as_the_stack_says_and_nothing_else_is() -> None:
    assert door()["type"] == "LoadBalancer"
    node_port = door(kubernetes={"expose": "node_port", "node_port": 30080})
    assert (node_port["type"], node_port["ports"][0]["nodePort"]) == ("NodePort", 30080)
    assert "nodePort" not in door(kubernetes={"expose": "node_port"})["ports"][0]
    for name in NAMES:
        _, _, found = made(name)
        others = of_kind(found, "Service").items()
        assert {s["spec"]["type"] for k, s in others if k != "edge-service"} <= {"ClusterIP"}


def test_ingress_leads_to_the_edge_that_is_then_inside() -> None:
    _, _, found = made("ingress")
    assert one(found, "edge-service")["spec"]["type"] == "ClusterIP"
    ingress = one(found, "edge-ingress")
    assert ingress["spec"]["ingressClassName"] == "nginx"
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "crm.example.com"
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "edge", "port": {"name": "http"}}
    assert not of_kind(made("kubernetes")[2], "Ingress")


def test_clients_address_is_kept_only_where_the_edge_goes_by_it() -> None:
    hashed = {"algorithm": "consistent_hash"}
    limited = {"limits": {"client_requests_per_second": 20}}
    node_port = {"expose": "node_port"}
    for edge in (hashed, limited):
        assert door(edge=edge)["externalTrafficPolicy"] == "Local"
        assert door(edge=edge, kubernetes=node_port)["externalTrafficPolicy"] == "Local"
    # Else any node answers, also one that has just lost its edge.
    assert door()["externalTrafficPolicy"] == "Cluster"
    by_header = hashed | {"hash_header": "X-Customer-ID"}
    assert door(edge=by_header)["externalTrafficPolicy"] == "Cluster"
    assert door(kubernetes=node_port)["externalTrafficPolicy"] == "Cluster"
