"""What a stack says of the policies it is judged by: levels, parameters, dated exceptions."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, field

from stacks.spec_edge import Part
from stacks.spec_words import Name

RuleName = Literal[
    "backup_in_production",
    "closed_ports",
    "connection_budget",
    "cost_ceiling",
    "data_protected",
    "database_verified",
    "haproxy_body_limit",
    "haproxy_quiet",
    "haproxy_socket",
    "haproxy_timeouts",
    "haproxy_tls",
    "health_checks",
    "host_isolation",
    "known_resources",
    "limits",
    "mysql_closed",
    "mysql_durable",
    "mysql_strict",
    "mysql_tls",
    "network_policies",
    "networks_segmented",
    "nginx_body_limit",
    "nginx_quiet",
    "nginx_timeouts",
    "nginx_tls",
    "no_plain_secrets",
    "pinned_images",
    "pod_security",
    "read_only_root",
    "redis_commands",
    "redis_memory",
    "redis_password",
    "redundancy",
    "required_labels",
    "restart_policy",
    "safe_names",
    "size_ceiling",
    "sql_grants",
    "sql_keeps_data",
    "sql_tables",
    "tls_in_production",
]
"""The rules there are; each is a file of that name in policies/rules, or policies/files."""

Level = Literal["advisory", "mandatory", "remediate"]
"""Whether a finding is told, stops what is about to be done, or is put right before that is done
and told; what could not be put right stops it."""

REMEDIES: tuple[RuleName, ...] = ("limits", "read_only_root", "restart_policy")
"""The rules that know what would be right instead."""

CostCentre = Annotated[
    str,
    Meta(
        pattern=r"\A([a-z][a-z0-9-]{0,29}[a-z0-9])?\Z",
        description="lower-case letters, digits and dashes, a letter first, no dash last, 31 at "
        "most",
        examples=["sales-7"],
    ),
]
_LabelName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z][a-z0-9._/-]{0,62}\Z",
        description="a label's name",
        examples=["crm.cost_centre"],
    ),
]
_ResourceName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z",
        description="a resource's name or a file's path, as a finding says it",
        examples=["edge-service"],
    ),
]
_Reason = Annotated[
    str,
    Meta(
        pattern=r"\A(?=.{10,400}\Z)[^\s\x00-\x1f\x7f;{}`$'\"#]+( [^\s\x00-\x1f\x7f;{}`$'\"#]+)*\Z",
        description="a sentence of 10 to 400 characters, without quotes, braces, ; $ and #",
        examples=["the certificate is ordered, CRM-17"],
    ),
]
_Day = Annotated[
    str,
    Meta(
        # Pulumi and YAML readers make different things of a date without quotes.
        pattern=r"\A20[0-9]{2}-[01][0-9]-[0-3][0-9]\Z",
        description="a day, with quotes around it",
        examples=["2027-03-31"],
    ),
]
_Ceiling = Annotated[
    int, Meta(ge=1, le=1_000_000, description="a number from 1 to 1000000", examples=[64])
]
_Money = Annotated[
    float,
    Meta(ge=0.01, le=10_000_000, description="a number from 0.01 to 10000000", examples=[250]),
]
_Copies = Annotated[int, Meta(ge=1, le=100, description="1 to 100 replicas", examples=[2])]


class RequiredLabels(Part, frozen=True):
    """What else must be on everything that runs."""

    labels: tuple[_LabelName, ...] = ()


class Redundancy(Part, frozen=True):
    """How many replicas a service has at least, in production."""

    replicas: _Copies = 2


class SizeCeiling(Part, frozen=True):
    """What all of a stack may ask for together."""

    containers: _Ceiling = 200
    cpus: _Ceiling = 64
    memory_mib: _Ceiling = 262_144
    storage_gib: _Ceiling = 2_048


class CostCeiling(Part, frozen=True):
    """What a month of a stack may cost, in the currency of stacks/prices.yaml; nothing is asked
    where it is not said."""

    month: _Money | None = None


class Parameters(Part, frozen=True):
    """Those of the rules that have any."""

    cost_ceiling: CostCeiling = CostCeiling()
    redundancy: Redundancy = Redundancy()
    required_labels: RequiredLabels = RequiredLabels()
    size_ceiling: SizeCeiling = SizeCeiling()


class PolicyException(Part, frozen=True, kw_only=True):
    """One rule is not asked about one resource, for a reason and not for ever."""

    rule: RuleName
    resource: _ResourceName
    reason: _Reason
    owner: Name
    """Who answers for it."""
    until: _Day
    """The last day it holds (UTC)."""

    def __post_init__(self) -> None:
        try:
            date.fromisoformat(self.until)
        except ValueError:
            raise ValueError(f"`until`: there is no day {self.until}; write another one") from None


class Policies(Part, frozen=True):
    """How a stack is judged before anything is touched; docs/policies.md lists the rules."""

    production: bool = False
    """Whether people depend on the stack: more is asked of it then."""
    levels: dict[RuleName, Level] = field(default_factory=dict)
    """Where a rule's own level is not wanted."""
    parameters: Parameters = Parameters()
    exceptions: tuple[PolicyException, ...] = ()

    def __post_init__(self) -> None:
        for name, level in self.levels.items():
            if level == "remediate" and name not in REMEDIES:
                raise ValueError(
                    f"`levels.{name}`: this rule mends nothing; write advisory or mandatory, or "
                    f"remediate for one of {', '.join(REMEDIES)}"
                )
