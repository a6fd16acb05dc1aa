"""A Kubernetes cluster, spoken to directly: for the embedded engine, the checks and ``crm``.

Objects are plain dictionaries as the API's JSON has them; a *reference* is any object, of which
only ``apiVersion``, ``kind`` and ``metadata``'s name and namespace are looked at. Imports the
Kubernetes client inside functions: it costs a third of a second.
"""

from __future__ import annotations

import json
import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from stacks.errors import CrmError
from stacks.targets import kubernetes_ready, kubernetes_wait
from stacks.workload import STACK_LABEL

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

Object = dict[str, Any]

FIELD_MANAGER = "crm"
"""The owner of the fields we set, in the eyes of server-side apply."""

CLUSTER_WIDE = ("Namespace", "Node", "StorageClass", "IngressClass", "PersistentVolume")
_PATIENCE_SECONDS = 20
"""How long an API server that stops answering in the middle of a run is asked again."""
_POLL_SECONDS = 0.5
_DELETE_SECONDS = 300.0


class Refused(CrmError):  # noqa: N818
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
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config
    from yaml import YAMLError

    path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(part).expanduser().is_file() for part in path.split(os.pathsep)):
        raise CrmError(
            f"no kubeconfig at {path}: set KUBECONFIG to the file that the cluster gave you"
            " (kind, k3d and clouds write ~/.kube/config)"
        )
    configuration = Configuration()
    configuration.retries = False  # we know better when to ask again
    try:
        contexts, current = list_kube_config_contexts(path)
        names = sorted(str(found["name"]) for found in contexts)
        name = context or str((current or {}).get("name", ""))
        if name not in names:
            lacking = f"has no context {name!r}" if name else "names no current context"
            there = ", ".join(names) or "none"
            hint = "set crm:kubernetes.context in the stack file to one of these"
            raise CrmError(f"{path} {lacking}; there is {there}: {hint}")
        load_kube_config(
            path, context=name, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, YAMLError, OSError, ValueError, TypeError) as error:
        raise CrmError(f"kubeconfig {path} cannot be used: {_first_line(error)}") from None
    cluster = Cluster(ApiClient(configuration), name)
    cluster.server_version()
    cluster.patience = _PATIENCE_SECONDS
    return cluster


