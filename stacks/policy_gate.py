"""Policies where no Pulumi CLI asks the pack: in the embedded engine and in ``crm check``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from policies import judge
from policies.model import HIDDEN, Finding, Resource, lines
from stacks import stack_file
from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.pulumi_state.values import map_secrets
from stacks.spec_policies import Policies

if TYPE_CHECKING:
    from stacks.embedded.deployment import Deployment, Handler
    from stacks.embedded.state import Resource as Registered
    from stacks.embedded.state import State
    from stacks.plan import Plan
    from stacks.pulumi_state.values import Properties

    HandlerOf = Callable[[Registered, State], Handler]


@contextmanager
def judging(stack: str, deployment: Deployment) -> Iterator[None]:
    """Mend and judge what the program of ``stack`` registers within, as its file wants it.

    Raises ``CrmError`` with all that is mandatory; the rest is told.
    """
    asked = stack_file.load(stack).policies
    mended: list[Finding] = []
    deployment.handler_of = mending(deployment.handler_of, asked, mended.append)
    yield
    found = findings(deployment.state.registered.values(), asked, _today())
    allow(stack, [*sorted(mended), *found])


def mending(
    handler_of: HandlerOf, asked: Policies, tell: Callable[[Finding], object] = lambda _: None
) -> HandlerOf:
    """``handler_of``, whose handlers are given what rules of the level ``remediate`` make of each
    resource; ``tell`` is called, from several threads, with what they put right."""

    def handler(resource: Registered, state: State) -> Handler:
        return cast("Handler", _Mending(handler_of(resource, state), asked, tell))

    return handler if "remediate" in asked.levels.values() else handler_of


class _Mending:
    """A handler before which rules put right what they can."""

    def __init__(
        self, handler: Handler, asked: Policies, tell: Callable[[Finding], object]
    ) -> None:
        self._handler, self._asked, self._tell = handler, asked, tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def check(self, new: Registered, old: Registered | None) -> Properties:
        given = Resource(new.type, new.name, new.inputs, new.protect)
        made, told = judge.mend(given, self._asked, _today(), seen=without_secrets)
        new.inputs = dict(made.inputs)
        for finding in told:
            self._tell(finding)
        return self._handler.check(new, old)


def check(plan: Plan, asked: Policies) -> int:
    """Judge what ``plan`` would register, without registering it; how many resources that are.

    Raises ``CrmError`` with all that is mandatory; the rest is told.
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
    """Tell what is not mandatory, and raise ``CrmError`` with all that is."""
    for line in lines(finding for finding in found if finding.level != "mandatory"):
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
