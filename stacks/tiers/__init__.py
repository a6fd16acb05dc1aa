"""The tiers: each turns its part of the plan and the rendered files into workloads."""

from collections.abc import Mapping

from stacks.plan import Plan, qualified
from stacks.tiers import app, backup, cache, database, edge, offsite
from stacks.workload import Workload


def workloads(plan: Plan, files: Mapping[str, str], app_image: str) -> list[Workload]:
    """The one list of things to run, in an order in which each comes after what it needs.

    ``files`` is the rendered tree; ``app_image`` the reference of the CRM's own image, which
    Docker builds where it runs and a cluster pulls from where the stack's images are.
    """
    if plan.target == "kubernetes":
        app_image = qualified(app_image, plan.registry)
    return [
        *database.workloads(plan, files),
        *cache.workloads(plan, files),
        *app.workloads(plan, files, app_image),
        *backup.workloads(plan, files),
        *offsite.workloads(plan, files, app_image),
        *edge.workloads(plan, files),
    ]
