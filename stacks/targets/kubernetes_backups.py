"""One shard's backups on a cluster: made, listed, restored beside it, put in place.

What works on a volume is a Job, on the node of the pod that holds it. It goes whatever happens:
when it was looked at, by the cluster's own doing when nobody is there any more, or with the next
``up``.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stacks.errors import CrmError
from stacks.manifests import helpers
from stacks.manifests.common import selector
from stacks.plan import Plan
from stacks.targets import (
    backup_place,
    inside,
    kubernetes_host,
    kubernetes_inside,
    kubernetes_ready,
)
from stacks.targets.backup_place import MOST_SECONDS, Manifest, Place, Rebuilt
from stacks.targets.kubernetes_inside import KubernetesInside
from stacks.tiers.backup import BACKUPS_PATH
from stacks.tiers.database import START_SECONDS
from stacks.workload import DATA_PATH, FILES_PATH, Workload

if TYPE_CHECKING:
    from stacks.targets.kubernetes_host import Cluster, Object

_POLL_SECONDS = 0.5

_ASKED_SECONDS = 600
"""A server that starts later than this after it was asked to switch over does not."""

_STOP_SECONDS = 300


class KubernetesPlace(Place):
    """See ``Place``."""

    def __init__(self, plan: Plan, shard: str, instance: str, files: Mapping[str, str]) -> None:
        super().__init__(plan, shard, instance, files)
        self._cluster = kubernetes_host.connect(plan.kubernetes.context)
        self._namespace = plan.kubernetes.namespace

    def keeper(self) -> KubernetesInside:
        """See ``Place.keeper``."""
        pod = kubernetes_inside.pod_of(self._cluster, self.plan, "backup", self.instance)
        return KubernetesInside(self._cluster, pod)

    def listed(self) -> list[Manifest]:
        """See ``Place.listed``."""
        said = self._ask(*backup_place.list_command(DATA_PATH))
        return backup_place.manifests(said, self.volume(self.instance))

    def rebuild(self, backup: str, stop: str = "", *, in_place: bool = False) -> Rebuilt:
        """See ``Place.rebuild``."""
        script = f'exec bash {FILES_PATH}/restore.sh "$@" >{helpers.ANSWER}'
        command = ["bash", "-c", script, "restore.sh", backup, *([stop] if stop else [])]
        claims = {BACKUPS_PATH: f"{self.instance}-data"}
        if in_place:
            claims[DATA_PATH] = f"{self.shard}-data"
        workload = self.restorer("restore" if in_place else "drill", command)
        began = time.monotonic()
        with self._job(workload, claims) as pod:
            code, said = _ended(pod)
            words = self._cluster.log(self._namespace, pod["metadata"]["name"], workload.name)
            seconds = time.monotonic() - began
            return Rebuilt.of(said, code, seconds, " | ".join(words.splitlines()))

    def switch(self, kept: str) -> None:
        """See ``Place.switch``.

        The server does it itself when it starts (``templates/mysql/start.sh.j2``): so nothing has
        to be put right where this process is killed, and one that cannot start is switched over
        as well.
        """
        script = (
            f"cd {DATA_PATH}/restored && [ -d mysql ] && "
            f'echo "{kept} $(($(date +%s) + {_ASKED_SECONDS}))" >switch.new && '
            "sync switch.new && mv switch.new switch"
        )
        workload = self.restorer("switch", ["sh", "-c", script])
        with self._job(workload, {DATA_PATH: f"{self.shard}-data"}) as pod:
            code, _ = _ended(pod)
            if code != 0:
                words = self._cluster.log(self._namespace, pod["metadata"]["name"], workload.name)
                raise CrmError(f"{self.shard}: nothing was changed: {words or f'exit {code}'}")
        try:
            self._start_anew(kept)
        except BaseException:
            taken_back = f"{self.inside_of(self.shard)} rm -f {DATA_PATH}/restored/switch"
            print(
                f"{self.shard}: will run on what was restored if it starts within"
                f" {_ASKED_SECONDS} s; to take that back: {taken_back}",
                file=sys.stderr,
            )
            raise

    def _start_anew(self, kept: str) -> None:
        """Have a new pod of the server, which switches over; ``CrmError`` where it did not."""
        before = self._server()
        if before is not None:
            self._cluster.delete(before, seconds=_STOP_SECONDS)
        server = self._wait_ready(before["metadata"]["uid"] if before else "")
        code, _ = inside.ask(
            KubernetesInside(self._cluster, server), ["test", "-d", f"{DATA_PATH}/{kept}"]
        )
        if code != 0:
            raise CrmError(
                f"{self.shard}: runs on what it had: it took more than {_ASKED_SECONDS} s until it"
                " was started again, and nobody may have waited any more; try again"
            )

    def volume(self, name: str) -> str:
        """See ``Place.volume``."""
        return f"the claim {name}-data of the namespace {self._namespace}"

    def logs_of(self, name: str) -> str:
        """See ``Place.logs_of``."""
        return f"{self._kubectl()} logs {name}-0"

    def inside_of(self, name: str) -> str:
        """See ``Place.inside_of``."""
        return f"{self._kubectl()} exec {name}-0 --"

    def _kubectl(self) -> str:
        context = self.plan.kubernetes.context
        words = ["kubectl", *(["--context", context] if context else []), "-n", self._namespace]
        return shlex.join(words)

    # --- The server ------------------------------------------------------------------------------

    def _server(self) -> Object | None:
        """The shard's pod, in whatever state."""
        return self._pod("database", self.shard)

    def _pod(self, workload: str, instance: str) -> Object | None:
        only = selector(self.plan, workload, instance)
        return next(iter(self._cluster.find("v1", "Pod", self._namespace, only)), None)

    def _wait_ready(self, but: str) -> Object:
        """The shard's pod, not the one whose uid is ``but``, once it is ready."""
        limit = time.monotonic() + START_SECONDS
        while True:
            pod = self._server()
            if pod is not None and pod["metadata"]["uid"] != but and kubernetes_ready.is_ready(pod):
                return pod
            if time.monotonic() > limit:
                only = selector(self.plan, "database", self.shard)
                why = " | ".join(self._cluster.reasons(self._namespace, only)[:5])
                raise CrmError(f"{self.shard}: not ready after {START_SECONDS} s: {why}")
            time.sleep(_POLL_SECONDS)

    # --- Jobs ------------------------------------------------------------------------------------

    @contextmanager
    def _job(self, workload: Workload, claims: Mapping[str, str]) -> Iterator[Object]:
        """The pod of a Job of ``workload`` that has ended, well or not; it goes afterwards.

        Raises ``CrmError`` where it cannot be run, with what is in the way.
        """
        wanted = helpers.job(
            self.plan,
            workload,
            claims,
            seconds=MOST_SECONDS,
            own_gib=None if DATA_PATH in claims else self.plan.database.storage_gib,
            node=self._node(claims),
        )
        _delete(self._cluster, wanted)
        live = self._cluster.apply(wanted)
        try:
            self._cluster.apply(helpers.files(self.plan, workload, live))
            wanted["spec"]["suspend"] = False
            live = self._cluster.apply(wanted)
            yield self._run(live)
        finally:
            _delete(self._cluster, live)

    def _run(self, job: Object) -> Object:
        """Wait for the end of ``job``; its pod."""
        problem = None
        try:
            self._cluster.wait_ready(job)
        except CrmError as error:
            problem = error
        only = selector(self.plan, job["metadata"]["labels"]["crm.workload"])
        name = job["metadata"]["name"]
        for pod in self._cluster.find("v1", "Pod", self._namespace, {**only, "crm.instance": name}):
            if _state(pod) is not None:
                return pod
        said = str(problem or "its pod is gone").splitlines()
        raise CrmError(f"{name}: {' | '.join(said[:5])}")

    def _node(self, claims: Mapping[str, str]) -> str | None:
        """Where the pods are that hold ``claims``, as a volume is of one node at a time.

        Raises ``CrmError`` where that is not one node.
        """
        holders = {
            f"{self.instance}-data": ("backup", self.instance),
            f"{self.shard}-data": ("database", self.shard),
        }
        nodes: dict[str, str] = {}
        for claim in sorted(claims.values()):
            pod = self._pod(*holders[claim])
            if pod is not None and pod["spec"].get("nodeName"):
                nodes[claim] = pod["spec"]["nodeName"]
        if len(set(nodes.values())) > 1:
            mine, other = nodes[f"{self.instance}-data"], nodes[f"{self.shard}-data"]
            pods = f"{self.instance}-0"
            backup = self.plan.database.backup
            if backup and backup.offsite:
                beside = backup.offsite.instances[backup.instances.index(self.instance)]
                pods += f" {beside}-0"
            raise CrmError(
                f"{self.shard}: nothing was changed: {self.instance} runs on {mine},"
                f" {self.shard} on {other}, and a restore needs both volumes on one node. Where"
                f" volumes can move: kubectl cordon {mine}; {self._kubectl()} delete pod"
                f" {pods}; try again; kubectl uncordon {mine}"
            )
        return next(iter(nodes.values()), None)


def _delete(cluster: Cluster, job: Object) -> None:
    cluster.delete({**job, "metadata": {k: job["metadata"][k] for k in ("name", "namespace")}})


def _state(pod: Object) -> Object | None:
    """How the pod's container ended; ``None`` while it has not."""
    for container in pod["status"].get("containerStatuses") or []:
        ended: Object | None = container["state"].get("terminated")
        return ended
    return None


def _ended(pod: Object) -> tuple[int, str]:
    """The exit code of the pod's container, and its answer."""
    state = _state(pod)
    assert state is not None
    return int(state["exitCode"]), str(state.get("message", ""))
