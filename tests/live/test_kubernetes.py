"""A stack on a cluster is what its file says, and changing it touches nothing else."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise

import pytest

from tests.live.kubernetes_stack import KubernetesStack, others
from tests.live.traffic import load
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

PATHS = ["/api/v1/customers?limit=5", "/static/crm.css", "/"]
STILL = {"create": 0, "update": 0, "replace": 0, "delete": 0}


def test_second_up_changes_nothing(kubernetes: KubernetesStack) -> None:
    before = kubernetes.started()
    changes = kubernetes.up()
    assert changes.pop("same") > 50
    assert changes == STILL
    shown = kubernetes.run("preview")["changes"]
    assert shown.pop("same") > 50
    assert shown == STILL
    assert "drift" not in kubernetes.run("refresh", "--yes")
    assert kubernetes.started() == before


def test_outputs_say_where_it_is(kubernetes: KubernetesStack) -> None:
    outputs = kubernetes.run("outputs")
    assert outputs["url"] == kubernetes.url
    assert outputs["target"] == "kubernetes"
    assert outputs["namespace"] == kubernetes.namespace
    assert outputs["app_replicas"] == 2


def test_pods_are_fenced_in(kubernetes: KubernetesStack) -> None:
    """By what the kubelet was asked for, and by what a process inside finds."""
    for pod in kubernetes.pods():
        spec = pod["spec"]
        name = pod["metadata"]["name"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        mounts = {m["mountPath"] for c in spec["containers"] for m in c["volumeMounts"]}
        assert not any(path.startswith("/var/run/secrets") for path in mounts), name
    for instance in ("app-1", "database-1", "cache-1", "edge"):
        code, said = kubernetes.attempt(instance, "sh", "-c", "touch /etc/x /usr/x")
        assert code != 0, instance
        assert "Read-only file system" in said, instance
        status = kubernetes.execute(instance, "cat", "/proc/1/status")
        assert "NoNewPrivs:\t1" in status, instance
        assert "CapEff:\t0000000000000000" in status, instance
    labels = kubernetes.cluster.kubectl("get", "namespace", kubernetes.namespace, "--output=json")
    enforced = json.loads(labels)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"


@pytest.mark.parametrize("steps", [(2, 5, 2)])
def test_scaling_loses_no_request_and_leaves_data_tiers_alone(
    kubernetes: KubernetesStack, steps: tuple[int, ...]
) -> None:
    before = kubernetes.started()
    with load(kubernetes.url, PATHS, clients=2, keeps=False) as seen:
        for old, new in pairwise(steps):
            kubernetes.edit(f"replicas: {old}", f"replicas: {new}")
            changes = kubernetes.up()
            added = max(0, new - old)
            # A replica is a Deployment and its Service; the edge gets other files that name it.
            assert changes["create"] == 2 * added + 1
            assert changes["delete"] == 2 * max(0, old - new) + 1
            assert (changes["update"], changes["replace"]) == (1, 0)
            running = {pod["metadata"]["labels"]["crm.instance"] for pod in kubernetes.pods("app")}
            assert running == {f"app-{i}" for i in range(1, new + 1)}
            wait_until(partial(kubernetes.meets, running), "every replica answers")
    assert seen.failures == []
    after = kubernetes.started()
    assert others(after, "app-", "edge-") == others(before, "app-", "edge-")
    # Those that stayed all the time are the same pods.
    kept = {name for name in before if name.startswith(("app-1-", "app-2-"))}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


def test_second_edge_comes_and_goes_without_a_failed_request(kubernetes: KubernetesStack) -> None:
    before = kubernetes.started()
    one, two = "  crm:edge:\n", "  crm:edge:\n    replicas: 2\n"
    with load(kubernetes.url, PATHS, clients=2, keeps=False) as seen:
        # It is a Deployment; the Service that there is selects both.
        for old, new, names, change in (
            (one, two, {"edge", "edge-2"}, {"create": 1, "update": 1}),
            (two, one, {"edge"}, {"delete": 1, "update": 1}),
        ):
            kubernetes.edit(old, new)
            changes = kubernetes.up()
            del changes["same"]
            assert changes == STILL | change
            running = {pod["metadata"]["labels"]["crm.instance"] for pod in kubernetes.pods("edge")}
            assert running == names
            slices = kubernetes.get("endpointslices", "--selector=kubernetes.io/service-name=edge")
            ready = [e for each in slices for e in each["endpoints"] if e["conditions"]["ready"]]
            assert len(ready) == len(names)
    assert seen.failures == []
    assert kubernetes.started() == before
