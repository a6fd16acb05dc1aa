"""A certificate of a self-made authority, as a Pulumi dynamic resource both targets use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pulumi
from msgspec import structs
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from stacks import certificates


def _made(props: dict[str, Any], authority: tuple[str, str] | None) -> dict[str, Any]:
    hosts, address = [str(host) for host in props["hosts"]], str(props["address"])
    made = certificates.self_made(
        hosts,
        address,
        authority,
        datetime.now(UTC),
        unit=str(props.get("unit", "edge")),
        days=int(props.get("life_days", certificates.LIFE_DAYS)),
    )
    return {**props, **structs.asdict(made)}


class _CertificateProvider(ResourceProvider):
    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        differs = any(_olds[key] != _news[key] for key in ("hosts", "address"))
        days = int(_news.get("renew_days", certificates.RENEW_DAYS))
        ends = certificates.is_ending(str(_olds["certificate"]), datetime.now(UTC), days)
        return DiffResult(changes=differs or ends)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(str(props["name"]), _made(props, None))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        # Of the same authority: who trusts it need not be told anything.
        authority = str(_olds["authority_certificate"]), str(_olds["authority_key"])
        return UpdateResult(_made(_news, authority))


class GeneratedCertificate(Resource, module="crm", name="GeneratedCertificate"):
    """A certificate for ``hosts`` and this machine by ``address``; all outputs are PEM.

    Made anew by the same authority when those change, and by an ``up`` in its last 30 days.
    ``other`` says it where it is not the edge's: ``unit``, ``life_days``, ``renew_days``.
    """

    certificate: pulumi.Output[str]
    key: pulumi.Output[str]
    authority_certificate: pulumi.Output[str]
    authority_key: pulumi.Output[str]

    def __init__(self, name: str, hosts: Sequence[str], address: str, **other: str | int) -> None:
        super().__init__(
            _CertificateProvider(),
            name,
            {
                **{"name": name, "hosts": list(hosts), "address": address, **other},
                **dict.fromkeys(certificates.SelfMade.__struct_fields__),
            },
            pulumi.ResourceOptions(additional_secret_outputs=["key", "authority_key"]),
        )
