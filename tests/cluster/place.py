"""Where one checkout's cluster lives: folders, names and ranges, all derived from its path.

Standard library only: the node's first process imports it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from stacks import paths

NODE = "node-1"
ZONE = "local-a"
REGION = "local"

POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
"""Inside the cluster's network namespace, so that no range of the machine is in the way."""

LINK_RANGE = "10.213.0.0/16"
"""Out of this comes the /30 between the machine and the node, the only range both see."""

QUEUE = 100
"""The netfilter queue of the network policies; queues belong to the network namespace."""


@dataclass(frozen=True)
class Place:
    """The cluster of one checkout."""

    root: Path = paths.ROOT

    @property
    def tag(self) -> str:
        """8 hex digits of the checkout's path, in every name that the whole machine sees."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def folder(self) -> Path:
        return self.root / ".crm" / "cluster"

    @property
    def lock(self) -> Path:
        return self.root / ".crm" / "cluster.lock"

    @property
    def record(self) -> Path:
        """What runs: written before anything starts, removed after everything has stopped."""
        return self.folder / "running.json"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def link(self) -> str:
        """The machine's end of the pair of interfaces; a name has at most 15 characters."""
        return f"crm-{self.tag}"

    @property
    def cgroup(self) -> str:
        return f"crm-cluster-{self.tag}"
