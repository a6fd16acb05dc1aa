"""Secrets are where only their reader finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.model import HIDDEN, UNKNOWN, Problem, Resource, Rule
from policies.reading import containers, environment, files
from stacks.spec_policies import Policies

_TELLING = re.compile(r"(^|_)(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY)(_|$)")
_OPTION = re.compile(r"--?(password|passwd|pass|token|secret|requirepass|masterauth)[= ]\S")
_COMMANDS = (
    *("entrypoints", "command", "args", "healthcheck"),
    *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"),
)
_THEIR_PLACE = (("Files", "secrets"), ("Secret", "stringData"), ("Secret", "data"))
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_SETTING = re.compile(
    r"^\s*\"?(password|passwd|requirepass|masterauth|secret_key|api_key)\"?"
    r"(\s*[=:]\s*|\s+)\"?[^\s\"#$]",
    re.IGNORECASE | re.MULTILINE,
)


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for resource in resources:
        for key, value in resource.inputs.items():
            if _holds(value) and (resource.kind, key) not in _THEIR_PLACE:
                yield Problem(resource.name, f"has a secret in its {key}")
        for name, text in files(resource).items():
            if _PRIVATE_KEY.search(str(text)) or _SETTING.search(str(text)) or _is_open(text):
                yield Problem(resource.name, f"has a secret in its file {name}")
    for container in containers(resources):
        for name, value in environment(container).items():
            if _is_open(value) or (value and _tells(name)):
                yield Problem(container.name, f"has a secret in its variable {name}")
        words = [container.given.get(key) for key in _COMMANDS]
        if _is_open(words) or _OPTION.search(_text(words)):
            yield Problem(container.name, "has a secret on its command line")


def _tells(name: str) -> bool:
    """Whether a variable of that name holds a secret, and not only where one is."""
    return bool(_TELLING.search(name.upper())) and not name.upper().endswith(("_FILE", "_PATH"))


def _holds(value: Any) -> bool:
    """Whether a secret is somewhere in ``value``."""
    if isinstance(value, Mapping):
        return any(map(_holds, value.values()))
    return any(map(_holds, value)) if isinstance(value, list) else value is HIDDEN


def _is_open(value: Any) -> bool:
    """Whether something in it is not known yet: made secrets are not, and nothing is to be there
    that cannot be judged."""
    return UNKNOWN in _text(value)


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
