"""Kubernetes objects, by server-side apply, and waiting until they do their work.

An update mends: of a roll-out that failed the old pods go on serving, and applying the next version
is all it takes. What a killed run made and did not record is found by the stack's label, and goes
before the next run; namespaces and claims stay, and are taken over by name.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from stacks.embedded.deployment import Deployment, Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.pulumi_state.values import Properties, given, hide, hide_like, reveal
from stacks.targets.kubernetes_host import FIELD_MANAGER, Cluster
from stacks.targets.kubernetes_ready import changes, is_fixed, is_leaving, judge, labels
from stacks.workload import STACK_LABEL

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
    """The objects of one stack in one cluster. Those with its label that are there already are of
    a run before, and taken over; by a first run nothing is."""

    replaces_on_change, mends = False, True

    def __init__(self, cluster: Cluster, deployment: Deployment) -> None:
        self._cluster, self._deployment = cluster, deployment
        self._stack = deployment.state.stack

    def check(self, new: Resource, old: Resource | None) -> Properties:
        named = new.inputs.get("apiVersion"), new.inputs.get("kind")
        if named != TYPES[new.type] or not new.inputs.get("metadata", {}).get("name"):
            raise CrmError(f"{new.label}: give it apiVersion, kind and metadata.name of {new.type}")
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        was, wanted = _object(old), _object(new)
        changed = [path for path, _, _ in changes(was, wanted)]
        clash, is_gone = _id(was) == _id(wanted), is_leaving(self._cluster.read(was))
        return Diff(changed, is_fixed(was, changed), clash, clash, is_gone)

    def create(self, new: Resource) -> tuple[str, Properties]:
        wanted = _object(new)
        found = self._cluster.read(wanted)
        if found and is_leaving(found):
            self._cluster.delete(found)
        elif found and (self._deployment.is_first or labels(found).get(STACK_LABEL) != self._stack):
            hint = f"if it is (label {STACK_LABEL}={self._stack}), go on where its state is"
            raise CrmError(f"{_id(wanted)} is there and not ours: {hint}, else remove or rename it")
        return _id(wanted), self._applied(new, FIELD_MANAGER, "create")

    def update(self, old: Resource, new: Resource) -> Properties:
        return self._applied(new, old.outputs.get(_MANAGER, FIELD_MANAGER), "update")

    def delete(self, old: Resource) -> None:
        others = [r for r in self._deployment.state if r is not old and not r.delete]
        # What a failed run replaced may be wanted again: one object, recorded twice.
        if (old.urn, old.id) not in [(r.urn, r.id) for r in others]:
            self._cluster.delete(_object(old, uid=True))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        manager = old.outputs.get(_MANAGER, FIELD_MANAGER)
        live = self._cluster.read(_object(old))
        if live is None:
            return None
        drift = [*self._cluster.drift(_object(old), live, manager), judge(live).failed]
        return _outputs(old, live, manager), ", ".join(filter(None, drift))

    def strays(self, known: Iterable[Resource]) -> Iterator[tuple[str, Callable[[], None]]]:
        """What has the stack's label where ``known`` are and is none of them: its name, and what
        removes it."""
        mine = [_object(resource, uid=True)["metadata"] for resource in known]
        kinds = [named for named in TYPES.values() if named[1] not in _KEPT]
        for namespace in sorted({metadata.get("namespace", "") for metadata in mine} - {""}):
            for live in self._cluster.belongings(kinds, namespace, self._stack):
                if live["metadata"]["uid"] not in [metadata.get("uid") for metadata in mine]:
                    yield live["metadata"]["name"], partial(self._cluster.delete, live)

    def _applied(self, new: Resource, manager: str, op: str) -> Properties:
        begun = time.monotonic()

        def report(text: str) -> None:
            self._deployment.tell(new, op, "waiting", time.monotonic() - begun, text)

        live = self._cluster.apply(_object(new), manager=manager)
        return _outputs(new, self._cluster.wait_ready(live, report=report), manager)


def _object(resource: Resource, *, uid: bool = False) -> Properties:
    """What ``resource`` asks for; ``uid`` names the very object that it is."""
    wanted: Properties = reveal(given(resource.inputs))
    known = resource.outputs.get("metadata", {}).get("uid") if uid else None
    return {**wanted, "metadata": {**wanted["metadata"], "uid": known}} if known else wanted


def _outputs(resource: Resource, live: Properties, manager: str) -> Properties:
    """The live object as the CLI's provider keeps it (checkpointObject in its provider.go)."""
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    secret = {"data": hide(None)} if live["kind"] == "Secret" else {}
    outputs = hide_like({**live, "metadata": metadata}, {**resource.inputs, **secret})
    own = {"__initialApiVersion": live["apiVersion"], _MANAGER: manager}
    return {**outputs, **own, "__inputs": resource.inputs}


def _id(wanted: Properties) -> str:
    metadata = wanted["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
