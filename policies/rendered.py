"""Rendered files, judged where they are registered: every way in that asks the rules of resources
asks those of files as well, about what would really be deployed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from policies.model import FileRule, Problem, Resource, Rule
from policies.reading import files, tier
from stacks.spec_policies import Policies

KINDS = ("Files", "ConfigMap")

_FOLDERS = {"haproxy": "edge", "mysql": "database", "nginx": "edge", "redis": "cache"}
"""The tier that each folder of rendered files is for."""

_NOT_THE_INSTANCE = re.compile(r"-files(-[0-9a-f]{8})?\Z")


def as_rule(rule: FileRule) -> Rule:
    """The same over resources."""

    def find(resources: Sequence[Resource], _asked: Policies) -> Iterator[Problem]:
        for resource in resources:
            yield from judged(rule, _tree(rule, resource))

    return Rule(
        name=rule.name,
        reason=rule.reason,
        fix=rule.fix,
        reads=KINDS,
        find=find,
        level=rule.level,
        folder="policies/files",
    )


def judged(rule: FileRule, tree: Mapping[str, str]) -> Iterator[Problem]:
    """What ``rule`` finds in a rendered tree, path → text, in the files that it reads."""
    patterns = [re.escape(path).replace(r"\*", "[^/]+") for path in rule.reads]
    for path, text in tree.items():
        if any(re.fullmatch(pattern, path) for pattern in patterns):
            for flaw in rule.find(text):
                yield Problem(path, flaw.what, flaw.line)


def paths(rules: Iterable[FileRule], resources: Sequence[Resource]) -> set[str]:
    """Of all files in ``resources`` that one of ``rules`` reads, as findings name them."""
    return {path for rule in rules for resource in resources for path in _tree(rule, resource)}


def _tree(rule: FileRule, resource: Resource) -> dict[str, str]:
    """Those files of ``resource`` that ``rule`` reads, by their paths in what is rendered."""
    instance = _NOT_THE_INSTANCE.sub("", resource.name)
    held = files(resource)
    return {
        path.replace("*", instance): str(held[name])
        for path in rule.reads
        if (name := path.rpartition("/")[2]) in held
        and tier(resource) == _FOLDERS[path.partition("/")[0]]
    }
