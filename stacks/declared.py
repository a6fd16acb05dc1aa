"""What a stack would register, without a machine, a cluster or any secret of its own.

The embedded engine's end of the SDK runs the target's own code as in the preview of a stack that
nobody deployed yet.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pulumi

from stacks import database_tls, images, policy_gate, render, tiers
from stacks.balancing import CERTIFICATE_SECRETS
from stacks.embedded.deployment import Deployment, Diff
from stacks.embedded.monitor import Monitor, run_program
from stacks.embedded.state import Resource, State
from stacks.manifests import PULL_SECRET
from stacks.paths import ROOT
from stacks.plan import Plan
from stacks.pulumi_state.crypter import Crypter
from stacks.pulumi_state.values import Properties
from stacks.spec_policies import Policies
from stacks.targets import choice

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIVEN = "given-from-elsewhere"
"""In the place of every secret that the stack takes from elsewhere."""


class Nothing:
    """A handler that takes inputs as they are; a plan asks nothing more of it."""

    replaces_on_change = mends = False

    def check(self, new: Resource, old: Resource | None) -> Properties:
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        raise NotImplementedError

    def create(self, new: Resource) -> tuple[str, Properties]:
        raise NotImplementedError

    def update(self, old: Resource, new: Resource) -> Properties:
        raise NotImplementedError

    def delete(self, old: Resource) -> None:
        raise NotImplementedError

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        raise NotImplementedError


def resources(plan: Plan) -> Sequence[Resource]:
    """Everything that ``plan`` would register, as Pulumi gets it: secrets marked, unknowns too."""
    state = unkept(plan.stack, [])
    register(plan, Deployment(state, lambda *_: Nothing(), lambda _: None, None))
    return list(state)


def unkept(stack: str, resources: list[Resource]) -> State:
    """A state to plan over: nothing is encrypted, as it is never saved."""
    return State(stack, cast(Crypter, None), resources)


def register(plan: Plan, deployment: Deployment, asked: Policies | None = None) -> None:
    """Hand all that ``plan`` declares to ``deployment``, which is to make nothing of it; as rules
    that put things right have it, where it is said what is ``asked`` of them."""
    if asked is not None:
        deployment.handler_of = policy_gate.mending(deployment.handler_of, asked)
    workloads = tiers.workloads(plan, render.Renderer().tree(plan), images.app_reference(ROOT))
    names = [name for name, reference in plan.secrets.items() if reference is not None]
    if plan.kubernetes.pull_secret is not None:
        names.append(PULL_SECRET)
    if plan.edge.tls is not None and plan.edge.tls.certificate is not None:
        names += CERTIFICATE_SECRETS
    if plan.database.tls.authority is not None:
        names.append(database_tls.AUTHORITY)
    if plan.database.backup is not None and plan.database.backup.offsite is not None:
        names += plan.database.backup.offsite.secrets

    def program() -> None:
        secrets = {name: pulumi.Output.secret(_GIVEN) for name in names}
        choice.deploy(plan, workloads, secrets, present=())

    before = os.environ.get("PULUMI_CONFIG")
    try:
        run_program(Path(__file__).parent, Monitor(deployment, {}, []), program)
    finally:
        # What a program reads its config from; whatever runs after this has one of its own.
        os.environ.pop("PULUMI_CONFIG", None)
        if before is not None:
            os.environ["PULUMI_CONFIG"] = before
