"""HTTPS at the edge, on a cluster: the door offers it, and its certificate is in a Secret."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests.reading import Object, container_of, every_set, named, of_kind, one, pods
from tests.manifests.sets import made, parsed

TLS = {"tls": {"hosts": ["crm.example.com"]}}
NAMES = ("edge_tls_certificate", "edge_tls_key")


def ports(**config: Any) -> dict[str, Object]:
    """What the edge's Service offers, by name."""
    found = one(parsed(**config)[2], "edge-service")["spec"]["ports"]
    return {port["name"]: port for port in found}


@every_set
def test_door_offers_nothing_but_what_is_published(name: str) -> None:
    _, workloads, found = made(name)
    published = {port.name for port in named(workloads, "edge").ports if port.publish}
    offered = {port["name"] for port in one(found, "edge-service")["spec"]["ports"]}
    assert offered == published
    assert "metrics" not in offered


def test_door_offers_both_ways_in_with_tls() -> None:
    found = ports(edge=TLS)
    assert {name: port["port"] for name, port in found.items()} == {"http": 8080, "https": 8443}
    assert set(ports()) == {"http"}


def test_port_of_nodes_is_that_of_https_where_there_is_one() -> None:
    asked = {"expose": "node_port", "node_port": 30443}
    found = ports(edge=TLS, kubernetes=asked)
    assert found["https"]["nodePort"] == 30443
    assert "nodePort" not in found["http"]
    assert ports(kubernetes=asked)["http"]["nodePort"] == 30443


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_plain_http_leads_to_the_port_of_nodes(proxy: str) -> None:
    asked = {"expose": "node_port", "node_port": 30443}
    _, workloads, _ = parsed(edge={**TLS, "proxy": proxy}, kubernetes=asked)
    (text,) = [
        text
        for name, text in named(workloads, "edge").files.items()
        if name in ("nginx.conf", "haproxy.cfg")
    ]
    assert ":30443" in text
    assert ":8443" not in text.replace("bind :8443", "")


def test_from_outside_only_the_published_ports_are_allowed() -> None:
    _, _, found = parsed(edge=TLS)
    policies = of_kind(found, "NetworkPolicy").values()
    opened = {
        port["port"]
        for policy in policies
        if policy["spec"]["podSelector"].get("matchLabels", {}).get("crm.workload") == "edge"
        for rule in policy["spec"].get("ingress", [])
        for port in rule["ports"]
    }
    assert opened == {8080, 8443}


def test_certificate_and_key_are_files_from_a_secret() -> None:
    _, _, found = parsed(edge=TLS)
    secret = next(m for m in found if m.key == "edge-secrets")
    assert tuple(secret.secrets) == NAMES
    assert "data" not in secret.object
    assert "stringData" not in secret.object
    mounts = container_of(found, "edge")["volumeMounts"]
    assert {"name": "files", "mountPath": "/etc/crm", "readOnly": True} in mounts
    (volume,) = [v for v in dict(pods(found))["edge"]["spec"]["volumes"] if v["name"] == "files"]
    (source,) = [s["secret"] for s in volume["projected"]["sources"] if "secret" in s]
    assert source["name"] == "edge-secrets"
    assert [item["path"] for item in source["items"]] == [f"secrets/{name}" for name in NAMES]
    # Another certificate replaces the pods that serve it.
    assert next(m for m in found if m.key == "edge").rolls_on == ("edge-secrets",)
    assert "edge-secrets" not in {m.key for m in parsed()[2]}
