"""Secrets are where only their reader finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.model import HIDDEN, UNKNOWN, Problem, Resource, Rule
from policies.reading import containers, environment, files, is_kubernetes, labels
from stacks.spec_policies import Policies

_TELLING = re.compile(r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY)(_|$)")
_OPTION = re.compile(r"--?(password|passwd|pass|token|secret|requirepass|masterauth)[= ]\S")
_COMMANDS = (
    *("entrypoints", "command", "args", "healthcheck"),
    *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"),
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SETTING = re.compile(
    r"^\s*\"?(password|passwd|requirepass|masterauth|secret_key|api_key)\"?"
    r"(\s*[=:]\s*|\s+)\"?[^\s\"#$]",
    re.IGNORECASE | re.MULTILINE,
)


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        for name, value in environment(container).items():
            if _holds(value) or (value and _tells(name)):
                yield Problem(container.name, f"has a secret in its variable {name}")
        words = [container.given.get(key) for key in _COMMANDS]
        if _holds(words) or _OPTION.search(_text(words)):
            yield Problem(container.name, "has a secret on its command line")
    for resource in resources:
        noted = dict(labels(resource)) if "labels" in resource.inputs else {}
        if is_kubernetes(resource):
            about = resource.inputs["metadata"]
            noted = {**(about.get("labels") or {}), **(about.get("annotations") or {})}
        for name, value in noted.items():
            if _holds(value, known_only=True) or _PRIVATE_KEY.search(str(value)):
                yield Problem(resource.name, f"has a secret in its label {name}")
        for name, text in files(resource).items():
            written = _PRIVATE_KEY.search(str(text)) or _SETTING.search(str(text))
            if _holds(text) or written:
                yield Problem(resource.name, f"has a secret in its file {name}")


def _tells(name: str) -> bool:
    """Whether a variable of that name holds a secret, and not only where one is."""
    return bool(_TELLING.search(name.upper())) and not name.upper().endswith(("_FILE", "_PATH"))


def _holds(value: Any, *, known_only: bool = False) -> bool:
    """Whether a secret is in ``value``, or what is not known yet: made secrets are not."""
    if isinstance(value, Mapping):
        return any(_holds(item, known_only=known_only) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_holds(item, known_only=known_only) for item in value)
    return value is HIDDEN or (not known_only and UNKNOWN in str(value))


def _text(words: Any) -> str:
    if isinstance(words, Mapping):
        words = list(words.values())
    return " ".join(map(_text, words)) if isinstance(words, list) else str(words)


RULE = Rule(
    name="no_plain_secrets",
    reason="Variables, command lines and labels are shown by inspect, logs and process lists.",
    fix="name it among the workload's secrets and read the file under /etc/crm/secrets",
    find=_find,
)
