"""The resources that Docker's provider has no word for, as Pulumi dynamic resources.

Both engines run them alike. Their inputs are also their outputs, so that the next run sees what
changed; secret inputs stay secret in the state.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from stacks import images
from stacks.targets import docker_host

_NOTICED_SECONDS = 2
"""Names are looked up every second at least; then comes HAProxy's first check."""


def _changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    keys = ({*old, *new}) - {"__provider", "version"}
    return sorted(key for key in keys if old.get(key) != new.get(key))


class _Provider(ResourceProvider):
    """Replaces where a key of ``replaces`` changed, updates where another did."""

    serialize_as_secret_always = False
    replaces: tuple[str, ...] = ()

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        changed = _changed(_olds, _news)
        return DiffResult(
            changes=bool(changed), replaces=[key for key in changed if key in self.replaces]
        )


class _ImageProvider(_Provider):
    replaces = ("reference",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        name = images.ensure(str(props["reference"]), lambda line: pulumi.log.info(line))
        return CreateResult(name, props)


class Image(Resource, module="crm", name="Image"):
    """An image that must be on this machine: used if there, else built (the app's) or pulled."""

    reference: pulumi.Output[str]

    def __init__(self, name: str, reference: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(_ImageProvider(), name, {"reference": reference}, opts)


class _FilesProvider(_Provider):
    replaces = ("volume",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        docker_host.validate(props)
        docker_host.write_volume(props)
        docker_host.signal(props)
        return CreateResult(str(props["volume"]), {**props, "version": secrets.token_hex(8)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        docker_host.validate(_news)
        docker_host.write_volume(_news)
        docker_host.signal(_news)
        same = all(_olds.get(key) == _news.get(key) for key in ("files", "secrets", "uid"))
        version = _olds["version"] if same else secrets.token_hex(8)
        return UpdateResult({**_news, "version": version})


class Files(Resource, module="crm", name="Files"):
    """A workload's files and secrets in its files volume, validated before they are put there.

    ``version`` is new whenever a file or secret is; it says nothing about what they hold.
    """

    version: pulumi.Output[str]

    def __init__(
        self, name: str, props: dict[str, pulumi.Input[Any]], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(_FilesProvider(), name, {**props, "version": None}, opts)


class _EndpointProvider(_Provider):
    replaces = ("network",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        docker_host.join(str(props["network"]), str(props["container"]), str(props["host"]))
        return CreateResult(f"{props['network']}/{props['host']}", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        docker_host.join(str(_news["network"]), str(_news["container"]), str(_news["host"]))
        # The predecessor keeps its place until it goes: not before proxies have found the new one.
        time.sleep(_NOTICED_SECONDS)
        return UpdateResult(_news)


class Endpoint(Resource, module="crm", name="Endpoint"):
    """The name that a container is reached by, in the network of its service.

    Given once the container is healthy: what never gets there is never asked for anything, whatever
    the proxy can find out by itself.
    """

    def __init__(
        self, name: str, props: dict[str, pulumi.Input[Any]], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(_EndpointProvider(), name, props, opts)


class _JobProvider(_Provider):
    replaces = ("name",)

    def create(self, props: dict[str, Any]) -> CreateResult:
        docker_host.run_job(props)
        return CreateResult(str(props["name"]), props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        docker_host.run_job(_news)
        return UpdateResult(_news)


class Job(Resource, module="crm", name="Job"):
    """A container that runs to its end, again whenever something it works on changed.

    A job that fails is not recorded, so the next ``up`` runs it again.
    """

    def __init__(
        self, name: str, props: dict[str, pulumi.Input[Any]], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(_JobProvider(), name, props, opts)
