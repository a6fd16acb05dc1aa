"""What rules read and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from stacks.spec_policies import Level, Policies, RuleName

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""A value that is known only once a deployment has made it; this is how Pulumi writes it."""


STACK = "stack"
"""In the place of a resource's name where all of a stack is meant."""


class Hidden:
    """Stands for a secret's value, which no rule needs to see."""

    def __repr__(self) -> str:
        return "[secret]"

    def __deepcopy__(self, _memo: object) -> Hidden:
        return self


HIDDEN = Hidden()


class Resource(Struct, frozen=True):
    """One resource as the program registers it; ``inputs`` are plain values, ``HIDDEN`` and
    ``UNKNOWN``."""

    type: str
    name: str
    inputs: Mapping[str, Any]
    protect: bool = False

    @property
    def kind(self) -> str:
        """The last word of its type: ``kubernetes:apps/v1:Deployment`` → ``Deployment``."""
        return self.type.rpartition(":")[2]


class Problem(Struct, frozen=True):
    """What is wrong with one resource, or with one rendered file: the path of that is its name."""

    resource: str
    what: str
    line: int = 0
    """Of a file; 0 where it is about what is not there."""


class Rule(Struct, frozen=True, kw_only=True):
    """One rule. ``find`` is given all resources of the kinds that it ``reads`` (none named: of
    every kind), or one at a time where it judges each ``alone``, and names what is wrong. A
    ``remedy`` says what inputs a resource has to have instead; it is for those that judge alone."""

    name: RuleName
    reason: str
    fix: str
    reads: tuple[str, ...] = ()
    find: Callable[[Sequence[Resource], Policies], Iterator[Problem]]
    alone: bool = True
    level: Level = "mandatory"
    folder: str = "policies/rules"
    remedy: Callable[[Resource], dict[str, Any]] | None = None


class Flaw(Struct, frozen=True):
    """What is wrong at one line of a file; line 0 where something is not there."""

    line: int
    what: str


class FileRule(Struct, frozen=True, kw_only=True):
    """One rule over rendered files. ``find`` is given the text of each that it ``reads``, named by
    its path in what `crm render` writes; ``*`` stands for an instance."""

    name: RuleName
    reason: str
    fix: str
    reads: tuple[str, ...]
    find: Callable[[str], Iterator[Flaw]]
    level: Level = "mandatory"


class Finding(Struct, frozen=True, order=True):
    """A problem that somebody must hear of, with its way out."""

    level: Level
    rule: str
    resource: str
    what: str
    fix: str
    line: int = 0

    @property
    def place(self) -> str:
        """Its resource, or its file and the line of that."""
        return f"{self.resource}:{self.line}" if self.line else self.resource


def lines(findings: Iterable[Finding]) -> list[str]:
    """Findings as people read them, the same one of several resources in one line."""
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    for found in findings:
        key = (found.rule, found.level, found.what, found.fix)
        alike.setdefault(key, []).append(found.place)
    return [
        f"{rule} ({level}): {', '.join(names)}: {what}; {fix}"
        for (rule, level, what, fix), names in alike.items()
    ]
