"""Everything that serves is asked whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import containers, pods
from stacks.spec_policies import Policies

_ALWAYS_WELL = (["CMD", "true"], ["CMD-SHELL", "true"], ["CMD-SHELL", "exit 0"])
_PROBES = ("readinessProbe", "livenessProbe")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        if container.docker:
            tests = list((container.given.get("healthcheck") or {}).get("tests") or ())
            if not tests or tests[0] == "NONE":
                yield Problem(container.name, "has no health check")
            elif tests in _ALWAYS_WELL:
                yield Problem(container.name, "its health check asks nothing")
    for pod in pods(resources):
        # What listens is asked; what only helps it may stand beside it. Where nothing listens, all.
        listening = [given for given in pod.spec["containers"] if given.get("ports")]
        asked_of = listening or pod.spec["containers"]
        for probe in _PROBES if pod.serves else ():
            if not all(given.get(probe) for given in asked_of):
                yield Problem(pod.resource.name, f"has no {probe}")


RULE = Rule(
    name="health_checks",
    reason="A process that hangs still runs; only an answer shows that it serves.",
    fix="give its workload a health command",
    reads=("Container", "Deployment", "StatefulSet"),
    find=_find,
)
