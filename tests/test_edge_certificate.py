"""Where a stack's edge gets its certificate from, on either target, and where it then answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
import pytest

from stacks import certificates, plan, secret_sources, stack_file
from stacks.balancing import CERTIFICATE_SECRETS
from stacks.certificates import SelfMade
from stacks.errors import CrmError
from stacks.plan import Plan
from stacks.targets import choice, docker, generated_certificate, kubernetes
from stacks.targets.kubernetes_host import Cluster, Object
from stacks.workload import Workload

HOST = "crm.example.com"
MADE = certificates.self_made([HOST], "127.0.0.1", None, datetime.now(UTC))


def planned(target: str = "docker", *, expose: str = "load_balancer", **tls: Any) -> Plan:
    config = {
        "target": target,
        "edge": {"tls": {"hosts": [HOST], **tls}},
        "kubernetes": {"expose": expose},
    }
    return plan.make("dev", stack_file.parse(config, "dev"))


# --- Without one ---------------------------------------------------------------------------------


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What either target is told, in the place of deploying."""
    told: dict[str, Any] = {}

    def on_kubernetes(
        _plan: Plan, _workloads: Sequence[Workload], secrets: Mapping[str, Any]
    ) -> dict[str, Any]:
        told.update(secrets)
        return {"url": "https://somewhere"}

    def on_docker(*arguments: Any) -> None:
        *_, secrets, _present = arguments
        told.update(secrets)

    def make(name: str, hosts: Sequence[str], address: str) -> SelfMade:
        assert (name, list(hosts), address) == ("edge-certificate", [HOST], "127.0.0.1")
        return MADE

    monkeypatch.setattr(choice, "_of_databases", lambda _hosts: {})

    monkeypatch.setattr(kubernetes, "deploy", on_kubernetes)
    monkeypatch.setattr(docker, "deploy", on_docker)
    monkeypatch.setattr(generated_certificate, "GeneratedCertificate", make)
    return told


@pytest.mark.parametrize("target", ["docker", "kubernetes"])
def test_stack_without_a_certificate_gets_a_self_made_one(
    target: str, secrets: dict[str, Any]
) -> None:
    outputs = choice.deploy(planned(target), [], {"other": "kept"})
    assert secrets == {
        "other": "kept",
        "edge_tls_certificate": MADE.certificate,
        "edge_tls_key": MADE.key,
    }
    assert outputs["ca_certificate"] == MADE.authority_certificate
    assert secret_sources.of(planned(target)) == {}


@pytest.mark.parametrize("target", ["docker", "kubernetes"])
def test_stack_with_one_and_stack_without_tls_get_none(
    target: str, secrets: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"certificate": {"env": "CRM_CERTIFICATE"}, "key": {"env": "CRM_KEY"}}
    for made in (
        planned(target, **given),
        plan.make("dev", stack_file.parse({"target": target}, "dev")),
    ):
        assert "ca_certificate" not in choice.deploy(made, [], {"other": "kept"})
        assert secrets == {"other": "kept"}


# --- With one ------------------------------------------------------------------------------------


@pytest.fixture
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of Pulumi's stay readable, as no program runs."""
    monkeypatch.setattr(pulumi.Output, "secret", lambda text: text)


@pytest.mark.usefixtures("_plain")
def test_certificate_is_read_from_the_environment_and_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CRM_CERTIFICATE", MADE.certificate)
    (tmp_path / "key.pem").write_text(MADE.key, encoding="utf-8")
    found = secret_sources.of(
        planned(certificate={"env": "CRM_CERTIFICATE"}, key={"file": str(tmp_path / "key.pem")})
    )
    assert tuple(found) == CERTIFICATE_SECRETS
    assert [str(text).split() for text in found.values()] == [
        MADE.certificate.split(),
        MADE.key.split(),
    ]
    assert all(str(text).endswith("-----\n") for text in found.values())


