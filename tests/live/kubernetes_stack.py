"""A stack deployed on the cluster for tests: what ``Stack`` offers, asked of the cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.errors import CrmError
from tests import project as projects
from tests.cluster.cluster import Cluster
from tests.live import stack as stacks
from tests.live.stack import LABEL, Stack

SMALL = {"replicas: 3": "replicas: 2", "cpus: 0.2\n": "cpus: 0.15\n"}
"""So that five replicas and a surge fit the node's two CPUs beside all else."""

Object = dict[str, Any]
Started = dict[str, tuple[str, int]]
"""Pod → identity and restarts: both stay unless it is replaced or restarted."""


def others(started: Started, *begin: str) -> Started:
    """The pods whose names begin otherwise."""
    return {name: seen for name, seen in started.items() if not name.startswith(begin)}


@dataclass(frozen=True)
class KubernetesStack(Stack):
    """One deployed stack, on ``cluster``. An instance is its pod."""

    cluster: Cluster

    @property
    def url(self) -> str:
        """Where its edge answers from this machine: the node is the load balancer."""
        return f"http://{self.cluster.address}:{self.port}"

    @property
    def namespace(self) -> str:
        return f"crm-{self.name}"

    def crm(self, verb: str, *arguments: str, **environment: str) -> projects.Run:
        """Run a verb on this stack with the cluster's kubeconfig."""
        kubeconfig = {"KUBECONFIG": str(self.cluster.kubeconfig)}
        return super().crm(verb, *arguments, **{**kubeconfig, **environment})

    def bring_images(self) -> None:
        """Have every image of the stack on the node, under the name the stack asks for."""
        built = self.project.crm("images", "build", self.name, "--json", seconds=600)
        assert built.code == 0, built.err
        for image in json.loads(built.out)["images"]:
            self.cluster.load_images([image["name"]])
            if image["name"] != image["reference"]:
                self._name_image(image["name"], image["reference"])

    def _name_image(self, name: str, reference: str) -> None:
        # Not by a tag in this machine's Docker, where other tests would take it for the real one.
        full = f"docker.io/{reference if '/' in reference else f'library/{reference}'}"
        words = ("--namespace=k8s.io", "images", "tag", "--force", f"docker.io/{name}", full)
        subprocess.run(self.cluster._inside("ctr", *words), check=True, capture_output=True)

    # --- What really runs ------------------------------------------------------------------------

    def get(self, kind: str, *words: str) -> list[Object]:
        """The stack's objects of ``kind`` as the API has them."""
        only = (f"--selector={LABEL}={self.name}", f"--namespace={self.namespace}")
        text = self.cluster.kubectl("get", kind, "--output=json", *only, *words)
        found: list[Object] = json.loads(text)["items"]
        return found

    def pods(self, workload: str = "") -> list[Object]:
        """Pods that are not on their way out, of one workload or all; jobs' are left out."""
        return [
            pod
            for pod in self.get("pods")
            if "deletionTimestamp" not in pod["metadata"]
            and pod["status"]["phase"] not in ("Succeeded", "Failed")
            and (workload or pod["metadata"]["labels"]["crm.workload"])
            == pod["metadata"]["labels"]["crm.workload"]
        ]

    def pod(self, instance: str) -> Object:
        """The only pod of ``instance``."""
        found = [p for p in self.pods() if p["metadata"]["labels"]["crm.instance"] == instance]
        assert len(found) == 1, [p["metadata"]["name"] for p in found]
        return found[0]

    def started(self) -> Started:
        """All pods but jobs'."""
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(c["restartCount"] for c in pod["status"].get("containerStatuses") or ()),
            )
            for pod in self.pods()
        }

    def attempt(self, instance: str, *command: str) -> tuple[int, str]:
        """The exit code of ``command`` inside the pod of ``instance``, and what it prints."""
        pod = self.pod(instance)
        done = subprocess.run(
            [
                *(str(self.cluster.kubectl_program), f"--kubeconfig={self.cluster.kubeconfig}"),
                *("exec", f"--namespace={self.namespace}", pod["metadata"]["name"]),
                *(f"--container={pod['spec']['containers'][0]['name']}", "--", *command),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")

    def objects(self) -> dict[str, list[str]]:
        """Names of what the cluster has of this stack, by kind, sorted; empty kinds left out."""
        kinds = (
            "deployments,statefulsets,jobs,pods,services,configmaps,secrets,ingresses,"
            "networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,serviceaccounts,"
            "persistentvolumeclaims"
        )
        found: dict[str, list[str]] = {}
        for item in self.get(kinds):
            found.setdefault(item["kind"], []).append(item["metadata"]["name"])
        return {kind: sorted(names) for kind, names in sorted(found.items())}

    def has_namespace(self) -> bool:
        words = ("get", "namespace", self.namespace, "--ignore-not-found", "--output=name")
        return bool(self.cluster.kubectl(*words).strip())


def prepare(folder: Path, cluster: Cluster, *, images: bool = True) -> KubernetesStack:
    """A checkout in ``folder`` with the shipped stack file, smaller; its images on the node."""
    plain = stacks.prepare(folder, "kubernetes")
    stack = KubernetesStack(plain.project, plain.name, plain.port, plain.engine, cluster)
    for old, new in SMALL.items():
        stack.edit(old, new)
    if images:
        stack.bring_images()
    return stack


@contextmanager
def deployed(folder: Path, cluster: Cluster) -> Iterator[KubernetesStack]:
    """Deploy it and, whatever happens, destroy it with its data afterwards."""
    stack = prepare(folder, cluster)
    try:
        stack.up()
        yield stack
    finally:
        if stack.crm("destroy", "--yes", "--delete-data").code != 0 or stack.has_namespace():
            with_all = ("delete", "namespace", stack.namespace, "--ignore-not-found")
            cluster.kubectl(*with_all, seconds=120)
            raise CrmError(f"{stack.name}: destroy left something; the namespace was deleted")
