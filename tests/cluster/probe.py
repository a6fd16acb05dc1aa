"""Finds out whether network policies keep connections out, by trying it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol

NAMESPACE = "policy-probe"
SECONDS = 30
BLOCKED_SECONDS = 1.5
"""How long a connection that is kept out is waited for; one that is let in takes milliseconds."""


class Kubectl(Protocol):
    def __call__(self, *words: str, text: str | None = None, seconds: float = 60) -> str: ...


def policies_are_enforced(kubectl: Kubectl, address: str) -> bool:
    """Serve something in a pod, reach it at ``address``, forbid it, and try to reach it again."""
    kubectl("apply", "--filename=-", text=json.dumps(_server()))
    try:
        kubectl("wait", "--for=condition=Ready", "pod/server", f"--namespace={NAMESPACE}",
                f"--timeout={SECONDS}s")  # fmt: skip
        service = json.loads(
            kubectl("get", "service", "server", f"--namespace={NAMESPACE}", "-ojson")
        )
        url = f"http://{address}:{service['spec']['ports'][0]['nodePort']}/health"
        _until(lambda: _answers(url))
        kubectl("apply", "--filename=-", text=json.dumps(_deny()))
        try:
            # Policies are enforced soon after they are accepted, not at once.
            _until(lambda: not _answers(url), seconds=10)
        except TimeoutError:
            return False
        return True
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _until(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{NAMESPACE}: not so after {seconds:.0f} s")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=BLOCKED_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _server() -> dict[str, Any]:
    """CoreDNS' own image once more, for the small HTTP server that says whether it is well."""
    where = {"name": "server", "namespace": NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": where,
                "data": {"Corefile": ".:5300 {\n  health :8080\n}\n"},
            },
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**where, "labels": {"app": "server"}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "server",
                            "image": "localhost/coredns:1",
                            "imagePullPolicy": "Never",
                            "args": ["-conf", "/etc/coredns/Corefile"],
                            "readinessProbe": {
                                "httpGet": {"path": "/health", "port": 8080},
                                "periodSeconds": 1,
                            },
                            "volumeMounts": [{"name": "settings", "mountPath": "/etc/coredns"}],
                        }
                    ],
                    "volumes": [{"name": "settings", "configMap": {"name": "server"}}],
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": where,
                "spec": {
                    "type": "NodePort",
                    "selector": {"app": "server"},
                    "ports": [{"port": 8080}],
                },
            },
        ],
    }


def _deny() -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "default-deny", "namespace": NAMESPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
