"""What the Kubernetes target declares, and what its checks refuse, without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from stacks import manifests, plan, render, stack_file, tiers
from stacks.errors import CrmError
from stacks.paths import ROOT
from stacks.targets import kubernetes_checks, kubernetes_host
from stacks.targets.kubernetes_host import NodeSize
from stacks.workload import Workload
from tests.declared import APP, GIVEN, PASSWORD
from tests.sizes import OVERSIZED, workloads_of


def planned(**changes: Any) -> tuple[plan.Plan, list[Workload]]:
    """The shipped stack `kubernetes`, with ``changes`` to its plan of the cluster."""
    made = plan.make("kubernetes", stack_file.load("kubernetes"))
    if changes:
        asked = msgspec.structs.replace(made.kubernetes, **changes)
        made = msgspec.structs.replace(made, kubernetes=asked)
    return made, tiers.workloads(made, render.Renderer().tree(made), APP)


# --- What is declared ----------------------------------------------------------------------------


class Cluster:
    """A cluster that can carry everything, unless a test says otherwise."""

    context = "office"

    def __init__(self) -> None:
        self.version = (1, 36)
        self.nodes = [NodeSize("node-1", 4, 16000), NodeSize("node-2", 8, 8000)]
        self.storage = {"fast": True, "slow": False}
        self.ingress = {"public": True}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.services: list[dict[str, Any]] = []

    def server_version(self) -> tuple[int, int]:
        return self.version

    def node_sizes(self) -> list[NodeSize]:
        return self.nodes

    def storage_classes(self) -> dict[str, bool]:
        return self.storage

    def ingress_classes(self) -> dict[str, bool]:
        return self.ingress

    def namespace_labels(self, name: str) -> dict[str, str] | None:
        return self.namespaces.get(name)

    def find(self, *_: object) -> list[dict[str, Any]]:
        return self.services


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster()
    monkeypatch.setattr(kubernetes_host, "connect", lambda _context=None: found)
    return found


def declared(*words: str) -> dict[str, Any]:
    """What the target registers of the stack `kubernetes`: resources by name, outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.declared", "kubernetes", *words],
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": "/somewhere/kubeconfig"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_objects_are_declared_as_rendered_but_for_secrets() -> None:
    made, workloads = planned()
    found = declared()
    seen = found["resources"]
    wanted = manifests.manifests(made, workloads)
    declared_names = {*made.own_secrets, "kubernetes"}
    for manifest in wanted:
        # What is made anew when it changes is known by its name, which then changes.
        is_fixed = manifest.object["kind"] in ("ConfigMap", "Job")
        name = manifest.object["metadata"]["name"] if is_fixed else manifest.key
        declared_names.add(name)
        one = seen[name]
        group, _, version = manifest.object["apiVersion"].rpartition("/")
        assert one["type"] == f"kubernetes:{group or 'core'}/{version}:{manifest.object['kind']}"
        assert one["provider"].endswith("pulumi:providers:kubernetes::kubernetes::kubernetes-id")
        inputs = one["inputs"]
        if manifest.secrets:
            values = {name: GIVEN.get(name, PASSWORD) for name in manifest.secrets}
            assert inputs.pop("stringData") == values
        if manifest.rolls_on:
            annotations = inputs["spec"]["template"]["metadata"].pop("annotations")
            versions = "-".join(f"of-{key}" for key in manifest.rolls_on)
            assert annotations == {"crm.dev/secrets-version": versions}
        assert inputs == manifest.object
    others = {name for name, one in seen.items() if not one["type"].startswith("crm:")}
    assert others == declared_names
    assert found["outputs"] == {
        "url": "http://crm-kubernetes/edge/",
        "namespace": "crm-kubernetes",
    }


def test_provider_is_told_the_context_and_no_path() -> None:
    inputs = declared("office")["resources"]["kubernetes"]["inputs"]
    assert inputs["context"] == "office"
    assert "/somewhere" not in json.dumps(inputs)


