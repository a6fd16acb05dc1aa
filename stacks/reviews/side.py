"""One side of a review, described by its own code.

``python -m stacks.reviews.side STACK DAY FILE`` writes it as JSON, so that another checkout's stack
is rendered by the templates and the code of that checkout.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import msgspec

from policies.model import Finding
from stacks import app_image, declared, plan, policy_gate, review, stack_file, tiers
from stacks.certificates import SelfMade
from stacks.embedded.deployment import Deployment, Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.paths import ROOT, STACK_FILES
from stacks.plan import Plan
from stacks.render import Renderer
from stacks.spec_policies import Policies
from stacks.workload import Workload

_MADE = {
    "Files": ("version",),
    "GeneratedSecret": ("value",),
    "GeneratedCertificate": SelfMade.__struct_fields__,
}
"""What only an ``up`` makes, by the kind of resource."""


class Size(msgspec.Struct, frozen=True):
    """How much of a workload runs all the time: from ``least`` to ``most`` instances, each with so
    much. ``storage_gib`` is of a volume of its own, 0 where it has none."""

    name: str
    tier: str
    least: int
    most: int
    cpus: float
    memory_mib: int
    storage_gib: int


class Side(msgspec.Struct, frozen=True):
    """A stack as one checkout has it. ``resources`` are what a deployment of it would have left;
    no secret's value is in them."""

    target: str
    sizes: tuple[Size, ...]
    files: dict[str, str]
    findings: tuple[Finding, ...]
    resources: list[Resource]


def describe(stack: str, day: date, folder: Path = STACK_FILES) -> tuple[Side, Plan]:
    """``stack`` as its file in ``folder`` and this checkout's code have it, judged as of ``day``.

    Raises ``CrmError`` for what ``crm render`` refuses.
    """
    spec = stack_file.load(stack, folder)
    planned = plan.make(stack, spec)
    renderer = Renderer()
    image = app_image.app_reference(ROOT)
    workloads = tiers.workloads(planned, renderer.tree(planned), image)
    registered = list(declared.resources(planned))
    side = Side(
        target=planned.target,
        sizes=tuple(_size(w) for w in workloads if not (w.run_once or w.schedule)),
        files=review.tree(renderer, planned),
        findings=tuple(policy_gate.findings(registered, spec.policies, day)),
        resources=_deployed(planned, registered, spec.policies),
    )
    return side, planned


def _size(workload: Workload) -> Size:
    scale, count = workload.scale, len(workload.instances)
    data = workload.instances[0].own_data
    return Size(
        name=workload.name,
        tier=workload.tier,
        least=scale.min if scale else count,
        most=scale.max if scale else count,
        cpus=workload.cpus,
        memory_mib=workload.memory_mib,
        storage_gib=data.size_gib if data else 0,
    )


class _Settled(declared.Nothing):
    """A handler of what is there already, as it is wanted."""

    def diff(self, old: Resource, new: Resource) -> Diff:
        return Diff([])


def _deployed(planned: Plan, registered: list[Resource], asked: Policies) -> list[Resource]:
    """What ``registered`` would be in the state after an ``up``.

    Some inputs come from what others turned into, so all is registered once more, over what the
    first time would have left.
    """
    state = declared.unkept(planned.stack, [_made(each) for each in registered])
    deployment = Deployment(state, lambda *_: _Settled(), lambda _: None, None)
    declared.register(planned, deployment, asked)
    return [_made(resource) for resource in state.registered.values()]


def _made(resource: Resource) -> Resource:
    if not resource.is_managed:
        return resource
    kind = resource.type.rpartition(":")[2]
    outputs = {**resource.inputs, **dict.fromkeys(_MADE.get(kind, ()), "made")}
    if not resource.type.startswith("kubernetes:"):
        return msgspec.structs.replace(resource, id=f"{resource.name}-id", outputs=outputs)
    # Without an id: who asks the cluster where the edge is would ask one.
    outputs["metadata"] = {**outputs["metadata"], "resourceVersion": "made"}
    return msgspec.structs.replace(resource, outputs=outputs)


REFUSED = 3
"""The exit code for a stack file that is wrong; whatever else went wrong ends as Python ends."""


def main(stack: str, day: str, file: str) -> int:
    """Write the description; returns the exit code."""
    try:
        side, _ = describe(stack, date.fromisoformat(day))
    except CrmError as error:
        print(error, file=sys.stderr)
        return REFUSED
    Path(file).write_bytes(msgspec.json.encode(side))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
