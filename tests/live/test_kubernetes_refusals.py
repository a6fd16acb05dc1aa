"""What a cluster cannot carry is refused in one sentence, and nothing is applied."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.live import kubernetes_stack
from tests.live.kubernetes_stack import KubernetesStack

pytestmark = pytest.mark.live

TARGET = "  crm:kubernetes:\n    expose: load_balancer\n"


@pytest.fixture(scope="module")
def undeployed(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster
) -> Iterator[KubernetesStack]:
    """The shipped stack in a checkout of its own, never deployed: every test here is refused."""
    folder = tmp_path_factory.mktemp("refused") / "project"
    yield kubernetes_stack.prepare(folder, cluster, images=False)


def refused(stack: KubernetesStack, verb: str = "up", **environment: str) -> str:
    """The one sentence ``crm`` refuses the stack with; nothing of it is anywhere."""
    done = stack.crm(verb, *(["--yes"] if verb == "up" else []), **environment)
    assert done.code == 1, done.err
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert not stack.has_namespace()
    state = stack.project.root / ".crm" / "state" / ".pulumi" / "stacks" / "crm"
    assert not list(state.glob("*.json"))
    return lines[0]


@contextmanager
def written(stack: KubernetesStack, lines: str) -> Iterator[None]:
    """Have ``lines`` under ``crm:kubernetes`` within the block."""
    stack.edit(TARGET, f"  crm:kubernetes:\n{lines}")
    try:
        yield
    finally:
        stack.edit(f"  crm:kubernetes:\n{lines}", TARGET)


@pytest.mark.parametrize("verb", ["up", "preview"])
def test_cluster_that_does_not_answer(
    undeployed: KubernetesStack, tmp_path: Path, verb: str
) -> None:
    config = json.loads(undeployed.cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away = tmp_path / "kubeconfig"
    away.write_text(json.dumps(config))
    said = refused(undeployed, verb, KUBECONFIG=str(away))
    assert "does not answer at https://127.0.0.1:1" in said


def test_no_kubeconfig(undeployed: KubernetesStack, tmp_path: Path) -> None:
    said = refused(undeployed, KUBECONFIG=str(tmp_path / "none"))
    assert f"no kubeconfig at {tmp_path / 'none'}" in said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("    context: elsewhere\n", "has no context 'elsewhere'; there is crm-tests"),
        (
            "    storage_class: golden\n",
            "crm:kubernetes.storage_class: the cluster has no golden; it has local",
        ),
        (
            "    expose: ingress\n    ingress_host: crm.example.org\n    ingress_class: front\n",
            "crm:kubernetes.ingress_class: the cluster has no front; it has none at all",
        ),
    ],
)
def test_name_the_cluster_does_not_know(undeployed: KubernetesStack, lines: str, said: str) -> None:
    with written(undeployed, lines):
        assert said in refused(undeployed)


def test_namespace_of_another_stack(undeployed: KubernetesStack) -> None:
    name = f"other-{secrets.token_hex(3)}"
    kubectl = undeployed.cluster.kubectl
    kubectl("create", "namespace", name)
    try:
        with written(undeployed, f"    namespace: {name}\n"):
            assert "is there already and belongs to somebody else" in refused(undeployed)
        kubectl("label", "namespace", name, "crm.stack=other", "crm.owner=crm")
        with written(undeployed, f"    namespace: {name}\n"):
            assert f"{name} in the cluster of context crm-tests belongs to the stack other" in (
                refused(undeployed)
            )
        kubectl("label", "namespace", name, "--overwrite", f"crm.stack={undeployed.name}")
        kubectl("label", "namespace", name, "--overwrite", "crm.owner=somebody-else")
        with written(undeployed, f"    namespace: {name}\n"):
            assert "belongs to somebody-else" in refused(undeployed)
        assert kubectl("get", "all", f"--namespace={name}", "--output=name").strip() == ""
    finally:
        kubectl("delete", "namespace", name)


def test_requests_above_every_node(undeployed: KubernetesStack) -> None:
    undeployed.edit("cpus: 0.25\n", "cpus: 64\n")
    try:
        said = refused(undeployed)
        assert "crm:database.cpus: database asks for 64 CPUs, but the largest node offers" in said
    finally:
        undeployed.edit("cpus: 64\n", "cpus: 0.25\n")


def test_stack_that_is_deployed_does_not_change_its_target(kubernetes: KubernetesStack) -> None:
    before = kubernetes.started()
    kubernetes.edit("crm:target: kubernetes", "crm:target: docker")
    try:
        done = kubernetes.crm("up", "--yes")
    finally:
        kubernetes.edit("crm:target: docker", "crm:target: kubernetes")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1, done.err
    assert f"crm:target: {kubernetes.name} is deployed with target kubernetes" in done.err
    assert f"crm destroy {kubernetes.name} --delete-data" in done.err
    assert kubernetes.started() == before


def test_node_port_that_is_taken(kubernetes: KubernetesStack, undeployed: KubernetesStack) -> None:
    edge = kubernetes.get("services", "--field-selector=metadata.name=edge")[0]
    # A load balancer's Service has one too.
    port = edge["spec"]["ports"][0]["nodePort"]
    with written(undeployed, f"    expose: node_port\n    node_port: {port}\n"):
        said = refused(undeployed)
    assert f"crm:kubernetes.node_port: {port} is taken by the Service edge" in said
