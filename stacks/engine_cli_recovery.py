"""Putting right what a killed ``pulumi up`` leaves behind.

A kill on a file backend leaves the lock, the operations that had begun, and perhaps files that
were being written. A following ``up`` would make a second time what had been made, trust what was
half changed, and miss what had been deleted. So where a run was killed, its lock is cancelled; what
it was updating is marked to be made anew; what it was deleting, and Docker does not have any more,
is marked as deleted; and what Docker has under this stack's label but the state does not know is
removed (it is made again at once). Volumes are never removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker import DockerClient
from pulumi import automation

from stacks.errors import CrmError
from stacks.pulumi_state.files import Store
from stacks.targets import docker_host

_CONTAINER, _NETWORK = "docker:index/container:Container", "docker:index/network:Network"


def mend(backend: str, stack: str) -> None:
    """Make the files of ``stack`` readable for the CLI, whatever a killed run was writing."""
    if backend.startswith("file://"):
        _store(backend, stack).drop_empty_sidecars()


def recover(backend: str, stack: automation.Stack) -> None:
    """Make ``stack`` ready for a run if one was killed, else do nothing.

    Raises ``CrmError`` when a run that still lives holds its lock.
    """
    if not backend.startswith("file://"):
        return  # Other backends end the update of a client that is gone by themselves.
    store = _store(backend, stack.name)
    store.refuse_cli_locks(killed=True)
    store.drop_unfinished()
    if not store.cli_locks():
        return
    stack.cancel()
    client = docker_host.connect()
    state = stack.export_stack()
    deployment = dict(state.deployment or {})
    resources = list(deployment.get("resources") or [])
    if operations := deployment.pop("pending_operations", None):
        for operation in operations:
            _put_right(client, operation, resources)
        state.deployment = deployment | {"resources": resources}
        stack.import_stack(state)
    _remove_strays(client, stack.name, resources)


def _store(backend: str, stack: str) -> Store:
    return Store(Path(backend.removeprefix("file://")), stack)


def _put_right(
    client: DockerClient, operation: Mapping[str, Any], resources: list[dict[str, Any]]
) -> None:
    """Have ``resources`` say how far ``operation``, which may have been carried out, got."""
    pending = operation["resource"]
    for resource in [r for r in resources if r["urn"] == pending["urn"]]:
        is_old = bool(resource.get("delete"))  # Its successor is there already.
        if operation["type"] == "updating" and not is_old:
            resource["taint"] = True
        elif operation["type"] == "deleting" and resource.get("id") == pending.get("id"):
            if is_old and _is_gone(client, resource):
                resources.remove(resource)
            elif _is_gone(client, resource):
                resource["pendingReplacement"] = True


def _is_gone(client: DockerClient, resource: Mapping[str, Any]) -> bool:
    only: dict[str, str | list[str] | bool] = {"id": str(resource["id"])}
    if resource["type"] == _CONTAINER:
        return not client.containers.list(all=True, filters=only)
    return resource["type"] == _NETWORK and not client.networks.list(filters=only)


def _remove_strays(client: DockerClient, stack: str, resources: list[dict[str, Any]]) -> None:
    known = {str(r.get("id")) for r in resources if r["type"] in (_CONTAINER, _NETWORK)}
    label: dict[str, str | list[str] | bool] = {"label": f"{docker_host.STACK_LABEL}={stack}"}
    for container in client.containers.list(all=True, filters=label):
        if container.id not in known:
            # A database is given the time to stop that it was made with.
            container.stop(timeout=container.attrs["Config"].get("StopTimeout") or 10)
            container.remove(force=True, v=True)
    for network in client.networks.list(filters=label):
        if network.id not in known:
            network.remove()


def unprotect(stack: automation.Stack) -> None:
    """Take the protection off everything, for a destroy that was asked to delete data."""
    state = stack.export_stack()
    if not state.deployment:
        raise CrmError(f"{stack.name}: there is nothing to destroy")
    for resource in state.deployment.get("resources") or []:
        resource.pop("protect", None)
    stack.import_stack(state)
