"""``crm images``: which image each workload uses here, and making those that are missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from stacks import images, plan, render, stack_file, tiers
from stacks.paths import ROOT


def run(stacks: Sequence[str], build: bool, as_json: bool) -> int:
    """List the images of ``stacks`` (all when none is named), building equivalents if asked."""
    users: dict[str, list[str]] = {}
    renderer = render.Renderer()
    for stack in stacks or stack_file.names():
        planned = plan.make(stack, stack_file.load(stack))
        app = images.app_reference(ROOT)
        for workload in tiers.workloads(planned, renderer.tree(planned), app):
            users.setdefault(workload.image, []).append(f"{stack}/{workload.name}")
    if build:
        images.build_equivalents(sorted(users), lambda line: print(line, file=sys.stderr))
    uses = images.images_report(sorted(users))
    if as_json:
        document = {
            "images": [
                {
                    "reference": use.reference,
                    "name": use.name,
                    "state": use.state,
                    "way": use.way,
                    "workloads": users[use.reference],
                }
                for use in uses
            ]
        }
        print(json.dumps(document, indent=2))
        return 0
    for use in uses:
        print(f"{use.reference}\n  {use.state}: {use.name} ({use.way})")
        print(f"  used by {', '.join(users[use.reference])}")
    return 0
