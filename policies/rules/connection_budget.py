"""All replicas together open no more connections than each shard allows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import copies, files, tier, workload
from stacks.spec_policies import Policies

_ALLOWED = re.compile(r"^max_connections = (\d+)", re.MULTILINE)
_RESERVED = 10
"""For the schema job, health checks and a person at the console."""


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    shards: dict[str, int] = {}
    each: dict[str, int] = {}
    for resource in resources:
        for name, text in files(resource).items():
            if name == "my.cnf" and tier(resource) == "database":
                allowed = _ALLOWED.search(str(text))
                if allowed is None:
                    yield Problem(resource.name, "sets no max_connections")
                shards[resource.name] = int(allowed[1]) if allowed else 0
            if name == "app.json" and tier(resource) == "app":
                settings = json.loads(text)
                each[workload(resource)] = (
                    settings["server"]["workers"] * settings["database"]["pool_size"]
                )
    # While a new version rolls out, old and new replicas run side by side.
    number = copies(resources)
    wanted = sum(
        2 * number[resource.name][1] * each[workload(resource)]
        for resource in resources
        if resource.kind in ("Container", "Deployment") and tier(resource) == "app"
    )
    for shard, allowed_here in shards.items():
        if wanted > allowed_here - _RESERVED:
            left = f"{allowed_here} less {_RESERVED} in reserve"
            yield Problem(shard, f"allows {left}, and all replicas may open {wanted}")


RULE = Rule(
    name="connection_budget",
    reason="The first roll-out under load would find a server that takes no more connections.",
    fix="raise crm:database.memory_mib or ask for fewer replicas",
    reads=("Files", "ConfigMap", "Container", "Deployment", "HorizontalPodAutoscaler"),
    find=_find,
    alone=False,
)
