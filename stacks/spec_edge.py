"""What a person asks of the load balancing: one policy, whichever proxy carries it out.

What only one of the proxies can do is refused for the other one, by name and with the alternative,
so that a stack which is accepted behaves the same behind either.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from stacks.spec_words import (
    Address,
    Algorithm,
    BodyKibibytes,
    CookieName,
    Cpus,
    EdgeMemory,
    EdgeReplicas,
    EnvironmentName,
    FilePath,
    HeaderName,
    HstsSeconds,
    InFlight,
    Name,
    Port,
    Retries,
    Seconds,
    SlowStart,
    SqlName,
    Subdomain,
    UrlPath,
    Weight,
)


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a stack file: immutable, named fields only, unknown keys refused."""


class SecretReference(Part, frozen=True):
    """Where a secret is read from at deployment; exactly one of the three is given."""

    env: EnvironmentName | UnsetType = UNSET
    file: FilePath | UnsetType = UNSET
    config: SqlName | UnsetType = UNSET
    """The name of a value set by ``pulumi config set --secret crm:<name>``."""

    def __post_init__(self) -> None:
        if sum(v is not UNSET for v in (self.env, self.file, self.config)) != 1:
            raise ValueError("name exactly one source, such as {env: CRM_DATABASE_PASSWORD}")


class Balance(Part, frozen=True, kw_only=True):
    """How requests are spread over the replicas of one service."""

    algorithm: Algorithm = "round_robin"
    weights: tuple[Weight, ...] = ()
    """One per replica, in order; only with ``algorithm: weighted``."""
    hash_header: HeaderName | None = None
    hash_cookie: CookieName | None = None
    """What ``consistent_hash`` hashes; the client's address when neither is given. A request that
    carries none goes to any replica."""
    sticky: bool = False
    """Whether a browser stays with the replica that answered it first, by a cookie of the edge's
    own."""
    slow_start_seconds: SlowStart = 0
    """For how long a replica that came up gets less than its share; HAProxy only."""

    def __post_init__(self) -> None:
        if (self.algorithm == "weighted") != bool(self.weights):
            raise ValueError(
                "`algorithm: weighted` and `weights` go together; "
                "write one weight per replica, such as weights: [3, 2, 1]"
            )
        if self.hash_header is not None and self.hash_cookie is not None:
            raise ValueError("`hash_header` and `hash_cookie` are two keys; write one of them")
        for key in ("hash_header", "hash_cookie"):
            if getattr(self, key) is not None and self.algorithm != "consistent_hash":
                raise ValueError(f"`{key}` is for `algorithm: consistent_hash` only")
        if self.sticky and self.algorithm == "consistent_hash":
            raise ValueError(
                "`sticky` and `algorithm: consistent_hash` both say where a client goes; "
                "write one of them"
            )

    def lacking(self, proxy: str) -> str | None:
        """What of this ``proxy`` does not have, with the alternative; ``None`` for nothing."""
        if proxy == "haproxy":
            return None
        if self.algorithm == "first":
            return (
                "`algorithm: first` is HAProxy's, and nginx has no such; "
                "write proxy: haproxy, or algorithm: least_connections"
            )
        if self.slow_start_seconds:
            return (
                "`slow_start_seconds`: open-source nginx has no slow start; "
                "write proxy: haproxy, or leave it out"
            )
        return None


class Route(Part, frozen=True, kw_only=True):
    """Where the requests go whose path is ``prefix``, or begins with it and a slash."""

    prefix: UrlPath
    service: Name
    read_seconds: Seconds | UnsetType = UNSET
    """For how long the service may be silent; as in ``timeouts`` when not given."""


class Timeouts(Part, frozen=True, kw_only=True):
    """How long the edge waits, in seconds."""

    connect_seconds: Seconds = 1
    """For a replica to accept a connection."""
    read_seconds: Seconds = 30
    """For a replica to say anything more."""
    client_seconds: Seconds = 15
    """For a client to say anything more while it sends its request."""
    keepalive_seconds: Seconds = 65
    """For the next request on a client's idle connection."""


NGINX_BODY_KIB = 2048
"""nginx holds each body in a file until it is whole, and has 16 MiB for all of them."""


