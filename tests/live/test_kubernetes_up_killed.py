"""``kill -9`` of ``crm`` on a cluster, and ``crm destroy``: what is left converges, and keeps
its data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.paths import ROOT
from tests.live.client import call
from tests.live.kubernetes_stack import KubernetesStack, others

pytestmark = pytest.mark.live

PASSWORDS = "cat /etc/crm/secrets/database_*_password"


def kill(stack: KubernetesStack, place: str, tmp_path: Path, verb: str = "up") -> None:
    """Run ``crm`` until it kills itself at ``place``."""
    mark = tmp_path / "mark"
    mark.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.live.kill_kubernetes"),
            *(verb, stack.name, "--engine", "embedded", "--yes"),
        ],
        cwd=stack.project.root,
        env={
            **os.environ,
            "PYTHONPATH": f"{stack.project.root}{os.pathsep}{ROOT}",
            "KUBECONFIG": str(stack.cluster.kubeconfig),
            "KILL_AT": place,
            "KILL_MARK": str(mark),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"{place} was not reached: {done.stderr}"
    assert json.loads(mark.read_text(encoding="utf-8"))["place"] == place


def is_still(changes: dict[str, int]) -> bool:
    return sum(changes.values()) == changes["same"] > 50


def memory(stack: KubernetesStack, instance: str) -> str:
    spec = stack.pod(instance)["spec"]
    return str(spec["containers"][0]["resources"]["limits"]["memory"])


def test_killed_updates_converge(kubernetes: KubernetesStack, tmp_path: Path) -> None:
    before = kubernetes.started()
    objects = kubernetes.objects()
    # A replica and its new size that nobody recorded; then the change is given up.
    kubernetes.edit("memory_mib: 256", "memory_mib: 288")
    kill(kubernetes, "applied:Deployment/app-1", tmp_path)
    kubernetes.edit("memory_mib: 288", "memory_mib: 256")
    kubernetes.up()
    assert memory(kubernetes, "app-1") == "256Mi"
    assert is_still(kubernetes.up())
    assert others(kubernetes.started(), "app-1-") == others(before, "app-1-")

    # A replica more, made and not recorded; the proxy does not know it yet.
    kubernetes.edit("replicas: 2", "replicas: 3")
    kill(kubernetes, "made:app-3", tmp_path)
    kubernetes.up()
    assert is_still(kubernetes.up())
    seen = {call(f"{kubernetes.url}/healthz").headers["x-served-by"] for _ in range(12)}
    assert seen == {"app-1", "app-2", "app-3"}

    # The same one deleted, and still recorded.
    kubernetes.edit("replicas: 3", "replicas: 2")
    kill(kubernetes, "deleted:app-3", tmp_path)
    kubernetes.up()
    assert is_still(kubernetes.up())
    assert without_hashes(kubernetes.objects()) == without_hashes(objects)
    data = others(kubernetes.started(), "app-", "edge-")
    assert data == others(before, "app-", "edge-")


def without_hashes(objects: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names, but for pods', which end in something new each time."""
    return {kind: names for kind, names in objects.items() if kind != "Pod"}


def test_destroy_keeps_data_and_credentials_however_often_it_is_killed(
    kubernetes: KubernetesStack, tmp_path: Path
) -> None:
    body = {"name": "Old customer", "email": "old@example.org"}
    customer = call(f"{kubernetes.url}/api/v1/customers", "POST", body).json["id"]
    objects = kubernetes.objects()
    passwords = kubernetes.execute(
        "database-1", "sh", "-c", "cat /etc/crm/secrets/database_*_password"
    )
    refused = kubernetes.crm("destroy")
    assert refused.code == 1
    assert "add --yes" in refused.err
    assert kubernetes.objects() == objects

    kill(kubernetes, "deleted:app-1", tmp_path, "destroy")
    shown = kubernetes.run("destroy", "--yes")
    assert shown["result"] == "succeeded"
    assert shown["outputs"] == {}
    assert kubernetes.objects() == {"PersistentVolumeClaim": ["database-1-data", "database-2-data"]}
    assert kubernetes.has_namespace()

    # From almost nothing: objects that were made and not recorded, and one that only begins.
    kill(kubernetes, "made:database-secrets", tmp_path)
    kill(kubernetes, "applied:StatefulSet/database-1", tmp_path)
    kubernetes.up()
    assert is_still(kubernetes.up())
    assert without_hashes(kubernetes.objects()) == without_hashes(objects)
    read = call(f"{kubernetes.url}/api/v1/customers/{customer}")
    assert (read.status, read.json["name"]) == (200, "Old customer")
    again = kubernetes.execute("database-1", "sh", "-c", PASSWORDS)
    assert again == passwords
