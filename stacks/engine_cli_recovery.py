"""Putting right what a killed ``pulumi up`` leaves behind.

A kill on a file backend leaves the lock, the operations that had begun, and perhaps files that
were being written. A following ``up`` would make a second time what had been made, trust what was
half changed, and miss what had been deleted. So where a run was killed, its lock is cancelled; what
it was updating is marked to be made anew; a container that it was deleting is deleted to the end
(Docker may be stopping it yet); what Docker does not have any more is marked as deleted; and what
Docker has under this stack's label but the state does not know is removed (it is made again at
once). Volumes are never removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.models.containers import Container
from pulumi import automation

from stacks import engine_cli_cluster
from stacks.errors import CrmError
from stacks.pulumi_state.files import Store
from stacks.targets import docker_host


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
    latest = store.read().get("latest") or {}
    # Somebody may have cancelled the lock already.
    if not store.cli_locks() and not latest.get("pending_operations"):
        return
    stack.cancel()
    state = stack.export_stack()
    deployment = dict(state.deployment or {})
    resources = list(deployment.get("resources") or [])
    if engine_cli_cluster.is_meant(deployment):
        engine_cli_cluster.put_right(deployment)
        state.deployment = deployment
        stack.import_stack(state)
        return
    client = docker_host.connect()
    if operations := deployment.pop("pending_operations", None):
        for operation in operations:
            _put_right(client, operation, resources)
        state.deployment = deployment | {"resources": resources}
        stack.import_stack(state)
    _remove_strays(stack.name, resources)


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
            found = _find(client, resource)
            if isinstance(found, Container):
                docker_host.remove(found)
                found = None
            if found is None and (is_old or not _is_needed(resource, resources)):
                resources.remove(resource)
            elif found is None:
                resource["pendingReplacement"] = True


def _find(client: DockerClient, resource: Mapping[str, Any]) -> Any:
    """What Docker has of it, ``None`` for nothing; what is not Docker's is itself."""
    kind = docker_host.KINDS.get(resource["type"])
    return docker_host.find(client, kind, resource["id"]) if kind else resource


def _is_needed(resource: Mapping[str, Any], resources: list[dict[str, Any]]) -> bool:
    """Whether the state names it as something another resource stands on."""
    urn = resource["urn"]
    return any(
        urn in (r.get("parent"), r.get("deletedWith"), *(r.get("dependencies") or ()))
        or any(urn in urns for urns in (r.get("propertyDependencies") or {}).values() if urns)
        for r in resources
    )


def _remove_strays(stack: str, resources: list[dict[str, Any]]) -> None:
    known = {str(r.get("id")) for r in resources if r["type"] in docker_host.KINDS}
    for found in docker_host.belongings(stack):
        if found.id not in known:
            docker_host.remove(found)


@contextmanager
def unprotected(stack: automation.Stack, note: Path) -> Iterator[None]:
    """Take the protection off everything, for one run that was asked to delete data.

    The CLI knows protection only as a part of the state. ``note`` says what is owed it, until
    ``protect_again`` has given it back to what that run left.
    """
    state = stack.export_stack()
    resources = (state.deployment or {}).get("resources") or []
    if not resources:
        raise CrmError(f"{stack.name}: there is nothing to destroy")
    note.write_text(json.dumps([r["urn"] for r in resources if r.pop("protect", False)]))
    try:
        stack.import_stack(state)
        yield
    finally:
        protect_again(stack, note)


def protect_again(stack: automation.Stack, note: Path) -> None:
    """Give back the protection that a run took off and, failed or killed, left off."""
    if not note.exists():
        return
    owed = set(json.loads(note.read_text()))
    state = stack.export_stack()
    left = [r for r in (state.deployment or {}).get("resources") or [] if r["urn"] in owed]
    if left:
        for resource in left:
            resource["protect"] = True
        stack.import_stack(state)
    note.unlink()
