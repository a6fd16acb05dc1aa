"""What a reviewer gets of a stack: its rendered files and, for a cluster, its manifests."""

from __future__ import annotations

from functools import cache

from stacks.plan import Plan
from stacks.render import Renderer


def tree(renderer: Renderer, plan: Plan) -> dict[str, str]:
    """Path → text, sorted by path. Raises ``CrmError`` as ``Renderer.tree`` does."""
    files = renderer.tree(plan)
    if plan.target != "kubernetes":
        return files
    from stacks import manifests, tiers

    workloads = tiers.workloads(plan, files, _app_image())
    objects = manifests.documents(manifests.manifests(plan, workloads))
    return dict(sorted({**files, **objects}.items()))


@cache
def _app_image() -> str:
    """Read once for all stacks: nothing changes it while they are rendered."""
    from stacks import app_image

    return app_image.app_reference()
