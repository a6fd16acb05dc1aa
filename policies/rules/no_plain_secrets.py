"""Secrets are where only their reader finds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.model import HIDDEN, UNKNOWN, Problem, Resource, Rule
from policies.reading import containers, environment, files
from policies.secret_scan import in_text, in_words, is_plain, tells
from stacks.spec_policies import Policies

_COMMANDS = (
    *("entrypoints", "command", "args", "healthcheck"),
    *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"),
)
_THEIR_PLACE = (("Files", "secrets"), ("Secret", "stringData"), ("Secret", "data"))
_FILES = (("Files", "files"), ("ConfigMap", "data"), ("ConfigMap", "binaryData"))


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for resource in resources:
        for key, value in resource.inputs.items():
            if (resource.kind, key) in _THEIR_PLACE:
                continue
            if _holds(value):
                yield Problem(resource.name, f"has a secret in its {key}")
            if (resource.kind, key) not in _FILES:
                for what in dict.fromkeys(_written(key, value, key)):
                    yield Problem(resource.name, f"has a secret in its {what}")
        for name, text in files(resource).items():
            yield from _in_file(resource, name, str(text))
    for container in containers(resources):
        for name, value in environment(container).items():
            if _is_open(value):
                yield Problem(container.name, f"has a secret in its variable {name}")
        words = [container.given.get(key) for key in _COMMANDS]
        options = in_words(_words(words))
        if _is_open(words):
            yield Problem(container.name, "has a secret on its command line")
        elif options:
            said = f"has a secret on its command line, after {', '.join(options)}"
            yield Problem(container.name, said)


def _in_file(resource: Resource, name: str, text: str) -> Iterator[Problem]:
    if _is_open(text):
        yield Problem(resource.name, f"has a secret in its file {name}")
    elif "\n" not in text.strip() and tells(name) and is_plain(text):
        # A key of a ConfigMap may be a variable.
        yield Problem(resource.name, f"has a secret in its file {name}")
    else:
        for hit in in_text(text):
            said = f"has a secret ({hit.what}) in its file {name}, line {hit.line}"
            yield Problem(resource.name, said)


def _written(name: str, value: Any, where: str) -> Iterator[str]:
    """The places of ``value``, which has that ``name``, where a secret is written out, each as the
    keys that lead there after ``where``. Labels and variables may be a list of names and values."""
    if isinstance(value, Mapping):
        called = value.get("label", value.get("name"))
        if isinstance(called, str) and isinstance(value.get("value"), str):
            yield from _written(called, value["value"], f"{where} ({called})")
            value = {key: each for key, each in value.items() if key != "value"}
        for key, each in value.items():
            yield from _written(str(key), each, f"{where}.{key}")
    elif isinstance(value, list):
        for each in value:
            yield from _written("", each, where)
    elif isinstance(value, str):
        if tells(name) and is_plain(value):
            yield where
        else:
            yield from (f"{where} ({hit.what})" for hit in in_text(value))


def _holds(value: Any) -> bool:
    """Whether a secret is somewhere in ``value``."""
    if isinstance(value, Mapping):
        return any(map(_holds, value.values()))
    return any(map(_holds, value)) if isinstance(value, list) else value is HIDDEN


def _is_open(value: Any) -> bool:
    """Whether something in it is not known yet: made secrets are not, and nothing is to be there
    that cannot be judged."""
    return any(UNKNOWN in word for word in _words(value))


def _words(value: Any) -> list[str]:
    """Everything in it that is no list and no mapping, in its order."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [word for each in value for word in _words(each)]
    return [str(value)]


RULE = Rule(
    name="no_plain_secrets",
    reason="Variables, command lines and labels are shown by inspect, logs and process lists.",
    fix="name it among the workload's secrets and read the file under /etc/crm/secrets",
    find=_find,
)
