"""A Kubernetes cluster, spoken to directly: what the embedded engine, the checks and ``crm`` do there.

Objects are plain dictionaries as the API's JSON has them; a *reference* is any object, of which
only ``apiVersion``, ``kind`` and ``metadata``'s name and namespace are looked at. Imports the
Kubernetes client inside functions: it costs a third of a second.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacks.errors import CrmError
from stacks.targets import kubernetes_ready

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Object = dict[str, Any]

STACK_LABEL = "crm.stack"
FIELD_MANAGER = "crm"
"""The owner of the fields we set, in the eyes of server-side apply."""

CLUSTER_WIDE = ("Namespace", "Node", "StorageClass", "IngressClass", "PersistentVolume")
_PATIENCE_SECONDS = 20
"""How long an API server that does not answer in the middle of a run is asked again."""
_POLL_SECONDS = 1.0
_MIB = 1024 * 1024


class Refused(CrmError):
    """The API server said no; ``status`` is the HTTP one."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class NodeSize:
    """What pods may have of a node that takes pods: cores and MiB."""

    name: str
    cpus: float
    memory_mib: int


def connect(context: str | None = None) -> Cluster:
    """The cluster of ``context``, or of the kubeconfig's current one.

    Raises ``CrmError`` without a kubeconfig, for a context it does not have, and when the cluster
    does not answer or does not let us in.
    """
    from kubernetes.config import ConfigException, list_kube_config_contexts, new_client_from_config

    path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(part).expanduser().is_file() for part in path.split(os.pathsep)):
        raise CrmError(
            f"no kubeconfig at {path}: set KUBECONFIG to the file your cluster gave you"
            " (kind, k3d and clouds write ~/.kube/config)"
        )
    try:
        contexts, current = list_kube_config_contexts(path)
        names = sorted(str(found["name"]) for found in contexts)
        name = context or (current or {}).get("name", "")
        if name not in names:
            asked = f"has no context {context!r}" if context else "has no current context"
            there = ", ".join(names) or "none at all"
            raise CrmError(
                f"{path} {asked}; there is: {there}; set kubernetes.context in the stack file"
            )
        client = new_client_from_config(path, context=name, persist_config=False)
    except (ConfigException, OSError, ValueError) as error:
        raise CrmError(f"{path} cannot be used: {_first_line(error)}") from None
    cluster = Cluster(client, name)
    cluster.server_version()
    return cluster


class Cluster:
    """A connection. Its methods may be called from several threads at once.

    They raise ``Refused`` with what the API server said, and ``CrmError`` when it cannot be had.
    """

    def __init__(self, client: ApiClient, context: str) -> None:
        self._client = client
        self.context = context
        self.address = str(client.configuration.host)

    # --- Objects ---------------------------------------------------------------------------------

    def apply(
        self, wanted: Object, *, manager: str = FIELD_MANAGER, force: bool = True, dry: bool = False
    ) -> Object:
        """Server-side apply: make the fields of ``wanted`` so, and return the live object.

        ``force`` takes over fields that others set; ``dry`` only asks whether it would be let.
        """
        raise NotImplementedError

    def read(self, reference: Object) -> Object | None:
        """The live object, None where there is none."""
        raise NotImplementedError

    def find(
        self, api_version: str, kind: str, *, namespace: str = "", labels: Mapping[str, str] | None
    ) -> list[Object]:
        """The objects of a kind, everywhere or in ``namespace``, with all of ``labels``."""
        raise NotImplementedError

    def delete(
        self, reference: Object, *, seconds: float = 300, propagation: str = "Foreground"
    ) -> None:
        """Delete it and wait until it is gone; one that is not there is well.

        ``propagation`` ``Foreground`` waits for what it owns (pods), ``Background`` does not. A
        ``metadata.uid`` in ``reference`` says that only that one is meant. Raises ``CrmError``
        with what holds it after ``seconds``.
        """
        raise NotImplementedError

    def wait_ready(
        self, live: Object, seconds: float, report: Callable[[str], None] = lambda _text: None
    ) -> Object:
        """Wait until ``live`` does its work, and return what it is by then.

        ``report`` is told in a few words what is waited for, whenever that changes. Raises
        ``CrmError`` with the reason: at once for what does not mend itself, else after ``seconds``.
        """
        raise NotImplementedError

    def reasons(self, namespace: str, labels: Mapping[str, str] | None = None) -> list[str]:
        """Why pods (with ``labels``) are not ready, one line each: what the kubelet and the
        scheduler say, last log lines, newest warnings. Empty when all is well."""
        raise NotImplementedError

    def log(self, namespace: str, pod: str, container: str, lines: int = 5) -> str:
        """The last lines a container said, of its last run if this one said nothing."""
        raise NotImplementedError

    # --- Facts -----------------------------------------------------------------------------------

    def server_version(self) -> tuple[int, int]:
        """Such as (1, 36)."""
        raise NotImplementedError

    def node_sizes(self) -> list[NodeSize]:
        """What pods may have of each node that takes pods, largest memory first."""
        raise NotImplementedError

    def storage_classes(self) -> dict[str, bool]:
        """Their names, and which of them is the default."""
        raise NotImplementedError

    def ingress_classes(self) -> dict[str, bool]:
        """Their names, and which of them is the default."""
        raise NotImplementedError

    def namespace_labels(self, name: str) -> dict[str, str] | None:
        """A namespace's labels, None where there is no such namespace."""
        raise NotImplementedError

    def url_of(self, namespace: str, service: str, ingress: str = "") -> str | None:
        """Where people reach ``service``: through its Ingress, its load balancer, or a node's
        port; None while it has no address, or is only for the cluster itself."""
        raise NotImplementedError
