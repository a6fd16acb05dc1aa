"""Hardening checkers of others agree on what runs: on Docker's containers as Docker says they are,
on a cluster's pods as the API has them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.types import LogConfig

from tests.live import as_compose, compose_lint
from tests.live.kubernetes_stack import KubernetesStack
from tests.live.stack import Stack
from tests.manifests import checkov
from tests.manifests.test_outside import ASIDE as ASIDE_OF_PODS

pytestmark = pytest.mark.live

ASIDE = {
    "CL-0019": "image by digest: one that was built on the machine itself has none",
}


def test_checker_finds_nothing_in_running_containers(docker_stack: Stack, tmp_path: Path) -> None:
    containers = docker_stack.containers()
    assert len(containers) >= 4
    found = compose_lint.judge([c.attrs for c in containers.values()], tmp_path)
    assert {(rule, name) for rule, name in found if rule not in ASIDE} == set()
    # All of them were judged: what is put aside was found in each.
    assert {name for rule, name in found if rule == "CL-0019"} == {
        str(container.name) for container in containers.values()
    }


@pytest.fixture
def careless(dev: Stack) -> Iterator[Container]:
    """A container as a person in a hurry would have it. It is made, and never started."""
    image = dev.container("edge").attrs["Config"]["Image"]
    container = docker.from_env().containers.create(
        image,
        privileged=True,
        user="root",
        cap_add=["NET_ADMIN"],
        network_mode="host",
        pid_mode="host",
        security_opt=["seccomp=unconfined"],
        volumes=["/var/run/docker.sock:/var/run/docker.sock", "/etc:/host/etc"],
        tmpfs={"/tmp": "exec"},
        environment={"MYSQL_ROOT_PASSWORD": "swordfish"},
        log_config=LogConfig(type="none"),
    )
    yield container
    container.remove(force=True)


def test_checker_finds_what_is_wrong_with_a_careless_container(
    careless: Container, tmp_path: Path
) -> None:
    found = compose_lint.judge([careless.attrs], tmp_path)
    assert {name for _, name in found} == {careless.name}
    assert {rule for rule, _ in found} >= {
        "CL-0001",  # Docker's socket
        "CL-0002",  # privileged
        "CL-0003",  # it can gain privileges
        "CL-0006",  # capabilities that are not dropped
        "CL-0007",  # its root can be written
        "CL-0008",  # the machine's network
        "CL-0009",  # no seccomp
        "CL-0010",  # the machine's processes
        "CL-0011",  # a capability more
        "CL-0014",  # no log
        "CL-0018",  # root
        "CL-0020",  # a password for all to see
        "CL-0022",  # programs in a temporary folder
        "CL-0025",  # the machine's settings can be written
        "CL-0026",  # no limits
    }


CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "CL-0002": ("HostConfig", {"Privileged": True}),
    "CL-0003": ("HostConfig", {"SecurityOpt": []}),
    "CL-0006": ("HostConfig", {"CapDrop": []}),
    "CL-0007": ("HostConfig", {"ReadonlyRootfs": False}),
    "CL-0018": ("Config", {"User": "0:0"}),
    "CL-0026": ("HostConfig", {"Memory": 0, "MemorySwap": 0}),
}


def test_checker_finds_one_thing_that_is_wrong(dev: Stack, tmp_path: Path) -> None:
    for rule, (part, changes) in CHANGES.items():
        attrs = copy.deepcopy(dev.container("app-1").attrs)
        attrs[part].update(changes)
        found = {found for found, _ in compose_lint.judge([attrs], tmp_path)} - ASIDE.keys()
        assert found == {rule}, changes


def test_what_compose_cannot_say_is_not_passed_over(dev: Stack) -> None:
    attrs = copy.deepcopy(dev.container("app-1").attrs)
    attrs["HostConfig"]["DeviceRequests"] = [{"Driver": "nvidia"}]
    with pytest.raises(ValueError, match="DeviceRequests"):
        as_compose.service(attrs)


def test_checker_finds_nothing_in_running_pods(kubernetes: KubernetesStack, tmp_path: Path) -> None:
    # The checker asks a pod for probes, and knows a job only by its own kind.
    pods = [p for p in kubernetes.pods() if p["metadata"]["ownerReferences"][0]["kind"] != "Job"]
    policies = kubernetes.get("networkpolicies")
    spoiled = copy.deepcopy(pods[0])
    spoiled["metadata"]["name"] = "spoiled"
    spoiled["spec"]["containers"][0]["securityContext"]["privileged"] = True
    for one in [*pods, spoiled, *policies]:
        (tmp_path / f"{one['metadata']['name']}.yaml").write_text(json.dumps(one), encoding="utf-8")
    verdict = checkov.judge(tmp_path)
    assert verdict.unread == 0
    failed = {(check, path) for check, path, _ in verdict.failed}
    assert {f for f in failed if f[0] not in ASIDE_OF_PODS} == {("CKV_K8S_16", "spoiled.yaml")}
    judged = {path for check, path in failed if check == "CKV_K8S_43"}
    assert judged == {f"{pod['metadata']['name']}.yaml" for pod in [*pods, spoiled]}
