"""Putting right what a killed ``pulumi up`` leaves behind.

A kill on a file backend leaves the lock, and perhaps a pending operation; a following ``up`` would
create the resource a second time. So where a run was killed, its lock is cancelled, its pending
operations are cleared, and what Docker has under this stack's label but the state does not know is
removed (it is made again at once). Volumes are never removed.
"""

from __future__ import annotations

from pathlib import Path

from pulumi import automation

from stacks.errors import CrmError
from stacks.pulumi_state.files import Store
from stacks.targets import docker_host

_KINDS = ("docker:index/container:Container", "docker:index/network:Network")


def recover(backend: str, stack: automation.Stack) -> None:
    """Make ``stack`` ready for a run if one was killed, else do nothing.

    Raises ``CrmError`` when a run that still lives holds its lock.
    """
    if not _was_killed(backend, stack.name):
        return
    stack.cancel()
    state = stack.export_stack()
    deployment = dict(state.deployment or {})
    if deployment.pop("pending_operations", None):
        state.deployment = deployment
        stack.import_stack(state)
    known = {
        str(resource.get("id"))
        for resource in deployment.get("resources") or []
        if resource["type"] in _KINDS
    }
    client = docker_host.connect()
    label: dict[str, str | list[str] | bool] = {"label": f"{docker_host.STACK_LABEL}={stack.name}"}
    for container in client.containers.list(all=True, filters=label):
        if container.id not in known:
            container.remove(force=True)
    for network in client.networks.list(filters=label):
        if network.id not in known:
            network.remove()


def _was_killed(backend: str, stack: str) -> bool:
    """Whether a run of this machine's died with the stack's lock in its hand."""
    if not backend.startswith("file://"):
        return False  # Other backends end the update of a client that is gone by themselves.
    store = Store(Path(backend.removeprefix("file://")), stack)
    store.refuse_cli_locks(killed=True)
    return bool(store.cli_locks())


def unprotect(stack: automation.Stack) -> None:
    """Take the protection off everything, for a destroy that was asked to delete data."""
    state = stack.export_stack()
    if not state.deployment:
        raise CrmError(f"{stack.name}: there is nothing to destroy")
    for resource in state.deployment.get("resources") or []:
        resource.pop("protect", None)
    stack.import_stack(state)
