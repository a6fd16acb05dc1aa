"""Commands inside what runs on this machine's Docker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stacks.errors import CrmError
from stacks.images_build import reason_of
from stacks.targets import docker_host
from stacks.targets.inside import Said
from stacks.workload import STACK_LABEL

_MOST_SECONDS = 24 * 3600
"""For which a command may say nothing."""


class DockerInside:
    """See ``Inside``."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self.name = str(container.name)

    def run(self, command: Sequence[str], said: Said) -> int:
        """See ``Inside.run``."""
        from docker.errors import APIError

        api = self._container.client.api
        try:
            key = api.exec_create(self._container.id, list(command))["Id"]
            for out, err in api.exec_start(key, stream=True, demux=True):
                said(out or b"", err or b"")
            code = api.exec_inspect(key)["ExitCode"]
        except (APIError, OSError) as error:
            raise CrmError(f"{self.name}: {reason_of(error)}") from None
        if code is None:
            raise CrmError(f"{self.name}: went away before the command had ended")
        return int(code)


def running(stack: str, workload: str, instance: str | None = None) -> DockerInside:
    """The container of a workload, or of one instance of it. Raises ``CrmError`` when none runs."""
    only = [f"{STACK_LABEL}={stack}", f"crm.workload={workload}"]
    only += [f"crm.instance={instance}"] if instance else []
    client = docker_host.connect()
    client.api.timeout = _MOST_SECONDS
    # Of two, while one replaces the other, the newer: the list begins with it.
    found = client.containers.list(filters={"label": only}, ignore_removed=True)
    if not found:
        name = instance or workload
        raise CrmError(f"{stack}: no container of `{name}` runs here; run `crm up {stack}`")
    return DockerInside(found[0])
