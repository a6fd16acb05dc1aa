"""Kubernetes objects, by server-side apply, and waiting until they do their work.

An update mends: of a roll-out that failed the old pods go on serving, and applying the next version
is all it takes. What a killed run made and did not record is found by the stack's label, and goes
before the next run; namespaces and claims stay, and are taken over by name.
"""

import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any

from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.pulumi_state.values import Properties, given, hide, hide_like, reveal
from stacks.results import Event, OnEvent
from stacks.targets.kubernetes_host import FIELD_MANAGER, STACK_LABEL, Cluster
from stacks.targets.kubernetes_ready import changes, is_fixed, judge

_KINDS = {
    "v1": "Namespace ServiceAccount ConfigMap Secret PersistentVolumeClaim Service",
    "apps/v1": "Deployment StatefulSet",
    "batch/v1": "Job CronJob",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "networking.k8s.io/v1": "NetworkPolicy Ingress",
    "policy/v1": "PodDisruptionBudget",
}
TYPES = {
    f"kubernetes:{api if '/' in api else f'core/{api}'}:{kind}": (api, kind)
    for api, kinds in _KINDS.items()
    for kind in kinds.split()
}
"""Pulumi's names of the kinds that are known here."""
_KEPT = ("Namespace", "PersistentVolumeClaim")
_MANAGER = "__fieldManager"  # as the CLI's provider notes it, so that both are the same owner


class KubernetesHandler:
    """The objects of one stack in one cluster. ``adopts``: what is there with the stack's label
    is of an earlier run, and taken over; else nothing is."""

    replaces_on_change, mends = False, True

    def __init__(self, cluster: Cluster, stack: str, on_event: OnEvent, adopts: bool) -> None:
        self._cluster, self._stack, self._on_event = cluster, stack, on_event
        self._adopts = adopts

    def check(self, new: Resource, old: Resource | None) -> Properties:
        named = new.inputs.get("apiVersion"), new.inputs.get("kind")
        if named != TYPES[new.type] or not new.inputs.get("metadata", {}).get("name"):
            raise CrmError(f"{new.label}: give it apiVersion, kind and metadata.name of {new.type}")
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        was, wanted = _object(old), _object(new)
        changed = [path for path, _, _ in changes(was, wanted)]
        replace = is_fixed(was, changed)
        is_same_place = _id(was) == _id(wanted)
        return Diff(changed, replace, True, is_same_place, self._cluster.read(was) is None)

    def create(self, new: Resource) -> tuple[str, Properties]:
        wanted = _object(new)
        found = self._cluster.read(wanted)
        if found and "deletionTimestamp" in found["metadata"]:
            self._cluster.delete(found)
            found = None
        if found and (_labels(found).get(STACK_LABEL) != self._stack or not self._adopts):
            hint = f"remove or rename it; it has no label {STACK_LABEL}={self._stack}"
            if not self._adopts and _labels(found).get(STACK_LABEL) == self._stack:
                hint = "the state knows no such stack; go on where it was made, or remove it"
            raise CrmError(f"{_id(wanted)} is there already: {hint}")
        return _id(wanted), self._applied(new, wanted, FIELD_MANAGER, "create")

    def update(self, old: Resource, new: Resource) -> Properties:
        return self._applied(new, _object(new), old.outputs.get(_MANAGER, FIELD_MANAGER), "update")

    def delete(self, old: Resource) -> None:
        self._cluster.delete(_object(old, uid=True))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        wanted = _object(old)
        live = self._cluster.read(wanted)
        if live is None:
            return None
        manager = old.outputs.get(_MANAGER, FIELD_MANAGER)
        drift, verdict = self._cluster.drift(wanted, live, manager), judge(live)
        if not verdict.ready and verdict.failed:
            drift.append(verdict.failed)
        return _outputs(old, live, manager), ", ".join(drift)

    def strays(self, known: Iterable[Resource]) -> Iterator[Properties]:
        """Objects with the stack's label, where ``known`` are, that none of these is."""
        mine = [_object(resource, uid=True)["metadata"] for resource in known]
        uids, places = {m.get("uid") for m in mine}, {m.get("namespace") for m in mine} - {None}
        for place in sorted(places):
            for api, kind in TYPES.values():
                found = (
                    ()
                    if kind in _KEPT
                    else self._cluster.find(api, kind, place, {STACK_LABEL: self._stack})
                )
                ours = (live for live in found if not live["metadata"].get("ownerReferences"))
                yield from (live for live in ours if live["metadata"]["uid"] not in uids)

    def remove(self, stray: Properties) -> None:
        """Deletes one of ``strays``, whatever became of it meanwhile."""
        self._cluster.delete(stray)

    def _applied(self, new: Resource, wanted: Properties, manager: str, op: str) -> Properties:
        begun = time.monotonic()

        def report(text: str) -> None:
            seconds = time.monotonic() - begun
            self._on_event(Event(new.urn, new.type, new.name, op, "waiting", seconds, text))

        live = self._cluster.apply(wanted, manager=manager)
        return _outputs(new, self._cluster.wait_ready(live, report=report), manager)


def _object(resource: Resource, *, uid: bool = False) -> Properties:
    """What ``resource`` asks for; ``uid`` names the very object that it is."""
    wanted: Properties = reveal(given(resource.inputs))
    if text := wanted.pop("stringData", None):
        # Applied as such, a key that is left out later would stay.
        encoded = {key: b64encode(value.encode()).decode() for key, value in text.items()}
        wanted["data"] = {**wanted.get("data", {}), **encoded}
    known = resource.outputs.get("metadata", {}).get("uid") if uid else None
    return {**wanted, "metadata": {**wanted["metadata"], "uid": known}} if known else wanted


def _outputs(resource: Resource, live: Properties, manager: str) -> Properties:
    """The live object as the CLI's provider keeps it (checkpointObject in its provider.go)."""
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    outputs = hide_like({**live, "metadata": metadata}, resource.inputs)
    if live["kind"] == "Secret" and "data" in live:
        outputs["data"] = hide(live["data"])
    own = {"__initialApiVersion": live["apiVersion"], _MANAGER: manager}
    return {**outputs, **own, "__inputs": resource.inputs}


def _id(wanted: Any) -> str:
    metadata = wanted["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def _labels(live: Properties) -> Properties:
    return live["metadata"].get("labels") or {}