class Limits(Part, frozen=True, kw_only=True):
    """What is answered at once when there is too much: 503, and 429 to a client of too many."""

    in_flight_per_replica: InFlight | UnsetType = UNSET
    """Requests one replica is given at the same time; from its workers when not given."""
    queue: InFlight | UnsetType = UNSET
    """Requests that wait for a replica, in all; from the workers when not given. HAProxy only."""
    queue_seconds: Seconds | UnsetType = UNSET
    """For how long a request waits for a replica; 2 when not given. HAProxy only."""
    client_requests_per_second: InFlight | None = None
    """Of one address; twice as many at once."""
    body_kib: BodyKibibytes = 64
    """The largest body of a request, in KiB, for the edge and for the application."""


class Tls(Part, frozen=True, kw_only=True):
    """HTTPS. Without a certificate, one of a self-made authority is used: for development."""

    port: Port = 8443
    hosts: tuple[Subdomain, ...] = ("localhost",)
    """The names people use."""
    certificate: SecretReference | None = None
    """PEM: the certificate, then those between it and its authority."""
    key: SecretReference | None = None
    """PEM, without a passphrase."""
    profile: Literal["intermediate", "modern"] = "intermediate"
    """Mozilla's: TLS 1.2 and 1.3, or 1.3 alone."""
    redirect: bool = True
    """Whether plain HTTP answers with where HTTPS is; it answers nothing else then."""
    hsts_seconds: HstsSeconds | UnsetType = UNSET
    """For how long browsers insist on HTTPS; two years, and not at all for a self-made
    certificate, when not given."""

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("`hosts` is empty; write the names people use, such as [localhost]")
        for host in self.hosts:
            if self.hosts.count(host) > 1:
                raise ValueError(f"`hosts`: {host} is written twice; keep one")
        if words := sorted(
            {"default", "hostnames", "include", "volatile"}.intersection(self.hosts)
        ):
            raise ValueError(f"`hosts`: {words[0]} is a word of nginx's; write a name with a dot")
        if (self.certificate is None) != (self.key is None):
            raise ValueError(
                "`certificate` and `key` go together; write both, such as "
                "certificate: {file: crm.example.com.pem} and key: {file: crm.example.com.key}"
            )


class Edge(Balance, frozen=True, kw_only=True):
    """The load balancer: the one door people come in by. How it spreads requests is said here for
    the service ``app``, and for others with them."""

    proxy: Literal["nginx", "haproxy"] = "nginx"
    address: Address = "127.0.0.1"
    port: Port = 8080
    replicas: EdgeReplicas = 1
    """How many there are on a cluster, each with ``limits`` of its own; one on Docker."""
    cpus: Cpus = 0.5
    memory_mib: EdgeMemory = 64
    routes: tuple[Route, ...] = ()
    """What goes to another service than ``app``; the longest prefix that fits decides."""
    timeouts: Timeouts = Timeouts()
    retries: Retries = 2
    """How often another replica is asked when one cannot be reached; where it was reached and
    did not answer, only for requests that may be carried out twice (not POST)."""
    limits: Limits = Limits()
    tls: Tls | None = None
    metrics_port: Port = 9113
    """Where Prometheus asks, from inside the platform's networks: ``/metrics``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if lacks := self.lacking(self.proxy):
            raise ValueError(lacks)
        prefixes = [route.prefix for route in self.routes]
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                raise ValueError(f"`routes`: two have the prefix {prefix}; write each once")
            if f"{prefix}/".startswith("/edge/"):
                raise ValueError(
                    f"`routes`: {prefix} is the edge's own, which answers /edge/healthz itself; "
                    "write another prefix, such as /api/v1/orders"
                )
        if self.proxy == "nginx":
            for key in ("queue", "queue_seconds"):
                if getattr(self.limits, key) is not UNSET:
                    raise ValueError(
                        f"`limits.{key}`: open-source nginx has no queue; write proxy: haproxy, "
                        "or a larger limits.in_flight_per_replica"
                    )
            if self.limits.body_kib > NGINX_BODY_KIB:
                raise ValueError(
                    f"`limits.body_kib`: nginx holds bodies until they are whole, and has 16 MiB "
                    f"for all of them; write {NGINX_BODY_KIB} or less, or proxy: haproxy, which "
                    "passes them on as they come"
                )
