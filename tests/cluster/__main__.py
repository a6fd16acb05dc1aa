"""``python -m tests.cluster up | down | status | kubeconfig | load-image REFERENCE…``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from stacks.errors import CrmError
from tests.cluster.build import build
from tests.cluster.cluster import Cluster

USAGE = "usage: python -m tests.cluster up | down | status | kubeconfig | load-image REFERENCE..."


def up(cluster: Cluster) -> None:
    """Start it, and say how to use and how to stop it."""
    build(cluster.say)
    started = time.monotonic()
    cluster.start()
    cluster.say(f"Kubernetes runs after {time.monotonic() - started:.0f} s")
    print(
        f"export KUBECONFIG={cluster.kubeconfig}\n"
        f"kubectl: {cluster.kubectl_program}\n"
        f"NodePorts and LoadBalancers answer at {cluster.address}\n"
        "bring an image from Docker: python -m tests.cluster load-image REFERENCE\n"
        "stop it: make cluster-down"
    )


def main(words: Sequence[str]) -> int:
    cluster = Cluster(say=lambda line: print(line, flush=True))
    try:
        match words:
            case ["up"]:
                up(cluster)
            case ["down"]:
                cluster.stop()
                print("stopped; nothing is left of it but .crm/cluster/logs")
            case ["status"]:
                print("\n".join(cluster.status()))
                return 0 if cluster.is_running() else 1
            case ["kubeconfig"]:
                print(cluster.kubeconfig)
            case ["load-image", *references] if references:
                cluster.load_images(references)
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except CrmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
