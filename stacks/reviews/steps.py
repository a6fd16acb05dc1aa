"""What ``up`` would do to a stack that is deployed as the other side describes it.

The embedded engine's own rules decide, over a machine or cluster on which everything is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from stacks import declared
from stacks.embedded.deployment import Deployment, Diff, Handler
from stacks.embedded.docker_handlers import DockerHandler
from stacks.embedded.dynamic import DynamicHandler
from stacks.embedded.kubernetes_handler import KubernetesHandler
from stacks.embedded.state import Resource, State
from stacks.errors import CrmError
from stacks.plan import Plan
from stacks.pulumi_state.values import changed_names
from stacks.results import CHANGES, Event
from stacks.spec_policies import Policies
from stacks.targets.docker_host import KINDS


class Step(msgspec.Struct, frozen=True):
    """What happens to one resource: ``op`` is one of ``results.CHANGES``. ``workload`` is empty
    for what belongs to no single one. A replaced one with ``first`` goes before its successor."""

    op: str
    kind: str
    name: str
    workload: str
    changed: tuple[str, ...] = ()
    first: bool = False
    is_data: bool = False

    @property
    def has_other_image(self) -> bool:
        """Whether what runs is another program."""
        return bool(self.workload) and any(
            path == "image" or path.endswith("].image") for path in self.changed
        )


class Steps(msgspec.Struct, frozen=True):
    """All steps, in the order of the program; ``refusal`` is why there are no more of them."""

    all: tuple[Step, ...]
    refusal: str = ""

    def of(self, workload: str, *kinds: str) -> list[Step]:
        """Those of one workload's resources of these kinds."""
        return [s for s in self.all if s.workload == workload and s.kind in kinds]


def between(
    stack: str, before: Sequence[Resource], planned: Plan | None, asked: Policies | None = None
) -> Steps:
    """From ``before`` to what ``planned`` declares, and rules make of it as they are ``asked``;
    without one, to nothing but what is kept."""
    resources = [msgspec.structs.replace(resource) for resource in before]
    state = declared.unkept(stack, resources)
    told: list[Event] = []
    handlers = _Handlers()
    deployment = Deployment(state, handlers.of, told.append, None)
    handlers.deployment = deployment
    refusal = ""
    try:
        if planned is None:
            kept: set[str] = set()
            for resource in reversed(resources):
                if resource.protect or resource.urn in kept:
                    kept |= {resource.urn} | resource.needs
            deployment.delete([r for r in resources if r.urn not in kept])
        else:
            declared.register(planned, deployment, asked)
            deployment.delete(state.earlier)
    except CrmError as error:
        refusal = str(error)
    known = {**{resource.urn: resource for resource in before}, **state.registered}
    return Steps(_steps(told, known), refusal)


class _Handlers:
    """The engine's handlers, which are asked what they would do and never to do it."""

    deployment: Deployment

    def of(self, resource: Resource, _state: State) -> Handler:
        if resource.type in KINDS:
            return DockerHandler(cast(Any, _AllThere()), "", resource.type)
        if resource.type.startswith("kubernetes:"):
            return KubernetesHandler(cast(Any, _AllThere()), self.deployment)
        return _Certificate({}) if resource.type.endswith(":GeneratedCertificate") else _dynamic


class _AllThere:
    """A machine or a cluster that has whatever it is asked for."""

    def __getattr__(self, _kind: str) -> _AllThere:
        return self

    def get(self, key: str) -> str:
        return key

    def read(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return wanted


class _Certificate(DynamicHandler):
    """Without the certificate at hand nobody knows how old it is."""

    def diff(self, old: Resource, new: Resource) -> Diff:
        return Diff([n for n in changed_names(old.inputs, new.inputs) if n != "__provider"])


_dynamic = DynamicHandler({})


def _steps(told: Sequence[Event], known: dict[str, Resource]) -> tuple[Step, ...]:
    ops: dict[str, str] = {}
    first: set[str] = set()
    details: dict[str, str] = {}
    for event in told:
        if event.status != "done" or event.urn not in known:
            continue
        if event.op == "replace" and ops.get(event.urn) == "delete":
            first.add(event.urn)
        if not (event.op == "delete" and ops.get(event.urn) == "replace"):
            ops[event.urn] = event.op
        details.setdefault(event.urn, "")
        details[event.urn] = details[event.urn] or event.detail
    return tuple(
        _step(known[urn], op, details[urn], urn in first)
        for urn, op in ops.items()
        if known[urn].is_managed and op in CHANGES
    )


def _step(resource: Resource, op: str, detail: str, first: bool) -> Step:
    above = resource.parent.split("::")
    kind = resource.type.rpartition(":")[2]
    return Step(
        op=op,
        kind=kind,
        name=resource.name,
        workload=above[-1] if len(above) == 4 and above[2].endswith(":Workload") else "",
        changed=tuple(name for name in detail.split(", ") if name and name != "__provider"),
        first=first,
        is_data=resource.protect and kind in ("Volume", "PersistentVolumeClaim"),
    )
