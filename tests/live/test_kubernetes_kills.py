"""Pods are killed, and pods that have no business with others are kept out."""

from __future__ import annotations

import http.client
import json
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.live.client import call
from tests.live.kubernetes_stack import KubernetesStack
from tests.live.test_horizontal import is_whole
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live


# --- Kills ---------------------------------------------------------------------------------------


@dataclass
class Written:
    """Customers that were acknowledged while something was killed, and how often it failed."""

    acknowledged: list[int] = field(default_factory=list)
    failed: int = 0


@contextmanager
def writing(url: str, seconds: float = 180) -> Iterator[Written]:
    """Create customers one after the other until the block ends; failures are counted, and
    nothing is sent twice."""
    seen, stop = Written(), threading.Event()
    until = time.monotonic() + seconds

    def work() -> None:
        number = 0
        while not stop.is_set() and time.monotonic() < until:
            number += 1
            body = {"name": f"Written {number}", "email": f"w{number}@example.org"}
            try:
                answer = call(f"{url}/api/v1/customers", "POST", body)
            except (OSError, http.client.HTTPException):
                seen.failed += 1
                continue
            if answer.status == 201:
                seen.acknowledged.append(int(answer.json["id"]))
            else:
                seen.failed += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield seen
    finally:
        stop.set()
        worker.join()


def kill(stack: KubernetesStack, *instances: str) -> None:
    """End their pods one second after they were told, whatever they are doing."""
    pods = [stack.pod(instance)["metadata"]["name"] for instance in instances]
    space = f"--namespace={stack.namespace}"
    stack.cluster.kubectl("delete", "pod", space, "--grace-period=1", "--wait=false", *pods)


def is_ready(stack: KubernetesStack) -> bool:
    """Whether every controller has its pod again and every replica finds all it needs."""
    for kind in ("deployments", "statefulsets"):
        if any(one["status"].get("readyReplicas", 0) < 1 for one in stack.get(kind)):
            return False
    try:
        # Often enough to meet every replica: each finds out for itself.
        answers = [call(f"{stack.url}/readyz") for _ in range(8)]
    except (OSError, http.client.HTTPException):
        return False
    return all(a.status == 200 and a.json["status"] == "ready" for a in answers)


@pytest.mark.parametrize(
    "instances",
    [("app-1", "app-2", "edge"), ("database-1", "cache-2")],
    ids=["app", "data"],
)
def test_killed_pods_come_back_and_no_acknowledged_write_is_lost(
    kubernetes: KubernetesStack, instances: tuple[str, ...]
) -> None:
    before = kubernetes.started()
    killed = {kubernetes.pod(instance)["metadata"]["uid"] for instance in instances}
    with writing(kubernetes.url) as seen:
        wait_until(lambda: len(seen.acknowledged) > 20, "some customers", 30)
        kill(kubernetes, *instances)
        wait_until(
            lambda: killed.isdisjoint(p["metadata"]["uid"] for p in kubernetes.pods()),
            "the pods have ended",
            60,
        )
        wait_until(lambda: is_ready(kubernetes), "all is well again", 150)
        count = len(seen.acknowledged)
        wait_until(lambda: len(seen.acknowledged) > count + 20, "customers are taken again", 30)
    read = {c: call(f"{kubernetes.url}/api/v1/customers/{c}").status for c in seen.acknowledged}
    assert {customer: status for customer, status in read.items() if status != 200} == {}
    wait_until(lambda: is_whole(kubernetes), "the cache is whole", 60)
    uids = {pod["metadata"]["uid"] for pod in kubernetes.pods()}
    assert len(uids) == len(before)
    # Nobody else was restarted for it: not the application for a database, nor the other way.
    after = kubernetes.started()
    kept = {name: known for name, known in before.items() if known[0] not in killed}
    assert {name: after.get(name) for name in kept} == kept
    # What came back is what the state knows.
    changes = kubernetes.up()
    assert sum(changes.values()) == changes["same"]


# --- Who may connect to whom ---------------------------------------------------------------------

CONNECT = """
import socket, sys
for place in sys.argv[1:]:
    try:
        socket.create_connection((place.split(":")[0], int(place.split(":")[1])), timeout=3).close()
        print("connected")
    except OSError as error:
        print(type(error).__name__)
"""


def stranger(stack: KubernetesStack, *places: str) -> list[str]:
    """What a pod without any of the stack's labels, in its namespace, gets from ``places``."""
    name = "stranger"
    image = stack.pod("app-1")["spec"]["containers"][0]["image"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": stack.namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "try",
                    "image": image,
                    "command": ["python3", "-c", CONNECT, *places],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    space = f"--namespace={stack.namespace}"
    kubectl = stack.cluster.kubectl
    kubectl("apply", "--filename=-", text=json.dumps(pod))
    try:
        done = ("--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        kubectl("wait", *done, f"pod/{name}", space, seconds=70)
        return kubectl("logs", name, space).split()
    finally:
        kubectl("delete", "pod", name, space, "--grace-period=0", "--force")


@pytest.mark.filterwarnings("default:NetworkPolicies")
def test_pod_without_business_reaches_neither_mysql_nor_redis(kubernetes: KubernetesStack) -> None:
    places = ("database-1:3306", "database-2:3306", "cache-1-of-3:6379")
    probe = ("python3", "-c", CONNECT, *places)
    assert set(kubernetes.execute("app-1", *probe).split()) == {"connected"}
    asked = stranger(kubernetes, *places)
    # The edge talks to the application and to nothing else.
    shell = "exec 3<>/dev/tcp/database-1/3306"
    code, _ = kubernetes.attempt("edge", "timeout", "4", "bash", "-c", shell)
    if not kubernetes.cluster.enforces_network_policies:
        warnings.warn(
            "NetworkPolicies are not enforced on this node: they were applied, but whether they "
            f"keep anybody out was not seen ({asked})",
            stacklevel=1,
        )
        return
    # They know the name: it is the connection that does not come about.
    assert set(asked) <= {"TimeoutError", "ConnectionRefusedError"}
    assert code != 0
