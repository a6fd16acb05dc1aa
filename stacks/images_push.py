"""``crm images push``: a stack's images, put where a cluster's nodes can pull them from."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stacks import images, images_build, plan, render, stack_file, tiers
from stacks.errors import CrmError
from stacks.images_build import reason_of
from stacks.paths import ROOT, stack_file_name

if TYPE_CHECKING:
    from docker import DockerClient


def run(stacks: Sequence[str], as_json: bool) -> int:
    """Push the images of ``stacks`` that are read from their ``images.registry``.

    The CRM's own is built where it is missing. Raises ``CrmError`` where no registry is named, or
    it does not take an image.
    """
    if not stacks:
        raise CrmError("crm images push: name the stack whose images.registry is meant")
    pushed: dict[str, str] = {}
    for stack in stacks:
        for local, reference in _wanted(stack).items():
            if reference not in pushed and _push(local, reference):
                pushed[reference] = local
    if as_json:
        print(json.dumps({"pushed": [{"reference": r, "from": pushed[r]} for r in pushed]}))
    return 0


def _wanted(stack: str) -> dict[str, str]:
    """The images of ``stack`` by their names here → their names in its registry."""
    planned = plan.make(stack, stack_file.load(stack))
    registry = planned.registry
    if registry is None:
        raise CrmError(
            f"{stack_file_name(stack)}: crm:images.registry: not written, so there is no place to "
            "push to; write one that the cluster's nodes can pull from, such as "
            "registry.example.com/team"
        )
    app = images.app_reference(ROOT)
    found = {app: plan.qualified(app, registry)}
    for workload in tiers.workloads(planned, render.Renderer().tree(planned), app):
        if workload.image.startswith(f"{registry}/"):
            found[workload.image.removeprefix(f"{registry}/")] = workload.image
    return found


def _push(local: str, reference: str) -> bool:
    """Put the image that is called ``local`` here into its registry; False if it is left out."""
    if "@" in reference:
        _say(f"{reference}: left out: one named by its digest is copied from registry to registry")
        return False
    name = images.ensure(local, _say)
    if name != local:
        _say(
            f"{reference}: left out, since there is only {name} for it here, which is not for "
            "production; bring the real one here, or have the registry mirror it"
        )
        return False
    repository, _, tag = reference.rpartition(":")
    with images_build.docker_client() as client:
        client.images.get(local).tag(repository, tag)
        _say(f"pushing {reference}")
        problem = _upload(client, repository, tag)
    if problem:
        host = reference.partition("/")[0]
        raise CrmError(
            f"image {reference}: {host} does not take it ({problem}); "
            f"if it wants to know who you are, run: docker login {host}"
        )
    return True


def _upload(client: DockerClient, repository: str, tag: str) -> str:
    """Why the registry did not take it, empty when it did."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        for event in client.api.push(repository, tag, stream=True, decode=True):
            if "error" in event:
                return " ".join(str(event["error"]).split())
    except (APIError, RequestException) as error:
        return reason_of(error)
    return ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