class Cluster:
    """A connection. Its methods may be called from several threads at once.

    They raise ``Refused`` with what the API server said, and ``CrmError`` when it cannot be had.
    """

    patience = 0
    """Seconds for which a server that does not answer is asked again."""

    def __init__(self, client: ApiClient, context: str) -> None:
        self.client = client
        self.context = context
        self.address = str(client.configuration.host)

    # --- Objects ---------------------------------------------------------------------------------

    def apply(
        self, wanted: Object, *, manager: str = FIELD_MANAGER, force: bool = True, dry: bool = False
    ) -> Object:
        """Server-side apply: make the fields of ``wanted`` so, and return the live object.

        ``force`` takes over fields that others set; ``dry`` asks what would come of it.
        """
        query = {"fieldManager": manager, "force": str(force).lower()}
        query |= {"fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
        if text := wanted.get("stringData"):
            # Applied as such, a key that is left out later would stay.
            encoded = {key: b64encode(value.encode()).decode() for key, value in text.items()}
            wanted = {**wanted, "data": {**wanted.get("data", {}), **encoded}}
            del wanted["stringData"]
        return self._json("PATCH", _path(wanted), query, wanted)

    def read(self, reference: Object) -> Object | None:
        """The live object, None where there is none."""
        try:
            return self._json("GET", _path(reference))
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def find(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> list[Object]:
        """The objects of a kind, everywhere or in ``namespace``, that have all of ``labels``."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        path = _path(
            {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace}}
        )
        found = self._json("GET", path, {"labelSelector": selector} if selector else {})
        return [{"apiVersion": api_version, "kind": kind, **item} for item in found["items"]]

    def belongings(
        self, kinds: Iterable[tuple[str, str]], namespace: str, stack: str
    ) -> list[Object]:
        """What of ``kinds`` (apiVersion, kind) has the label of ``stack`` and nothing made it but
        a person or us."""
        found = [
            live
            for api_version, kind in kinds
            for live in self.find(api_version, kind, namespace, {STACK_LABEL: stack})
        ]
        return [live for live in found if not kubernetes_ready.owner_uids(live)]

    def delete(
        self,
        reference: Object,
        *,
        seconds: float = _DELETE_SECONDS,
        propagation: str = "Foreground",
    ) -> None:
        """Delete it and wait until it is gone; one that is not there is well.

        ``propagation`` ``Foreground`` waits for what it owns (pods), ``Background`` does not. A
        ``metadata.uid`` in ``reference`` says that only that one is meant. Raises ``CrmError``
        with what holds it after ``seconds``.
        """
        uid = reference["metadata"].get("uid")
        body: Object = {"propagationPolicy": propagation}
        try:
            body |= {"preconditions": {"uid": uid}} if uid else {}
            self._json("DELETE", _path(reference), body=body)
        except Refused as error:
            if error.status == 404 or (uid and error.status == 409):
                return  # Gone, or another one of the same name.
            raise
        limit = time.monotonic() + seconds
        while (live := self.read(reference)) and uid in (None, live["metadata"]["uid"]):
            if time.monotonic() > limit:
                raise CrmError(f"not gone after {seconds:.0f} s: {_held_by(live)}")
            time.sleep(_POLL_SECONDS)

    def drift(self, wanted: Object, live: Object, manager: str = FIELD_MANAGER) -> list[str]:
        """How ``live`` differs from what applying ``wanted`` would make of it, a field each."""
        after = self.apply(wanted, manager=manager, dry=True)
        return kubernetes_ready.differences(live, after, secret=live["kind"] == "Secret")

    # --- Readiness -------------------------------------------------------------------------------

    def wait_ready(
        self,
        live: Object,
        seconds: float | None = None,
        report: Callable[[str], None] = lambda _text: None,
    ) -> Object:
        """Wait until ``live`` does its work, and return what it is by then.

        ``report`` is told in a few words what is waited for, whenever that changes. Raises
        ``CrmError`` with the reason: soon for what does not mend itself, else after ``seconds``
        (without: what the object itself allows, or ten minutes).
        """
        return kubernetes_wait.wait_ready(self, live, seconds, report)

    def reasons(self, namespace: str, labels: Mapping[str, str] | None = None) -> list[str]:
        """Why pods (with ``labels``) are not ready, one line each: what the kubelet and the
        scheduler say, last log lines, newest warnings. Empty when all is well."""
        return kubernetes_wait.reasons(self, namespace, labels)

    def log(self, namespace: str, pod: str, container: str, lines: int = 5) -> str:
        """The last lines a container said, of its last run if this one said nothing yet."""
        pods = _path({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace}})
        query = {"container": container, "tailLines": str(lines)}
        for previous in ("false", "true"):
            try:
                text = self._ask("GET", f"{pods}/{pod}/log", {**query, "previous": previous})
            except Refused:
                continue  # It has not started, or its node does not answer.
            if text.strip():
                return text.decode(errors="replace").strip()
        return ""

    # --- Facts -----------------------------------------------------------------------------------

    def server_version(self) -> tuple[int, int]:
        """Such as (1, 36)."""
        found = self._json("GET", "/version")
        # Some clouds write "33+".
        major, minor = (re.match(r"\d*", str(found[key])) for key in ("major", "minor"))
        return int((major and major[0]) or 0), int((minor and minor[0]) or 0)

    def node_sizes(self) -> list[NodeSize]:
        """What pods may have of each node that takes pods, largest memory first."""
        sizes = []
        for node in self.find("v1", "Node"):
            taints = {taint["effect"] for taint in node["spec"].get("taints") or []}
            if node["spec"].get("unschedulable") or taints & {"NoSchedule", "NoExecute"}:
                continue
            cpus, memory = (
                kubernetes_ready.quantity(node["status"]["allocatable"][k])
                for k in ("cpu", "memory")
            )
            sizes.append(NodeSize(node["metadata"]["name"], cpus, int(memory / 1024**2)))
        return sorted(sizes, key=lambda size: -size.memory_mib)

    def storage_classes(self) -> dict[str, bool]:
        """Their names, and whether it is the default."""
        return self._classes("storage.k8s.io/v1", "StorageClass", "storageclass")

    def ingress_classes(self) -> dict[str, bool]:
        """Their names, and whether it is the default."""
        return self._classes("networking.k8s.io/v1", "IngressClass", "ingressclass")

    def namespace_labels(self, name: str) -> dict[str, str] | None:
        """A namespace's labels, None where there is no such namespace."""
        found = self.read({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return dict(found["metadata"].get("labels") or {}) if found else None

    def url_of(self, namespace: str, service: str, ingress: str = "") -> str | None:
        """Where people reach ``service``: through its Ingress, its load balancer, or a node's
        port; None while it has no address, or is only for the cluster itself."""
        where = {"name": service, "namespace": namespace}
        kind = ("networking.k8s.io/v1", "Ingress") if ingress else ("v1", "Service")
        where["name"] = ingress or service
        live = self.read({"apiVersion": kind[0], "kind": kind[1], "metadata": where})
        if live is None:
            return None
        if ingress:
            host = live["spec"]["rules"][0].get("host") or "".join(
                kubernetes_ready.addresses(live)[:1]
            )
            return f"{'https' if live['spec'].get('tls') else 'http'}://{host}" if host else None
        # HTTPS where it is offered.
        port = max(live["spec"]["ports"], key=lambda port: port.get("name") == "https")
        scheme, usual = ("https", 443) if port.get("name") == "https" else ("http", 80)
        if live["spec"].get("type") == "LoadBalancer":
            hosts, number = kubernetes_ready.addresses(live), port["port"]
        elif live["spec"].get("type") == "NodePort":
            hosts, number = self._node_addresses(live), port["nodePort"]
        else:
            return None
        suffix = "" if number == usual else f":{number}"
        return f"{scheme}://{_in_url(hosts[0])}{suffix}" if hosts else None

    def _node_addresses(self, service: Object) -> list[str]:
        spec, namespace = service["spec"], service["metadata"]["namespace"]
        local = spec.get("externalTrafficPolicy") == "Local"
        pods = self.find("v1", "Pod", namespace, spec["selector"]) if local else None
        return kubernetes_ready.node_addresses(self.find("v1", "Node"), pods)

    def _classes(self, api_version: str, kind: str, word: str) -> dict[str, bool]:
        mark = f"{word}.kubernetes.io/is-default-class"
        found = [item["metadata"] for item in self.find(api_version, kind)]
        return {m["name"]: (m.get("annotations") or {}).get(mark) == "true" for m in found}

    # --- Requests --------------------------------------------------------------------------------

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> Object:
        answer: Object = json.loads(self._ask(method, path, query, body))
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
    ) -> bytes:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        limit = time.monotonic() + self.patience
        while True:
            try:
                answer = self.client.rest_client.pool_manager.request(
                    *(method, f"{self.address}{path}?{urlencode(query or {})}"),
                    body=json.dumps(body) if body else None,
                    # What an exec plugin or a token file says by now.
                    headers={
                        "Accept": "application/json, */*",
                        "Content-Type": kind,
                        **self._auth(),
                    },
                    timeout=Timeout(connect=5, read=60),
                )
            except HTTPError as error:
                problem: CrmError = CrmError(
                    f"the cluster of context {self.context} does not answer at {self.address}"
                    f" ({_first_line(error)}); start it, or choose another context"
                )
                is_passing = True
            else:
                if answer.status < 300:
                    return bytes(answer.data)
                problem = self._refusal(answer.status, answer.data)
                is_passing = answer.status in (429, 503, 504)
            if not is_passing or time.monotonic() > limit:
                raise problem from None
            time.sleep(_POLL_SECONDS)

    def _auth(self) -> dict[str, str]:
        settings = self.client.configuration.auth_settings().values()
        return {found["key"]: found["value"] for found in settings}

    def _refusal(self, status: int, text: bytes) -> Refused:
        try:
            said = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            said = text.decode(errors="replace")[:200]
        if status == 401:
            return Refused(
                f"the cluster at {self.address} does not know us (401): the credentials of"
                f" context {self.context} in the kubeconfig are wrong or have run out",
                status,
            )
        return Refused(kubernetes_ready.one_line(said) or f"HTTP {status}", status)


def _path(reference: Object) -> str:
    """The address of an object, or without a name of all of its kind."""
    api, kind, metadata = reference["apiVersion"], reference["kind"], reference["metadata"]
    group = f"/apis/{api}" if "/" in api else f"/api/{api}"
    plural = re.sub("(ss|y)$", lambda end: {"ss": "sse", "y": "ie"}[end[0]], kind.lower()) + "s"
    namespace = metadata.get("namespace")
    if not namespace and metadata.get("name") and kind not in CLUSTER_WIDE:
        namespace = "default"
    within = f"/namespaces/{namespace}" if namespace and kind not in CLUSTER_WIDE else ""
    return "/".join(filter(None, (f"{group}{within}/{plural}", metadata.get("name"))))


def _held_by(live: Object) -> str:
    told = [
        kubernetes_ready.one_line(found.get("message", ""))
        for found in live.get("status", {}).get("conditions") or []
        if live["kind"] == "Namespace" and found["status"] == "True"
    ]
    held = ", ".join(live["metadata"].get("finalizers") or [])
    return "; ".join(filter(None, told)) or (f"held by {held}" if held else "its pods still run")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
