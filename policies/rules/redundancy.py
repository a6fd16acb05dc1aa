"""In production a service outlives the loss of one replica."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import copies, is_kubernetes, tier, workload
from stacks.spec_policies import Policies

_EDGES = 2
"""They hold nothing and work on nothing: more than one is for when one is lost."""

_SERVING = ("Container", "Deployment", "StatefulSet")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    if not asked.production:
        return
    wanted = asked.parameters.redundancy.replicas
    at_cluster = any(is_kubernetes(resource) for resource in resources)
    number: Counter[str] = Counter()
    each = copies(resources)
    for resource in resources:
        # One machine's published port is one container's.
        serves = tier(resource) == "app" or (at_cluster and tier(resource) == "edge")
        if resource.kind in _SERVING and serves:
            number[workload(resource)] += each[resource.name][0]
    for name, there in sorted(number.items()):
        needed = min(wanted, _EDGES) if name == "edge" else wanted
        if there < needed:
            yield Problem(name, f"has {there} of the {needed} replicas that production needs")
    budgets = [r for r in resources if is_kubernetes(r) and r.kind == "PodDisruptionBudget"]
    covered = {str(_chosen(budget).get("crm.workload")) for budget in budgets}
    for name in sorted(set(number) - covered) if at_cluster else ():
        yield Problem(name, "has no disruption budget: a node that is emptied may take all of it")
    for budget in budgets:
        if budget.inputs["spec"].get("maxUnavailable") in (0, "0", "0%", None):
            yield Problem(budget.name, "keeps its node from ever being emptied")


def _chosen(budget: Resource) -> dict[str, object]:
    return dict(budget.inputs["spec"]["selector"].get("matchLabels") or {})


RULE = Rule(
    name="redundancy",
    reason="One replica is none while it is replaced, and so are all on one node that is emptied.",
    fix="write replicas: 2 or more",
    reads=(
        *_SERVING,
        *("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    ),
    find=_find,
    alone=False,
)
