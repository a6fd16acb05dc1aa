"""When a Kubernetes object does its work, and why one does not: judgments over the API's JSON.

They are in the spirit of ``kubectl rollout status`` and of pulumi-kubernetes' awaiters
(provider/pkg/await), so that both engines call the same thing ready.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stacks.errors import CrmError

Object = dict[str, Any]

SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
_DEFAULT_SECONDS = 600.0
_REVISION = "deployment.kubernetes.io/revision"

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable")
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull")
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_ENOUGH_SECONDS = {"image": 15.0, "config": 15.0, "refused": 15.0, "crash": 30.0, "queue": 60.0}
"""Several of the kubelet's attempts; a node that has to come first takes longer and is told."""


_SERVERS_OWN = (
    *("metadata.managedFields", "metadata.resourceVersion", "metadata.generation"),
    "status",
)
_FIXED = ("apiVersion", "kind", "metadata.name", "metadata.namespace", "type")
_FIXED_SPEC = {
    "Deployment": "selector",
    "Job": "template selector completions completionMode",
    "PersistentVolumeClaim": "accessModes selector storageClassName volumeMode volumeName",
    "Service": "clusterIP",
    "StatefulSet": "podManagementPolicy selector serviceName volumeClaimTemplates",
}


@dataclass(frozen=True)
class Verdict:
    """Whether an object is ready; else what it waits for, or why it never will be."""

    ready: bool = False
    waiting: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Problem:
    """What keeps a pod from being ready, and how many seconds of it are enough to give up."""

    kind: str  # image, config, crash, queue, refused or end
    text: str
    seconds: float | None  # None: it may yet mend itself
    container: str = ""  # whose log tells more

    def lasting(self) -> Problem:
        """The same, in a place where somebody else decides when it is enough."""
        return replace(self, seconds=None)


READY = Verdict(ready=True)


def judge(live: Object) -> Verdict:
    """The verdict on ``live``; kinds not told apart here are ready once they are there."""
    if _annotations(live).get(SKIP_AWAIT) == "true":
        return READY
    return {
        "Deployment": _deployment,
        "StatefulSet": _stateful_set,
        "Job": _job,
        "PersistentVolumeClaim": _claim,
        "Service": _service,
        "Namespace": _namespace,
    }.get(live["kind"], lambda _live: READY)(live)


def patience(live: Object) -> float:
    """How many seconds ``live`` may take to get ready."""
    given, spec = _annotations(live).get(TIMEOUT_SECONDS), live.get("spec", {})
    if given:
        return float(given)
    # The controllers' own deadlines come first: they know more.
    deadlines = {"Deployment": "progressDeadlineSeconds", "Job": "activeDeadlineSeconds"}
    own = spec.get(deadlines.get(live["kind"], ""))
    return float(own) + 15 if own else _DEFAULT_SECONDS


