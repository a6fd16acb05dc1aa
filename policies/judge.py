"""Judges resources and their files by the rules, as a stack's file wants it.

Fails closed: a rule that raises is a mandatory finding, whatever its level. The day is an
argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date

from policies import rendered
from policies.files import FILE_RULES
from policies.model import STACK, Finding, Problem, Resource, Rule
from policies.rules import RULES as RESOURCE_RULES
from stacks.spec_policies import Level, Policies

RULES = (*RESOURCE_RULES, *map(rendered.as_rule, FILE_RULES))

EXCEPTIONS = "exceptions"
"""In the place of a rule's name where an exception itself is the matter."""

_HASH = re.compile(r"-[0-9a-f]{8}\Z")


def judge(
    resources: Sequence[Resource], asked: Policies, today: date, rules: Sequence[Rule] = RULES
) -> list[Finding]:
    """Every finding, mandatory ones last, so that they are what is seen."""
    found = [finding for rule in rules for finding in by_rule(rule, resources, asked, today)]
    return sorted([*found, *expired(asked, today)])


def by_rule(
    rule: Rule, resources: Sequence[Resource], asked: Policies, today: date
) -> Iterator[Finding]:
    """What ``rule`` finds, but for what an exception that still holds is made for."""
    excused = [
        exception.resource
        for exception in asked.exceptions
        if exception.rule == rule.name and not _is_over(exception.until, today)
    ]
    try:
        for problem in _problems(rule, resources, asked):
            if not any(_is_called(problem.resource, name) for name in excused):
                level = level_of(rule, asked)
                yield Finding(
                    level, rule.name, problem.resource, problem.what, rule.fix, problem.line
                )
    except Exception as error:
        what = f"the rule itself failed ({type(error).__name__}: {error}), so nothing is allowed"
        yield Finding("mandatory", rule.name, STACK, what, f"mend {rule.folder}/{rule.name}.py")


def level_of(rule: Rule, asked: Policies) -> Level:
    """The level ``rule`` has in this stack."""
    return asked.levels.get(rule.name, rule.level)


def expired(asked: Policies, today: date) -> Iterator[Finding]:
    """Exceptions whose time is over."""
    for exception in asked.exceptions:
        if _is_over(exception.until, today):
            yield Finding(
                "mandatory",
                EXCEPTIONS,
                exception.resource,
                f"the exception from {exception.rule} ended on {exception.until}; its owner is "
                f"{exception.owner}, its reason: {exception.reason}",
                "put right what it was made for and take it out of crm:policies.exceptions, or "
                "have its owner give it another day",
            )


def _problems(rule: Rule, resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    read = [r for r in resources if not rule.reads or r.kind in rule.reads]
    for given in [[resource] for resource in read] if rule.alone else [read]:
        yield from rule.find(given, asked)


def _is_called(resource: str, name: str) -> bool:
    """Whether that is its name; the hash at the end of some says nothing about what they are."""
    return resource == name or _HASH.sub("", resource) == name


def _is_over(until: str, today: date) -> bool:
    return today > date.fromisoformat(until)