@pytest.mark.usefixtures("_plain")
def test_path_that_is_relative_is_so_to_the_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(secret_sources, "ROOT", tmp_path)
    monkeypatch.chdir("/")
    for name in ("certificate", "key"):
        (tmp_path / f"{name}.pem").write_text(getattr(MADE, name), encoding="utf-8")
    found = secret_sources.of(
        planned(certificate={"file": "certificate.pem"}, key={"file": "key.pem"})
    )
    assert tuple(found) == CERTIFICATE_SECRETS


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        (
            None,
            MADE.key,
            r"^crm:edge\.tls\.certificate: the environment's CRM_CERTIFICATE: holds no certificate",
        ),
        (
            MADE.certificate,
            None,
            r"^crm:edge\.tls\.key: the environment's CRM_KEY: holds no private key in PEM",
        ),
    ],
    ids=["no certificate", "no key"],
)
def test_one_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, certificate: str | None, key: str | None, said: str
) -> None:
    for name, value in (("CRM_CERTIFICATE", certificate), ("CRM_KEY", key)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    asked = planned(certificate={"env": "CRM_CERTIFICATE"}, key={"env": "CRM_KEY"})
    with pytest.raises(CrmError, match=said):
        secret_sources.of(asked)


def test_file_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    file = {"file": str(tmp_path / "none.pem")}
    said = r"none\.pem: the secret edge\.tls\.certificate cannot be read from it: No such file"
    with pytest.raises(CrmError, match=said):
        secret_sources.of(planned(certificate=file, key=file))


# --- Where it answers ----------------------------------------------------------------------------


class Answering(Cluster):
    """A cluster with one Service."""

    def __init__(self, service: Object) -> None:
        self.service = service

    def read(self, _reference: Object) -> Object | None:
        return self.service

    def find(self, _version: str, kind: str, *_where: object) -> list[Object]:
        if kind == "Pod":
            return [{"spec": {"nodeName": "second"}}, {"spec": {}}]
        internal, external = "InternalIP", "ExternalIP"
        addresses = {
            "first": [("Hostname", "first"), (internal, "10.0.0.1"), (external, "192.0.2.7")],
            "second": [("Hostname", "second"), (internal, "10.0.0.2")],
        }
        return [
            {
                "metadata": {"name": name},
                "status": {"addresses": [{"type": t, "address": a} for t, a in given]},
            }
            for name, given in addresses.items()
        ]


HTTP = {"name": "http", "port": 8080, "nodePort": 30080}
HTTPS = {"name": "https", "port": 8443, "nodePort": 30443}


@pytest.mark.parametrize(
    ("kind", "ports", "url"),
    [
        ("LoadBalancer", [HTTP], "http://203.0.113.1:8080"),
        ("LoadBalancer", [HTTP, HTTPS], "https://203.0.113.1:8443"),
        ("LoadBalancer", [HTTP, {**HTTPS, "port": 443}], "https://203.0.113.1"),
        ("LoadBalancer", [{**HTTP, "port": 80}], "http://203.0.113.1"),
        ("LoadBalancer", [{**HTTP, "port": 443}], "http://203.0.113.1:443"),
        ("NodePort", [HTTP], "http://192.0.2.7:30080"),
        ("NodePort", [HTTP, HTTPS], "https://192.0.2.7:30443"),
        ("ClusterIP", [HTTP, HTTPS], None),
    ],
)
def test_address_of_the_cluster_is_https_where_that_is_offered(
    kind: str, ports: list[Object], url: str | None
) -> None:
    service = {
        "kind": "Service",
        "metadata": {"name": "edge", "namespace": "ns"},
        "spec": {"type": kind, "ports": ports},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    }
    assert Answering(service).url_of("ns", "edge") == url


def test_node_that_answers_is_one_with_an_edge_where_no_other_does() -> None:
    spec = {"type": "NodePort", "ports": [HTTP], "selector": {}}
    where = {"name": "edge", "namespace": "ns"}
    service = {"metadata": where, "spec": {**spec, "externalTrafficPolicy": "Local"}}
    assert Answering(service).url_of("ns", "edge") == "http://10.0.0.2:30080"
    service = {"metadata": where, "spec": {**spec, "externalTrafficPolicy": "Cluster"}}
    assert Answering(service).url_of("ns", "edge") == "http://192.0.2.7:30080"


def test_address_on_this_machine_is_the_first_host() -> None:
    assert planned().edge.url == f"https://{HOST}:8443"
    assert planned(port=443).edge.url == f"https://{HOST}"
