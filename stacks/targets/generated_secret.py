"""Passwords that are made once, as a Pulumi dynamic resource both targets use."""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider


class _SecretProvider(ResourceProvider):
    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        # Made once and kept as long as the data it opens.
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(props["name"]), {**props, "value": secrets.token_urlsafe(24)})


class GeneratedSecret(Resource, module="crm", name="GeneratedSecret"):
    """A random password of 32 URL-safe characters (192 bits), made once."""

    value: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(
            _SecretProvider(),
            name,
            {"name": name, "value": None},
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["value"])
            ),
        )
