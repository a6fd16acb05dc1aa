"""``crm`` in a process that kills itself (SIGKILL) where a cluster has just been changed.

``KILL_AT=PLACE:RESOURCE KILL_MARK=FILE python -m tests.live.kill_kubernetes up STACK …`` runs the
real command; see ``tests/live/kill.py``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from stacks import cli
from stacks.embedded.kubernetes_handler import KubernetesHandler
from stacks.targets.kubernetes_host import Cluster
from tests.live.kill import after, die, wrap


def arm(place: str) -> None:
    """Arrange for this process to die at ``place``."""
    what, _, name = place.partition(":")

    def is_named(_self: Any, resource: Any, *_: Any) -> bool:
        return bool(resource.name == name)

    def wait(original: Any, cluster: Any, live: Any, *args: Any, **kwargs: Any) -> Any:
        if f"{live['kind']}/{live['metadata']['name']}" == name:
            die("applied and not waited for")
        return original(cluster, live, *args, **kwargs)

    if what == "applied":
        wrap(Cluster, "wait_ready", wait)
    else:
        method = {"made": "create", "updated": "update", "deleted": "delete"}[what]
        after(KubernetesHandler, method, is_named)


if __name__ == "__main__":
    arm(os.environ["KILL_AT"])
    sys.exit(cli.main(sys.argv[1:]))
