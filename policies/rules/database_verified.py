"""In production whoever connects to MySQL finds out first whether it is the one that is meant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import files
from stacks.spec_policies import Policies

_VERIFIES = ("verify_identity", "verify_ca")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for resource in resources if asked.production else ():
        text = files(resource).get("app.json")
        if text is None:
            continue
        mode = json.loads(text)["database"].get("ssl_mode")
        if mode not in _VERIFIES:
            yield Problem(resource.name, f"connects to the database with ssl_mode {mode}")


RULE = Rule(
    name="database_verified",
    reason="Encryption alone hides nothing from somebody who answers in the server's place.",
    fix="give crm:database.external.ca_certificate, and ssl_mode: verify_identity or verify_ca",
    reads=("Files", "ConfigMap"),
    find=_find,
)
