"""Policies where no Pulumi CLI asks the pack: in the embedded engine and in ``crm check``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from policies import judge
from policies.model import HIDDEN, Finding, Resource, lines
from stacks import stack_file
from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.pulumi_state.values import map_secrets
from stacks.spec_policies import Policies

if TYPE_CHECKING:
    from stacks.embedded.state import Resource as Registered
    from stacks.plan import Plan


def refuse(stack: str, registered: Iterable[Registered]) -> None:
    """Judge what the program of ``stack`` registered, as its file wants it.

    Raises ``CrmError`` with all that is mandatory; what is advisory is told.
    """
    allow(stack, findings(registered, stack_file.load(stack).policies, _today()))


def check(plan: Plan, asked: Policies) -> int:
    """Judge what ``plan`` would register, without registering it; how many resources that are.

    Raises ``CrmError`` as ``refuse`` does.
    """
    number, found = judged(plan, asked)
    allow(plan.stack, found)
    return number


def judged(plan: Plan, asked: Policies) -> tuple[int, list[Finding]]:
    """How many resources ``plan`` would register, and what is found in them."""
    from stacks import declared

    resources = plain(declared.resources(plan))
    return len(resources), judge.judge(resources, asked, _today())


def findings(registered: Iterable[Registered], asked: Policies, today: date) -> list[Finding]:
    """What the rules find in resources as the program registered them."""
    return judge.judge(plain(registered), asked, today)


def plain(registered: Iterable[Registered]) -> list[Resource]:
    """Resources as rules read them: without providers, no secret's value in them."""
    return [
        Resource(r.type, r.name, without_secrets(r.inputs), r.protect)
        for r in registered
        if not r.is_provider
    ]


def without_secrets(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as rules read them."""
    hidden: dict[str, Any] = map_secrets(inputs, lambda _secret: HIDDEN)
    # How a dynamic resource is made, pickled; nothing of it is deployed.
    return {key: value for key, value in hidden.items() if key != "__provider"}


def allow(stack: str, found: Sequence[Finding]) -> None:
    """Tell what is advisory, and raise ``CrmError`` with all that is mandatory."""
    for line in lines(finding for finding in found if finding.level == "advisory"):
        _tell(line)
    if fatal := lines(finding for finding in found if finding.level == "mandatory"):
        shown = "\n  ".join(fatal)
        raise CrmError(f"{stack_file_name(stack)}: policies do not allow this:\n  {shown}")


@cache
def _tell(line: str) -> None:
    """Once in a run: its plan and its deployment are judged alike."""
    print(f"policy {line}", file=sys.stderr, flush=True)


def _today() -> date:
    return datetime.now(UTC).date()
