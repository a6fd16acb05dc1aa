"""Commands inside what runs on this machine's Docker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from stacks.errors import CrmError
from stacks.targets import docker_host
from stacks.workload import STACK_LABEL


def running(stack: str, workload: str) -> Any:
    """The container of a workload that has one. Raises ``CrmError`` when none runs."""
    only = [f"{STACK_LABEL}={stack}", f"crm.workload={workload}"]
    # Of two, while one replaces the other, the newer: the list begins with it.
    found = docker_host.connect().containers.list(filters={"label": only}, ignore_removed=True)
    if not found:
        raise CrmError(f"{stack}: no container of `{workload}` runs here; run `crm up {stack}`")
    return found[0]


def read(container: Any, path: str) -> str:
    """The text of a file that ``container`` sees."""
    code, output = container.exec_run(["cat", path])
    if code != 0:
        raise CrmError(f"{container.name}: {path}: {output.decode(errors='replace').strip()}")
    return str(output.decode())


def run(container: Any, command: Sequence[str]) -> int:
    """Run ``command`` in ``container``, saying here what it says; returns its exit code."""
    api = container.client.api
    key = api.exec_create(container.id, list(command))["Id"]
    for out, err in api.exec_start(key, stream=True, demux=True):
        sys.stdout.write((out or b"").decode(errors="replace"))
        sys.stderr.write((err or b"").decode(errors="replace"))
    return int(api.exec_inspect(key)["ExitCode"])