@pytest.mark.parametrize(
    ("target", "not_this"), [("docker", "kubernetes"), ("kubernetes", "docker")]
)
def test_only_the_target_in_use_is_imported(target: str, not_this: str) -> None:
    code = (
        f"import stacks.targets.choice, stacks.targets.{target}, sys; "
        f"print([m for m in sys.modules if m in ('pulumi_{not_this}', '{not_this}')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- What is refused -----------------------------------------------------------------------------

Change = Callable[[Cluster], object]


def set_(name: str, value: object) -> Change:
    return lambda cluster: setattr(cluster, name, value)


OURS = {"crm.stack": "kubernetes", "crm.owner": "crm"}
TAKEN = {
    "metadata": {"name": "door", "namespace": "shop"},
    "spec": {"ports": [{"nodePort": 30080}]},
}


def test_what_fits_is_accepted(cluster: Cluster) -> None:
    made, workloads = planned()
    kubernetes_checks.check(made, workloads)
    cluster.namespaces["crm-kubernetes"] = {**OURS, "crm.owner": made.owner}
    kubernetes_checks.check(made, workloads)
    # A node's port that the stack itself has.
    own = {**TAKEN, "metadata": {"name": "edge", "namespace": "crm-kubernetes"}}
    cluster.services = [own]
    kubernetes_checks.check(*planned(expose="node_port", node_port=30080))


@pytest.mark.parametrize(
    ("change", "asked", "said"),
    [
        (set_("version", (1, 30)), {}, "runs Kubernetes 1.30.* needs 1.31 or later"),
        (
            set_("namespaces", {"crm-kubernetes": {"team": "other"}}),
            {},
            r"crm:kubernetes\.namespace: crm-kubernetes .* belongs to somebody else; write another",
        ),
        (
            set_("namespaces", {"crm-kubernetes": {**OURS, "crm.stack": "prod"}}),
            {},
            "belongs to the stack prod",
        ),
        (
            set_("namespaces", {"crm-kubernetes": {**OURS, "crm.owner": "sales"}}),
            {},
            r"belongs to sales, and this stack's crm:owner .*kubectl label namespace",
        ),
        (
            set_("storage", {"slow": False}),
            {"storage_class": "fast"},
            r"crm:kubernetes\.storage_class: the cluster has no fast; it has slow",
        ),
        (
            set_("storage", {"slow": False}),
            {},
            "the cluster has no default; write the one to use: it has slow",
        ),
        (set_("storage", {}), {}, "it has none at all"),
        (set_("nodes", []), {}, "no node that takes pods"),
        (
            set_("nodes", [NodeSize("small", 0.2, 16000)]),
            {},
            r"crm:database\.cpus: database asks for 0\.25 CPUs, but the largest node offers 0\.2",
        ),
        (
            set_("nodes", [NodeSize("small", 4, 600)]),
            {},
            r"crm:database\.memory_mib: database asks for 768 MiB, .*write 600 or less",
        ),
        (
            set_("nodes", [NodeSize("a", 0.1, 16000), NodeSize("b", 4, 600)]),
            {},
            r"crm:database: 0\.25 CPUs and 768 MiB fit on no node at once \(a 0\.1 and 16000, b 4",
        ),
        (
            set_("ingress", {"public": False}),
            {"expose": "ingress", "ingress_host": "crm.example.com", "ingress_class": "inner"},
            r"crm:kubernetes\.ingress_class: the cluster has no inner; it has public",
        ),
        (
            set_("ingress", {"public": False}),
            {"expose": "ingress", "ingress_host": "crm.example.com"},
            "has no default; write the one to use: it has public",
        ),
        (
            set_("services", [TAKEN]),
            {"expose": "node_port", "node_port": 30080},
            r"crm:kubernetes\.node_port: 30080 is taken by the Service door in the namespace shop",
        ),
    ],
)
def test_what_a_cluster_cannot_carry_is_refused_in_a_sentence(
    cluster: Cluster, change: Change, asked: dict[str, Any], said: str
) -> None:
    change(cluster)
    with pytest.raises(CrmError, match=said) as refused:
        kubernetes_checks.check(*planned(**asked))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("config", "key"), OVERSIZED)
def test_more_cpus_than_a_node_has_name_their_own_key(
    cluster: Cluster, config: dict[str, Any], key: str
) -> None:
    cluster.nodes = [NodeSize("node-1", 4, 16000)]
    with pytest.raises(CrmError) as refused:
        kubernetes_checks.check(*workloads_of({**config, "target": "kubernetes"}))
    assert f": crm:{key}.cpus: " in str(refused.value)
    assert "asks for 8 CPUs, but the largest node offers 4 to pods" in str(refused.value)


def test_what_the_platform_sizes_itself_is_named_by_no_key(cluster: Cluster) -> None:
    cluster.nodes = [NodeSize("tiny", 4, 100)]
    external = {"env": "CRM_PASSWORD"}
    database = {"host": "db.example", "password": external, "owner_password": external}
    made, workloads = workloads_of({"target": "kubernetes", "database": {"external": database}})
    schema = [w for w in workloads if w.name == "schema"]
    with pytest.raises(CrmError) as refused:
        kubernetes_checks.check(made, schema)
    assert str(refused.value).endswith(
        "Pulumi.dev.yaml: schema, whose size is the platform's own, asks for 0.25 CPUs and 128 "
        "MiB, but the largest node offers 4 and 100 to pods; give the cluster a larger one"
    )
