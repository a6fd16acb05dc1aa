"""Runs one verb of the embedded engine in a process of its own, as ``crm`` does.

The SDK's settings, the working directory and signals belong to a process, so tests drive the
engine from here: ``python -m tests.embedded.driver FOLDER STACK VERB [JSON of arguments]`` prints
one JSON object. ``KILL_AT`` names a place at which this process kills itself: a test's wish, which
the engine knows nothing of. ``JUDGED_AS`` names a stack whose policies judge the run.
"""

import itertools
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from stacks import policy_gate
from stacks.embedded import EmbeddedEngine
from stacks.embedded.deployment import Deployment
from stacks.embedded.docker_handlers import DockerHandler
from stacks.embedded.kubernetes_handler import KubernetesHandler
from stacks.errors import CrmError
from stacks.pulumi_state import files as store
from stacks.results import Event
from stacks.targets.kubernetes_host import Cluster


def _die(*_args: Any, **_kwargs: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(place: str) -> None:
    what, _, count = place.partition(":")
    owner: Any
    owner, name, when = {
        "lock-taken": (store.Store, "claim", "after"),
        "half-written": (os, "fsync", "before"),
        "written": (os, "fsync", "after"),
        "registering": (Deployment, "_bring", "before"),
        "made-unrecorded": (DockerHandler, "create", "after"),
        "started-unawaited": (DockerHandler, "_make", "after"),
        "deleting": (DockerHandler, "delete", "before"),
        "deleted-unrecorded": (DockerHandler, "delete", "after"),
        "kubernetes-made-unrecorded": (KubernetesHandler, "create", "after"),
        "kubernetes-applied-unawaited": (Cluster, "apply", "after"),
        "kubernetes-updating": (KubernetesHandler, "update", "before"),
        "kubernetes-deleting": (KubernetesHandler, "delete", "before"),
        "kubernetes-deleted-unrecorded": (KubernetesHandler, "delete", "after"),
    }[what]
    original, calls = getattr(owner, name), itertools.count(1)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        is_last = next(calls) == int(count or 1)
        if is_last and when == "before":
            _die()
        result = original(*args, **kwargs)
        if is_last:
            _die()
        return result

    setattr(owner, name, deadly)


def main() -> None:
    """Run the verb and print what came of it."""
    folder, stack, verb = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    arguments = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    if "KILL_AT" in os.environ:
        _kill_at(os.environ["KILL_AT"])
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        print(event.op, event.status, event.name, file=sys.stderr, flush=True)

    engine = EmbeddedEngine(
        stack,
        backend=folder / "state",
        passphrase=os.environ.get("PULUMI_CONFIG_PASSPHRASE", "throw-away"),
        stack_file=folder / f"Pulumi.{stack}.yaml",
        program=folder / "program",
        on_event=on_event,
    )
    if "JUDGED_AS" in os.environ:
        engine.judge = partial(policy_gate.judging, os.environ["JUDGED_AS"])
    try:
        result = getattr(engine, verb)(**arguments)
        answer = vars(result) if hasattr(result, "changes") else {"value": result}
    except CrmError as error:
        answer = {"refused": str(error)}
    print(json.dumps({**answer, "events": [vars(event) for event in events]}))


if __name__ == "__main__":
    main()