def _deployment(live: Object) -> Verdict:
    spec, status = live["spec"], live.get("status", {})
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if not _is_observed(live):
        return Verdict(waiting="the controller to see the change")
    progress = condition(live, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        limit = spec.get("progressDeadlineSeconds", 600)
        return Verdict(failed=f"the roll-out did not get on for {limit} s")
    if updated < wanted:
        return Verdict(waiting=f"{updated} of {wanted} new pods started")
    if status.get("replicas", 0) > updated:
        return Verdict(waiting=f"{updated} new pods to replace {status['replicas'] - updated} old")
    available = status.get("availableReplicas", 0)
    return _count(available, wanted)


def _stateful_set(live: Object) -> Verdict:
    spec, status = live["spec"], live.get("status", {})
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if not _is_observed(live):
        return Verdict(waiting="the controller to see the change")
    is_rolling = status.get("updateRevision") != status.get("currentRevision")
    if is_rolling and updated < wanted:
        return Verdict(waiting=f"{updated} of {wanted} new pods started")
    return _count(min(status.get("readyReplicas", 0), updated or wanted), wanted)


def _job(live: Object) -> Verdict:
    if failed := condition(live, "Failed"):
        return Verdict(failed=f"the job failed: {_said(failed)}")
    is_done = bool(condition(live, "Complete"))
    active = live.get("status", {}).get("active", 0)
    return Verdict(ready=is_done, waiting="the job to end" if active else "the job to start")


def _claim(live: Object) -> Verdict:
    phase = live.get("status", {}).get("phase", "Pending")
    if phase == "Lost":
        return Verdict(failed="the volume it was bound to is gone")
    return Verdict(ready=phase == "Bound", waiting="a volume")


def _service(live: Object) -> Verdict:
    is_ready = live["spec"].get("type") != "LoadBalancer" or bool(addresses(live))
    return Verdict(ready=is_ready, waiting="an address from the load balancer")


def _namespace(live: Object) -> Verdict:
    is_active = live.get("status", {}).get("phase") == "Active"
    return Verdict(ready=is_active, waiting="the namespace to become active")


def _is_observed(live: Object) -> bool:
    seen: int = live.get("status", {}).get("observedGeneration", 0)
    return seen >= int(live["metadata"].get("generation", 0))


def _count(ready: int, wanted: int) -> Verdict:
    return Verdict(ready=ready >= wanted, waiting=f"{ready} of {wanted} pods ready")


def addresses(live: Object) -> list[str]:
    """The addresses that a load balancer gave a Service or an Ingress."""
    given = live.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [point.get("hostname") or point["ip"] for point in given]


def node_addresses(nodes: Sequence[Object], pods: Sequence[Object] | None) -> list[str]:
    """The addresses of ``nodes``, those for outside first; of those alone that ``pods`` run on,
    where it is given."""
    if pods is not None:
        names = {pod["spec"].get("nodeName") for pod in pods}
        nodes = [node for node in nodes if node["metadata"]["name"] in names]
    given = [a for node in nodes for a in node["status"].get("addresses", [])]
    order = {"ExternalIP": 0, "InternalIP": 1}
    fit = sorted((a for a in given if a["type"] in order), key=lambda a: order[a["type"]])
    return [str(address["address"]) for address in fit]


def condition(live: Object, kind: str) -> Mapping[str, Any]:
    """The condition ``kind`` if it is true, or is what went wrong; empty otherwise."""
    for found in live.get("status", {}).get("conditions") or []:
        is_bad = kind == "Progressing" and found["status"] == "False"
        if found["type"] == kind and (found["status"] == "True" or is_bad):
            return dict(found)
    return {}


# --- Pods ----------------------------------------------------------------------------------------


def current_pods(live: Object, pods: Iterable[Object], sets: Iterable[Object] = ()) -> list[Object]:
    """Those of ``pods`` that ``live`` made last; ``sets`` are the ReplicaSets beside them."""
    uid, kind = live["metadata"].get("uid"), live["kind"]
    owners = {uid}
    if kind == "Deployment":
        revision = _annotations(live).get(_REVISION)
        newest = [s for s in sets if _annotations(s).get(_REVISION) == revision]
        owners = {s["metadata"]["uid"] for s in newest if uid in owner_uids(s)}
    mine = [pod for pod in pods if owners & owner_uids(pod)]
    newest_hash = live.get("status", {}).get("updateRevision")
    if kind == "StatefulSet" and newest_hash:
        of = "controller-revision-hash"
        mine = [pod for pod in mine if labels(pod).get(of) == newest_hash]
    return mine


def owner_uids(live: Object) -> set[str]:
    """Who made it."""
    return {owner["uid"] for owner in live["metadata"].get("ownerReferences") or []}


def problem(pod: Object) -> Problem | None:
    """What keeps ``pod`` from being ready, as far as it says itself."""
    status = pod.get("status", {})
    if is_leaving(pod) or is_settled(pod):
        return None
    if status.get("phase") == "Failed" and status.get("reason"):
        return Problem("end", _said(status), None)  # its maker makes another one
    containers = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    for found in filter(None, map(_container_problem, containers)):
        return found
    for told in status.get("conditions") or []:
        if told["type"] == "PodScheduled" and told["status"] == "False":
            return _problem("queue", f"cannot be scheduled: {one_line(told.get('message', ''))}")
    return None


def refused(warning: str) -> Problem:
    """That pods are not even made: a quota, or a rule of the namespace."""
    return _problem("refused", warning)


def _problem(kind: str, text: str, container: str = "") -> Problem:
    return Problem(kind, text, _ENOUGH_SECONDS[kind], container)


def is_settled(pod: Object) -> bool:
    """Whether ``pod`` is ready, or has done what it was for."""
    return pod.get("status", {}).get("phase") == "Succeeded" or is_ready(pod)


def is_ready(pod: Object) -> bool:
    """Whether ``pod`` takes requests."""
    return any(
        told["type"] == "Ready" and told["status"] == "True"
        for told in pod.get("status", {}).get("conditions") or []
    )


def _container_problem(status: Mapping[str, Any]) -> Problem | None:
    name, state = status["name"], status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason = waiting.get("reason", "")
    if reason in (*_IMAGE, *_HOPELESS, *_CONFIG):
        text = f"container {name}: {_said(waiting)}"
        if reason in _CONFIG:
            return _problem("config", text)
        text = f"{text} (image {status.get('image', 'unknown')})"
        return Problem("image", text, 0) if reason in _HOPELESS else _problem("image", text)
    last = ended or (status.get("lastState") or {}).get("terminated") or {}
    # One that was started again has not yet shown that it stays.
    if last and last.get("exitCode") and not status.get("ready"):
        word = "" if last.get("reason") in (None, "Error") else f", {last['reason']}"
        times = status.get("restartCount", 0)
        often = f", started again {times} times" if times else ""
        code = last["exitCode"]
        return _problem(
            "crash", f"container {name}: ended with exit code {code}{word}{often}", name
        )
    return None


def unready_containers(pod: Object) -> list[str]:
    """Containers that run and yet are not ready: a probe of theirs does not succeed."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return [s["name"] for s in statuses if "running" in s.get("state", {}) and not s.get("ready")]


def is_growing(events: Iterable[Object]) -> bool:
    """Whether the cluster is getting another node for a pod."""
    return any(event.get("reason") == "TriggeredScaleUp" for event in events)


def warnings(events: Iterable[Object], uids: Iterable[str], most: int = 3) -> list[str]:
    """What was warned of about the objects ``uids``, newest first, each once."""
    wanted = set(uids)
    about = [
        event
        for event in events
        if event.get("type") == "Warning" and event["involvedObject"].get("uid") in wanted
    ]
    about.sort(key=_moment, reverse=True)
    texts = [f"{event.get('reason', '')}: {one_line(event.get('message', ''))}" for event in about]
    return list(dict.fromkeys(texts))[:most]


def _moment(event: Object) -> str:
    times = (event.get("series") or {}).get("lastObservedTime"), event.get("lastTimestamp")
    return next(filter(None, (*times, event.get("eventTime"))), "")


def differences(live: Object, wanted: Object, *, secret: bool = False) -> list[str]:
    """The fields in which ``live`` is not ``wanted``, a phrase each; values of a ``secret`` are
    not told. What the server keeps for itself does not count."""
    found = []
    for path, was, wish in changes(live, wanted):
        if not path.startswith(_SERVERS_OWN):
            is_long = secret or isinstance(was, dict | list) or isinstance(wish, dict | list)
            found.append(f"{path} differs" if is_long else f"{path} is {was}, not {wish}")
    return found


def changes(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The innermost places at which ``old`` and ``new`` differ, such as ``spec.ports[0].name``,
    and what either has there; None where it has nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            below = f"{path}.{name}" if path else name
            yield from changes(old.get(name), new.get(name), below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (was, wish) in enumerate(zip(old, new, strict=True)):
            yield from changes(was, wish, f"{path}[{place}]")
    elif old != new:
        yield path, old, new


def is_leaving(live: Object | None) -> bool:
    """Whether there is no such object, or soon will not be."""
    return live is None or "deletionTimestamp" in live["metadata"]


def is_fixed(live: Object, paths: Iterable[str]) -> bool:
    """Whether one of ``paths``, as ``changes`` tells them, is of what the API server never lets
    change: then the object must go and come anew."""
    fixed = [*_FIXED, *(f"spec.{name}" for name in _FIXED_SPEC.get(live["kind"], "").split())]
    fixed += ["data", "binaryData", "immutable"] if live.get("immutable") else []
    whole = [path.replace("[", ".[") + "." for path in paths]
    return any(path.startswith(f"{name}.") for path in whole for name in fixed)


def quantity(text: str | float) -> float:
    """A Kubernetes quantity such as ``250m``, ``3Gi`` or ``2`` as a number."""
    parts = re.fullmatch(r"([\d.]+(?:e\d+)?)([numkKMGTPE]?)(i?)", str(text))
    if parts is None:
        raise CrmError(f"{text!r} is no quantity; right would be 250m or 3Gi")
    number, prefix, binary = parts.groups()
    if prefix in ("n", "u", "m"):
        return float(number) / {"n": 1e9, "u": 1e6, "m": 1e3}[prefix]
    power = " KMGTPE".index((prefix or " ").upper())
    return float(number) * float(1024 if binary else 1000) ** power


def one_line(text: str, longest: int = 400) -> str:
    """``text`` on one line, cut where it gets long."""
    joined = " ".join(text.split())
    return joined if len(joined) <= longest else f"{joined[: longest - 1]}…"


def _said(source: Mapping[str, Any]) -> str:
    parts: Sequence[str] = [source.get("reason") or "", one_line(source.get("message") or "")]
    return ": ".join(filter(None, parts)) or "no reason given"


def labels(live: Object) -> Mapping[str, str]:
    """Its labels."""
    return live["metadata"].get("labels") or {}


def _annotations(live: Object) -> Mapping[str, str]:
    return live["metadata"].get("annotations") or {}
