"""On a cluster, a secret is in its Secret, in the pods that use it, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks import plan, stack_file
from tests.live import places
from tests.live.client import call
from tests.live.kubernetes_stack import KubernetesStack, others
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

CANARY = "canary-4f1c07d29b6e83a5-cache"
ANOTHER = "canary-90b1e4aa37c25d86-app"
HOLDERS = {
    "database_app_password": "database-1",
    "database_owner_password": "database-1",
    "database_root_password": "database-1",
    "cache_password": "cache-1",
}


def in_use(stack: KubernetesStack) -> dict[str, str]:
    """The secrets as the pods that use them have them."""
    return {
        name: stack.execute(instance, "cat", f"/etc/crm/secrets/{name}")
        for name, instance in HOLDERS.items()
    }


def cluster_says(stack: KubernetesStack) -> Iterator[tuple[str, bytes]]:
    """Everything the API has in the stack's namespace but the Secrets' data, and all logs."""
    space = f"--namespace={stack.namespace}"
    kinds = (
        "pods,deployments,replicasets,statefulsets,controllerrevisions,jobs,services,endpoints,"
        "configmaps,persistentvolumeclaims,networkpolicies,events,serviceaccounts"
    )
    kubectl = stack.cluster.kubectl
    text = kubectl("get", kinds, "--output=json", "--show-managed-fields", space)
    yield "the API's objects", text.encode()
    found = json.loads(kubectl("get", "secrets", "--output=json", "--show-managed-fields", space))
    for secret in found["items"]:
        # Nor in an annotation of the Secret, as a client-side apply would leave it.
        secret.pop("data", None)
        yield f"Secret {secret['metadata']['name']}", json.dumps(secret).encode()
    for pod in stack.pods():
        name = pod["metadata"]["name"]
        yield f"log of {name}", kubectl("logs", name, "--all-containers", space).encode()


def test_secrets_are_nowhere_else(kubernetes: KubernetesStack, tmp_path: Path) -> None:
    known = in_use(kubernetes)
    assert all(len(value) == 32 for value in known.values())
    said = [(verb, kubernetes.crm(verb)) for verb in ("preview", "outputs")]
    said.append(("up", kubernetes.crm("up", "--yes")))
    rendered = kubernetes.crm("render", "-o", str(tmp_path), "--target", "kubernetes")
    assert rendered.code == 0, rendered.err
    assert list((tmp_path / "kubernetes").glob("*.yaml"))
    everywhere = [
        *((f"crm {verb}", (run.out + run.err).encode()) for verb, run in said),
        *places.files(tmp_path),
        *places.files(kubernetes.project.root),
        *cluster_says(kubernetes),
    ]
    assert places.found(everywhere, known) == []


def test_changed_secret_rolls_exactly_what_uses_it(
    kubernetes: KubernetesStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The passwords of the cache and of the app's account, from now on read from files. MySQL
    follows the latter: it is not replaced."""
    body = {"name": "Before", "email": "before@example.org", "role": "sales"}
    user = call(f"{kubernetes.url}/api/v1/users", "POST", body).json["id"]
    folder = tmp_path_factory.mktemp("secrets")
    given = {"cache_password": CANARY, "database_app_password": ANOTHER}
    for name, value in given.items():
        (folder / name).write_text(value + "\n", encoding="utf-8")
    before = kubernetes.started()
    lines = "".join(f"    {name}: {{file: {folder / name}}}\n" for name in given)
    reference = f"  crm:secrets:\n{lines}"
    kubernetes.edit("  crm:kubernetes:\n", f"{reference}  crm:kubernetes:\n")
    folder = kubernetes.project.root / "stacks" / "config"
    made = plan.make(kubernetes.name, stack_file.load(kubernetes.name, folder))
    assert made.secrets["cache_password"] is not None

    changes = kubernetes.up()
    assert (changes["create"], changes["delete"]) == (0, 0)
    after = kubernetes.started()
    assert others(after, "app-", "cache-") == others(before, "app-", "cache-")
    uids = {known[0] for known in before.values()}
    users = {name: known for name, known in after.items() if name.startswith(("app-", "cache-"))}
    assert uids.isdisjoint(known[0] for known in users.values())
    assert given.items() <= in_use(kubernetes).items()
    assert kubernetes.redis("cache-1", "PING").strip() == "PONG"
    for _ in range(6):
        assert call(f"{kubernetes.url}/api/v1/users/{user}").json["role"] == "sales"
    wait_until(kubernetes.has_cache, "the app has its cache with another password", 15)
    assert (
        places.found(
            [*places.files(kubernetes.project.root), *cluster_says(kubernetes)],
            given,
        )
        == []
    )
    changes = kubernetes.up()
    assert sum(changes.values()) == changes["same"]
