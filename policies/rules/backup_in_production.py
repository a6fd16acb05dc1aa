"""In production each database has somebody beside it who backs it up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import containers, environment, labels, workload
from stacks.spec_policies import Policies

_SERVERS = ("Container", "StatefulSet")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    if not asked.production:
        return
    backed = {
        environment(container).get("CRM_SHARD")
        for container in containers(resources)
        if container.resource.kind in _SERVERS and workload(container.resource) == "backup"
    }
    servers = [r for r in resources if r.kind in _SERVERS and workload(r) == "database"]
    for server in servers:
        if labels(server).get("crm.instance") not in backed:
            yield Problem(server.name, "is backed up by nothing")


RULE = Rule(
    name="backup_in_production",
    reason="A statement without its WHERE, or a disk that dies, takes every row there is.",
    fix="write crm:database.backup, such as {every_hours: 24, keep: 7}",
    reads=_SERVERS,
    find=_find,
    alone=False,
)
