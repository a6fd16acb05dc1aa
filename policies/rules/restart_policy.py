"""What stops comes back, and jobs come to an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, Container, containers, pods, with_containers
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        given = container.given
        if container.docker:
            if (policy := given.get("restart") or "no") not in ("unless-stopped", "always"):
                yield Problem(container.name, f"stays away once it stopped (restart: {policy})")
            if given.get("mustRun") is False:
                yield Problem(container.name, "need not run")
        elif container.pod is None and not given.get("timeout_seconds"):
            yield Problem(container.name, "is a job that may never end")
    for pod in pods(resources):
        name, policy = pod.resource.name, pod.spec.get("restartPolicy") or "Always"
        if pod.serves and policy != "Always":
            yield Problem(name, f"stays away once it stopped (restartPolicy: {policy})")
        if not pod.serves and not pod.job.get("activeDeadlineSeconds"):
            yield Problem(name, "is a job that may never end")
        if not pod.serves and pod.job.get("backoffLimit") is None:
            yield Problem(name, "is a job that is tried again without a limit")


def _mend(container: Container, given: dict[str, Any]) -> None:
    # How long a job may take is nothing that a rule can know.
    if container.docker:
        if given.get("restart") not in ("unless-stopped", "always"):
            given["restart"] = "unless-stopped"
        if given.get("mustRun") is False:
            given["mustRun"] = True
    elif container.pod is not None and container.pod.serves:
        # Always, then.
        cast("dict[str, Any]", container.pod.spec).pop("restartPolicy", None)


RULE = Rule(
    name="restart_policy",
    reason="A crash at night is over before anybody wakes; a job that hangs is noticed.",
    fix="restart: unless-stopped for what serves, a time limit for jobs",
    reads=RUNNING,
    find=_find,
    remedy=lambda resource: with_containers(resource, _mend),
)
