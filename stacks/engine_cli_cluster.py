"""What a killed ``pulumi up`` of a stack on a cluster leaves in its state, put right.

Nothing has to be looked up on the cluster: every object has a name of its own, and making one that
is there already takes it over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_meant(deployment: Mapping[str, Any]) -> bool:
    """Whether what the state knows, or had begun, is on a cluster."""
    pending = [operation["resource"] for operation in deployment.get("pending_operations") or []]
    types = [str(r["type"]) for r in [*(deployment.get("resources") or []), *pending]]
    return any(t.startswith(("kubernetes:", "pulumi:providers:kubernetes")) for t in types)


def put_right(deployment: dict[str, Any]) -> None:
    """Forget the operations that had begun; what was being updated is read before it is used.

    Without that, a change that is taken back again would look as if it had never been made.
    """
    operations = deployment.pop("pending_operations", None) or []
    half = {
        operation["resource"]["urn"] for operation in operations if operation["type"] == "updating"
    }
    for resource in deployment.get("resources") or []:
        if resource["urn"] in half:
            resource["refreshBeforeUpdate"] = True
