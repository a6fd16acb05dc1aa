"""Judges resources and their files by the rules, as a stack's file wants it.

Fails closed: a rule that raises is a mandatory finding, whatever its level. The day is an
argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import Any

from msgspec import structs

from policies import rendered
from policies.files import FILE_RULES
from policies.model import STACK, Finding, Problem, Resource, Rule
from policies.reading import RUNNING, is_docker, workload
from policies.rules import RULES as RESOURCE_RULES
from stacks.spec_policies import Level, Policies

RULES = (*RESOURCE_RULES, *map(rendered.as_rule, FILE_RULES))

EXCEPTIONS = "exceptions"
"""In the place of a rule's name where an exception itself is the matter."""

_HASH = re.compile(r"-[0-9a-f]{8}\Z")


def judge(
    resources: Sequence[Resource], asked: Policies, today: date, rules: Sequence[Rule] = RULES
) -> list[Finding]:
    """Every finding, mandatory ones last, so that they are what is seen. What rules put right
    themselves is among them, and all are asked about what then comes of it."""
    mended = [mend(resource, asked, today, rules) for resource in resources]
    resources = [resource for resource, _ in mended]
    found = [finding for _, told in mended for finding in told]
    for rule in rules:
        found += by_rule(rule, resources, asked, today)
    found += [*expired(asked, today), *idle(asked, resources, today)]
    return sorted(found, key=lambda finding: (finding.level == "mandatory", finding))


def mend(
    resource: Resource,
    asked: Policies,
    today: date,
    rules: Sequence[Rule] = RULES,
    seen: Callable[[dict[str, Any]], Mapping[str, Any]] = dict,
) -> tuple[Resource, list[Finding]]:
    """``resource`` as rules of the level ``remediate`` have it, and what each of them put right;
    that one failed by itself is mandatory here too.

    ``seen`` makes of inputs what rules may read: without secrets.
    """
    told: list[Finding] = []
    for rule in rules:
        if rule.remedy is None or level_of(rule, asked) != "remediate":
            continue
        wrong = _alone(rule, resource, asked, today, seen)
        if not wrong or wrong[0].resource == STACK:
            continue  # Nothing to put right, or a rule that failed by itself.
        try:
            inputs = rule.remedy(resource)
        except Exception as error:
            told.append(_failed(rule, error))
            continue
        after = _renamed(resource, structs.replace(resource, inputs=inputs))
        left = {finding.what for finding in _alone(rule, after, asked, today, seen)}
        if mended := [finding for finding in wrong if finding.what not in left]:
            resource = after
        for finding in mended:
            what = f"{finding.what}, mended before it is deployed"
            told.append(structs.replace(finding, level="remediate", what=what))
    return resource, told


def _alone(
    rule: Rule,
    resource: Resource,
    asked: Policies,
    today: date,
    seen: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> list[Finding]:
    shown = structs.replace(resource, inputs=seen(dict(resource.inputs)))
    return list(by_rule(rule, [shown], asked, today))


def _renamed(before: Resource, after: Resource) -> Resource:
    """A container on Docker whose name ends in a hash of what it is starts beside the one that it
    replaces. One that was mended is another, so it gets another name."""
    name = after.inputs.get("name")
    if not (is_docker(after, "Container") and isinstance(name, str) and _HASH.search(name)):
        return after
    changed = {key: each for key, each in after.inputs.items() if before.inputs.get(key) != each}
    # Numbers as one kind: of the CLI they are floats, of the embedded engine integers.
    plain = json.dumps([name, changed], sort_keys=True, default=str)
    text = json.dumps(json.loads(plain, parse_int=float), sort_keys=True)
    digest = sha256(text.encode()).hexdigest()[:8]
    return structs.replace(after, inputs={**after.inputs, "name": f"{name[:-8]}{digest}"})


def by_rule(
    rule: Rule, resources: Sequence[Resource], asked: Policies, today: date
) -> Iterator[Finding]:
    """What ``rule`` finds, but for what an exception that still holds is made for."""
    excused = [
        exception.resource
        for exception in asked.exceptions
        if exception.rule == rule.name and not _is_over(exception.until, today)
    ]
    level = level_of(rule, asked)
    # What a rule should have put right and could not.
    level = "mandatory" if level == "remediate" else level
    try:
        for problem in _problems(rule, resources, asked):
            if not any(_is_called(problem.resource, name) for name in excused):
                yield Finding(
                    level, rule.name, problem.resource, problem.what, rule.fix, problem.line
                )
    except Exception as error:
        yield _failed(rule, error)


def _failed(rule: Rule, error: Exception) -> Finding:
    what = f"the rule itself failed ({type(error).__name__}: {error}), so nothing is allowed"
    return Finding("mandatory", rule.name, STACK, what, f"mend {rule.folder}/{rule.name}.py")


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


def idle(asked: Policies, resources: Sequence[Resource], today: date) -> Iterator[Finding]:
    """Exceptions for what the stack does not have, such as one that was misspelt or whose resource
    has another name now. Of one that is over ``expired`` tells."""
    exceptions = [one for one in asked.exceptions if not _is_over(one.until, today)]
    if not exceptions:
        return
    there = {STACK, "edge", *rendered.paths(FILE_RULES, resources)}  # No edge is a finding, too.
    for resource in resources:
        there |= {resource.name, _HASH.sub("", resource.name)}
        if resource.kind in RUNNING:
            there.add(workload(resource))  # Some findings are about all of its replicas.
    for exception in exceptions:
        if exception.resource not in there:
            yield Finding(
                "advisory",
                EXCEPTIONS,
                exception.resource,
                f"the exception from {exception.rule} is for nothing that the stack has; its owner "
                f"is {exception.owner}, its last day {exception.until}, its reason: "
                f"{exception.reason}",
                "write the name as the finding has it, or take it out of crm:policies.exceptions",
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
