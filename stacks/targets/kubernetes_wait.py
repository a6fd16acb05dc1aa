"""Waiting for Kubernetes objects, and finding out why one does not get ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from stacks.errors import CrmError
from stacks.targets import kubernetes_ready
from stacks.targets.kubernetes_ready import Object, Problem

if TYPE_CHECKING:
    from stacks.targets.kubernetes_host import Cluster

_POLL_SECONDS = 0.5
_WITH_PODS = ("Deployment", "StatefulSet", "Job")


def wait_ready(
    cluster: Cluster, live: Object, seconds: float | None, report: Callable[[str], None]
) -> Object:
    """See ``Cluster.wait_ready``."""
    limit = kubernetes_ready.patience(live) if seconds is None else seconds
    begun, told, words = time.monotonic(), "", list[str]()
    since: dict[str, float] = {}  # when what is in the way was first seen
    while True:
        verdict, now = kubernetes_ready.judge(live), time.monotonic()
        if verdict.ready:
            return live
        look = _Look(cluster, live)
        if look.binds_late():
            return live
        problems = look.problems()
        if {p.kind for p in problems} - since.keys():
            # At once: a job that fails may take its pods, and their words, with it.
            words = look.words()
        since = {p.kind: since.get(p.kind, now) for p in problems}
        lost = [p for p in problems if p.seconds is not None and now - since[p.kind] >= p.seconds]
        if verdict.failed or lost or now - begun >= limit:
            late = f"not ready after {limit:.0f} s: waiting for {verdict.waiting}"
            reason = verdict.failed or (lost[0].text if lost else late)
            more = [line for line in look.words() or words if line != reason]
            raise CrmError("\n".join([reason, *more]))
        text = "; ".join([verdict.waiting, *(p.text for p in problems[:1])])
        if text != told:
            report(told := text)
        time.sleep(_POLL_SECONDS)
        found = cluster.read(live)
        if found is None:
            raise CrmError("it was removed while it was waited for")
        live = found


def reasons(cluster: Cluster, namespace: str, labels: Mapping[str, str] | None) -> list[str]:
    """See ``Cluster.reasons``."""
    pods = cluster.find("v1", "Pod", namespace, labels)
    makers = [
        owner
        for api, kind in (
            ("apps/v1", "ReplicaSet"),
            ("apps/v1", "StatefulSet"),
            ("batch/v1", "Job"),
        )
        for owner in cluster.find(api, kind, namespace, labels)
        if owner.get("status", {}).get("replicas", 0) < owner["spec"].get("replicas", 0)
        or kubernetes_ready.condition(owner, "Failed")
    ]
    events = cluster.find("v1", "Event", namespace)
    return [
        f"{found['kind']} {found['metadata']['name']}: {line}"
        for found in [*makers, *pods]
        for line in _words(cluster, found, events)
    ]


class _Look:
    """What there is to see of one object at one moment, asked for when needed."""

    def __init__(self, cluster: Cluster, live: Object) -> None:
        self._cluster, self._live = cluster, live
        self._namespace = live["metadata"].get("namespace", "")
        self._pods: list[Object] = []
        self._makers = [live]
        if live["kind"] in _WITH_PODS:
            labels = live["spec"].get("selector", {}).get("matchLabels", {})
            sets = (
                cluster.find("apps/v1", "ReplicaSet", self._namespace, labels)
                if live["kind"] == "Deployment"
                else []
            )
            pods = cluster.find("v1", "Pod", self._namespace, labels)
            self._pods = kubernetes_ready.current_pods(live, pods, sets)
            self._makers += [s for s in sets if kubernetes_ready.owner_uids(s) & {_uid(live)}]

    def problems(self) -> list[Problem]:
        """What is in the way, what is worst first; a job's pods may fail and be tried again."""
        found = list(filter(None, map(kubernetes_ready.problem, self._pods)))
        if self._live["kind"] in _WITH_PODS and not self._pods:
            refused = [w for w in self._warnings(self._makers) if w.startswith("FailedCreate:")]
            found += [kubernetes_ready.refused(text) for text in refused[:1]]
        if any(p.kind == "queue" for p in found) and kubernetes_ready.is_growing(self._events()):
            found = [p for p in found if p.kind != "queue"]
        if self._live["kind"] == "Job":
            found = [p.lasting() if p.kind == "crash" else p for p in found]
        return sorted(found, key=lambda p: p.seconds or 0)

    def binds_late(self) -> bool:
        """Whether it is a claim whose volume is made when a pod first wants it."""
        return self._live["kind"] == "PersistentVolumeClaim" and any(
            event.get("reason") == "WaitForFirstConsumer" for event in self._events()
        )

    def words(self) -> list[str]:
        """What pods, logs and events say, a line each."""
        events = self._events()
        lines = [
            w for maker in self._makers for w in kubernetes_ready.warnings(events, [_uid(maker)])
        ]
        for pod in self._pods:
            name = pod["metadata"]["name"]
            lines += [f"pod {name}: {line}" for line in _words(self._cluster, pod, events)]
        return lines

    def _warnings(self, about: Iterable[Object]) -> list[str]:
        return kubernetes_ready.warnings(self._events(), map(_uid, about))

    def _events(self) -> list[Object]:
        return self._cluster.find("v1", "Event", self._namespace)


def _words(cluster: Cluster, found: Object, events: list[Object]) -> list[str]:
    """Why one pod, or what makes pods, is not well; a settled pod has nothing to say."""
    lines = []
    if found["kind"] == "Pod":
        if kubernetes_ready.is_settled(found):
            return []
        problem = kubernetes_ready.problem(found)
        lines += [problem.text] if problem else []
        talkers = [problem.container] if problem else kubernetes_ready.unready_containers(found)
        where = found["metadata"]["namespace"], found["metadata"]["name"]
        for container in filter(None, talkers):
            said = cluster.log(*where, container)
            lines += [f"{container} last said: {kubernetes_ready.one_line(said, 1000)}"] * bool(
                said
            )
    warned = kubernetes_ready.warnings(events, [_uid(found)])
    # The scheduler says the same twice: as a condition and as an event.
    return [*lines, *(w for w in warned if not any(w.partition(": ")[2] in line for line in lines))]


def _uid(live: Object) -> str:
    return str(live["metadata"].get("uid"))
