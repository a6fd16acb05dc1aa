"""Small Kubernetes objects for tests, and waiting for them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from stacks.errors import CrmError
from tests.cluster.cluster import Cluster

SECONDS = 120

UNPRIVILEGED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""What Pod Security's level "restricted" asks of a pod and of a container, and a read-only root."""

SERVE_NAME = """\
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(socket.gethostname().encode())
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
"""A server that answers with its pod's name."""

SLEEP = "import time, signal; signal.signal(signal.SIGTERM, lambda *_: exit()); time.sleep(3600)"


def until(
    holds: Callable[[], object], what: str, seconds: float = SECONDS, rest: float = 0.3
) -> None:
    """Wait for ``holds``; what kubectl cannot do yet counts as not yet."""
    deadline = time.monotonic() + seconds
    last = ""
    while True:
        try:
            if holds():
                return
        except CrmError as error:
            last = str(error)
        assert time.monotonic() < deadline, f"{what}: not after {seconds:.0f} s; {last}"
        time.sleep(rest)


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test's own, and the image its pods are made from."""

    cluster: Cluster
    name: str
    image: str

    def kubectl(self, *words: str, text: str | None = None) -> str:
        return self.cluster.kubectl(f"--namespace={self.name}", *words, text=text)

    def apply(self, *objects: dict[str, Any]) -> None:
        content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--filename=-", text=json.dumps(content))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", kind, name, "--output=json")))

    def python(self, pod: str, program: str) -> str:
        """What ``program`` prints in ``pod``."""
        return self.kubectl("exec", pod, "--", "python3", "-c", program).strip()

    def prints(self, pod: str, program: str, expected: str) -> bool:
        return self.python(pod, program) == expected

    def pod_spec(self, program: str, **changes: Any) -> dict[str, Any]:
        """A pod that runs ``program`` and satisfies the level "restricted"."""
        container = {
            "name": "main",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-u", "-c", program],
            "securityContext": CONFINED,
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
            **changes.pop("container", {}),
        }
        return {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 2,
            "securityContext": UNPRIVILEGED,
            "containers": [container],
            **changes,
        }

    def pod(self, name: str, program: str, **changes: Any) -> dict[str, Any]:
        metadata = {"name": name, "labels": {"app": name}}
        spec = self.pod_spec(program, **changes)
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def workload(
        self, kind: str, name: str, program: str, *, replicas: int = 1, **changes: Any
    ) -> dict[str, Any]:
        """A Deployment or a StatefulSet; what is no key of its spec goes into the pod's."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": self.pod_spec(program, **changes)}
        spec: dict[str, Any] = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template,
        }
        if kind == "StatefulSet":
            spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def service(self, name: str, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 8080}], **spec},
        }

    def wait(self, condition: str, *names: str) -> None:
        self.kubectl("wait", f"--for={condition}", *names, "--timeout=60s")


@contextmanager
def namespace(cluster: Cluster, name: str, image: str) -> Iterator[Namespace]:
    """A namespace that enforces the level "restricted", removed with all in it afterwards."""
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    content = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", seconds=120)
    cluster.kubectl("apply", "--filename=-", text=json.dumps(content))
    try:
        yield Namespace(cluster, name, image)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")
