"""No name can be more than a name to whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from policies.model import Problem, Resource, Rule
from policies.reading import (
    containers,
    environment,
    files,
    is_docker,
    is_kubernetes,
    labels,
)
from stacks.spec_policies import Policies

_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = re.compile(r"(?!\.)[A-Za-z0-9._-]+")
_LABEL = re.compile(r"[A-Za-z0-9._/-]{0,253}")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for resource in resources:
        for what, name in _names(resource):
            if not _NAME.fullmatch(str(name)):
                yield Problem(resource.name, f"{what} is {name!r}")
        for name in files(resource):
            if not _FILE.fullmatch(name):
                yield Problem(resource.name, f"a file is called {name!r}")
        noted = labels(resource) if is_kubernetes(resource) or "labels" in resource.inputs else {}
        for key, value in noted.items():
            if not (_LABEL.fullmatch(key) and _LABEL.fullmatch(str(value))):
                yield Problem(resource.name, f"a label is {key!r}: {value!r}")
    for container in containers(resources):
        for name in environment(container):
            if not _VARIABLE.fullmatch(name):
                yield Problem(container.name, f"a variable is called {name!r}")


def _names(resource: Resource) -> Iterator[tuple[str, Any]]:
    given = resource.inputs
    if is_kubernetes(resource):
        about = given["metadata"]
        yield "its name", about["name"]
        yield "its namespace", about.get("namespace", "default")
    if any(is_docker(resource, kind) for kind in ("Container", "Job", "Network", "Volume")):
        yield "its name", given.get("name", "")
    if is_docker(resource, "Container"):
        yield "its host name", given.get("hostname", "")
        for joined in given.get("networksAdvanced") or ():
            yield from (("an alias", alias) for alias in joined.get("aliases") or ())
    if is_docker(resource, "Job") or is_docker(resource, "Endpoint"):
        yield "its host name", given.get("host", "")


RULE = Rule(
    name="safe_names",
    reason="Names are written into configuration, shells and URLs; one with a quote is code there.",
    fix="lower-case letters, digits, dashes, dots and underscores",
    find=_find,
)
