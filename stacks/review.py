"""What a reviewer gets of a stack: its rendered files and, for a cluster, its manifests."""

from __future__ import annotations

from stacks.plan import Plan
from stacks.render import Renderer


def tree(renderer: Renderer, plan: Plan) -> dict[str, str]:
    """Path → text, sorted by path. Raises ``CrmError`` as ``Renderer.tree`` does."""
    files = renderer.tree(plan)
    if plan.target != "kubernetes":
        return files
    from stacks import app_image, manifests, tiers

    workloads = tiers.workloads(plan, files, app_image.app_reference())
    objects = manifests.documents(manifests.manifests(plan, workloads))
    return dict(sorted({**files, **objects}.items()))
