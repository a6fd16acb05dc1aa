"""Commands inside what runs of a stack on a cluster, as ``kubectl exec`` runs them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stacks.errors import CrmError
from stacks.manifests.common import selector
from stacks.plan import Plan
from stacks.targets import kubernetes_host, kubernetes_ready
from stacks.targets.inside import Said

if TYPE_CHECKING:
    from stacks.targets.kubernetes_host import Cluster, Object

_ALIVE_SECONDS = 20
"""How often a connection is shown to be in use: proxies close idle ones."""

_OUT, _ERR, _END = 1, 2, 3
"""Channels of a remote command: https://kubernetes.io/docs/reference/using-api/api-concepts/"""


class KubernetesInside:
    """See ``Inside``: the first container of ``pod``, the live object."""

    def __init__(self, cluster: Cluster, pod: Object) -> None:
        self._cluster = cluster
        self._pod = pod
        self.name = str(pod["metadata"]["name"])

    def run(self, command: Sequence[str], said: Said) -> int:
        """See ``Inside.run``. What is cut off goes on there to its end."""
        from websocket import WebSocketException

        socket = self._open(command)
        problem = ""
        try:
            used = time.monotonic()
            while socket.is_open():
                socket.update(timeout=_ALIVE_SECONDS)
                _pass_on(socket, said)
                if socket.is_open() and time.monotonic() - used > _ALIVE_SECONDS:
                    socket.sock.ping()
                    used = time.monotonic()
        except (WebSocketException, OSError) as error:
            problem = f" ({kubernetes_ready.one_line(str(error))})"
        finally:
            socket.close()
        _pass_on(socket, said)
        try:
            code = exit_code(socket.read_channel(_END))
        except CrmError as error:
            raise CrmError(f"{self.name}: {error}") from None
        if code is None:
            raise CrmError(
                f"{self.name}: the connection broke off{problem}; what was asked may go on there"
            )
        return code

    def _open(self, command: Sequence[str]) -> Any:
        from kubernetes.client import ApiException, CoreV1Api
        from kubernetes.stream import stream

        try:
            return stream(
                CoreV1Api(self._cluster.client).connect_get_namespaced_pod_exec,
                self.name,
                self._pod["metadata"]["namespace"],
                container=self._pod["spec"]["containers"][0]["name"],
                command=list(command),
                stdin=False,
                stdout=True,
                stderr=True,
                tty=False,
                binary=True,
                _preload_content=False,
            )
        except ApiException as error:
            # The client makes one of these of whatever happens meanwhile.
            if isinstance(error.__context__, KeyboardInterrupt | SystemExit):
                raise error.__context__ from None
            # A refusal comes with its headers, which say nothing to people.
            why = kubernetes_ready.one_line(str(error.reason).partition(" -+-+- ")[0])
            raise CrmError(f"{self.name}: nothing can be run in it: {why}") from None


def running(plan: Plan, workload: str, instance: str | None = None) -> KubernetesInside:
    """The newest pod of a workload, or of one instance of it, that runs.

    Raises ``CrmError`` when none does, with what is in the way.
    """
    cluster = kubernetes_host.connect(plan.kubernetes.context)
    return KubernetesInside(cluster, pod_of(cluster, plan, workload, instance))


def pod_of(cluster: Cluster, plan: Plan, workload: str, instance: str | None = None) -> Object:
    """The live object of that pod."""
    namespace, only = plan.kubernetes.namespace, selector(plan, workload, instance)
    pods = [
        pod
        for pod in cluster.find("v1", "Pod", namespace, only)
        if pod["status"].get("phase") == "Running" and not kubernetes_ready.is_leaving(pod)
    ]
    if not pods:
        why = "; ".join(cluster.reasons(namespace, only)[:3])
        raise CrmError(
            f"{plan.stack}: no pod of `{instance or workload}` runs in {namespace}"
            f"{f' ({why})' if why else ''}; run `crm up {plan.stack}`"
        )
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def exit_code(status: bytes) -> int | None:
    """The exit code in the ``Status`` that ends a remote command; ``None`` where it has none.

    Raises ``CrmError`` when the command could not be run.
    """
    try:
        found: dict[str, Any] = json.loads(status)
    except ValueError:
        return None
    if found.get("status") == "Success":
        return 0
    causes = (found.get("details") or {}).get("causes") or []
    for cause in causes:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise CrmError(kubernetes_ready.one_line(found.get("message", "")) or "it could not be run")


def _pass_on(socket: Any, said: Said) -> None:
    """Give what has come to ``said``."""
    out, err = socket.read_channel(_OUT), socket.read_channel(_ERR)
    if out or err:
        said(out, err)
