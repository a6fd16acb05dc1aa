"""The load balancing, worked out: pools of replicas, routes, limits, TLS. Pure: no I/O.

Both proxies' templates take the same ``EdgePlan``.
"""

from __future__ import annotations

import math

from msgspec import UNSET, Struct

from stacks.errors import CrmError
from stacks.services import ServicePlan, service_key
from stacks.spec import StackSpec
from stacks.spec_edge import Edge, SecretReference, Tls

CERTIFICATE_SECRETS = ("edge_tls_certificate", "edge_tls_key")
"""What the edge of a stack with TLS is given: PEM, the certificate with what is between it and its
authority, and the certificate's key."""

TWO_YEARS = 63_072_000
"""What Mozilla recommends for HSTS (https://wiki.mozilla.org/Security/Server_Side_TLS)."""

CONNECTIONS_PER_THREAD = 128
"""At least; so many take 8 MiB of the edge's memory, of which a thread needs the half."""


class Backend(Struct, frozen=True):
    """A replica as the load balancer sees it. ``number`` is its own for good: what is hashed to
    one replica must not move when another is removed."""

    name: str
    number: int
    host: str
    port: int
    weight: int

    @property
    def next_number(self) -> int:
        """That of the replica which takes its place."""
        return 1000 + self.number


class RoutePlan(Struct, frozen=True):
    """Where a path and what is below it go. ``number`` names it where names may hold no slash."""

    number: int
    prefix: str
    pool: str
    read_seconds: int


class Pool(Struct, frozen=True):
    """The replicas of one service and how requests are spread over them.

    ``routes`` are those that lead here, the longest last, which decides. ``hash_variable`` is the
    header's or the cookie's name as nginx's variables write it.
    ``in_flight`` is how many requests one backend is given at the same time, ``queue`` how many
    may wait for one in all, for ``queue_seconds`` (HAProxy). ``many_behind``: several replicas, and
    not always the same, answer to a backend's one name.
    """

    name: str
    algorithm: str
    hash_header: str | None
    hash_cookie: str | None
    hash_variable: str
    sticky: bool
    slow_start_seconds: int
    health_path: str
    backends: tuple[Backend, ...]
    routes: tuple[RoutePlan, ...]
    in_flight: int
    queue: int
    queue_seconds: int
    many_behind: bool

    @property
    def zone_kib(self) -> int:
        """What nginx's workers share of it: a replica and its successor take some 2.5 KiB."""
        return max(512, 4 * len(self.backends))


class TlsPlan(Struct, frozen=True):
    """HTTPS. Without references the certificate is self-made. ``hsts_seconds`` of 0: no such
    header. ``public_port``: what leads to ``port`` from outside."""

    port: int
    public_port: int
    hosts: tuple[str, ...]
    certificate: SecretReference | None
    key: SecretReference | None
    modern: bool
    redirect: bool
    hsts_seconds: int

    @property
    def suffix(self) -> str:
        """What an address needs after the host."""
        return "" if self.public_port == 443 else f":{self.public_port}"


class EdgePlan(Struct, frozen=True):
    """The load balancer. ``cpus`` in cores, ``memory_mib`` in MiB, ``max_connections`` in all;
    these and every limit are those of each of its ``replicas``.

    ``pools`` begin with the app's, which gets what no route takes; ``routes`` are in the order in
    which they are tried. ``addresses_change``: replicas' names lead to other addresses while the
    proxy runs, as on Docker.
    """

    proxy: str
    image: str
    address: str
    port: int
    metrics_port: int
    replicas: int
    cpus: float
    memory_mib: int
    threads: int
    max_connections: int
    pools: tuple[Pool, ...]
    routes: tuple[RoutePlan, ...]
    connect_seconds: int
    read_seconds: int
    client_seconds: int
    keepalive_seconds: int
    retries: int
    client_requests_per_second: int
    body_kib: int
    tls: TlsPlan | None
    addresses_change: bool

    @property
    def algorithm(self) -> str:
        """How requests are spread over the app, for those who name the edge by one."""
        return self.pools[0].algorithm

    @property
    def files(self) -> tuple[str, ...]:
        """What the proxy reads; its configuration first."""
        return ("haproxy.cfg",) if self.proxy == "haproxy" else ("nginx.conf", "metrics.js")

    @property
    def connections_per_thread(self) -> int:
        """nginx counts connections for each worker."""
        return math.ceil(self.max_connections / self.threads)

    @property
    def files_per_thread(self) -> int:
        """Each of nginx's connections may need a file, too: what is too large for its buffers."""
        return 2 * self.connections_per_thread

    @property
    def tries(self) -> int:
        """How many replicas are asked at most."""
        return self.retries + 1

    @property
    def asks_again(self) -> bool:
        """Whether what no replica took is given out once more, to those there are by then."""
        return self.addresses_change and self.retries > 0

    @property
    def by_address(self) -> bool:
        """Whether what becomes of a request depends on its client's address."""
        return self.client_requests_per_second > 0 or any(
            pool.algorithm == "consistent_hash" and not pool.hash_variable for pool in self.pools
        )

    @property
    def client_burst(self) -> int:
        """How many requests of one address are taken at once: those of two seconds."""
        return 2 * self.client_requests_per_second

    @property
    def body_bytes(self) -> int:
        """The largest body of a request."""
        return 1024 * self.body_kib

    @property
    def entry(self) -> int:
        """The port that people come in by."""
        return self.tls.port if self.tls is not None else self.port

    @property
    def url(self) -> str:
        """Where people of this machine find it."""
        if self.tls is not None:
            return f"https://{self.tls.hosts[0]}{self.tls.suffix}"
        address = "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104
        return f"http://{address}:{self.port}"


def work_out(spec: StackSpec, image: str, services: tuple[ServicePlan, ...]) -> EdgePlan:
    """What ``spec`` asks of the edge, for the replicas of ``services``.

    Raises ``CrmError`` where a replica has too little memory for the bodies it is to take.
    """
    edge = spec.edge
    for service in services:
        _check_bodies(edge.limits.body_kib, service)
    routes = _routes(edge)
    # A proxied connection costs two sockets and their buffers, about 32 KiB on either proxy.
    max_connections = min(60_000, edge.memory_mib * 16)
    return EdgePlan(
        proxy=edge.proxy,
        image=image,
        address=edge.address,
        port=edge.port,
        metrics_port=edge.metrics_port,
        replicas=edge.replicas,
        cpus=edge.cpus,
        memory_mib=edge.memory_mib,
        # No more than there is memory and work for: nginx gives each its share of connections.
        threads=min(math.ceil(edge.cpus), max_connections // CONNECTIONS_PER_THREAD),
        max_connections=max_connections,
        pools=tuple(_pool(edge, service, routes) for service in services),
        routes=routes,
        connect_seconds=edge.timeouts.connect_seconds,
        read_seconds=edge.timeouts.read_seconds,
        client_seconds=edge.timeouts.client_seconds,
        keepalive_seconds=edge.timeouts.keepalive_seconds,
        retries=edge.retries,
        client_requests_per_second=edge.limits.client_requests_per_second or 0,
        body_kib=edge.limits.body_kib,
        tls=_tls(spec, edge.tls) if edge.tls is not None else None,
        addresses_change=spec.target == "docker",
    )


def _check_bodies(body_kib: int, service: ServicePlan) -> None:
    """A replica holds as many bodies as it has threads, each as it came and as it was read: a
    quarter of its memory is for them."""
    most = service.memory_mib * 1024 // 4 // service.at_once
    if body_kib > most:
        key = service_key(service.name)
        raise CrmError(
            f"crm:edge.limits.body_kib: {service.at_once} bodies of {body_kib} KiB at once are too "
            f"much for a replica of {service.memory_mib} MiB; "
            f"write {most} or less, or more memory in crm:{key}.memory_mib"
        )


def _pool(edge: Edge, service: ServicePlan, routes: tuple[RoutePlan, ...]) -> Pool:
    balance, limits = service.balance, edge.limits
    haproxy = edge.proxy == "haproxy"
    # What a replica does not work on yet waits in HAProxy's queue, or, as nginx has none, in the
    # replica's own: a few for each thread, so that what is taken is also answered in time.
    in_flight = service.at_once * (2 if haproxy else 16)
    if limits.in_flight_per_replica is not UNSET:
        in_flight = limits.in_flight_per_replica
    behind = service.scale.max if service.scale else 1
    weights = balance.weights or (1,) * len(service.instances)
    # HAProxy gives a server 16 places on the ring for each unit of weight: too few of its own.
    unit = max(1, min(16, 256 // max(weights))) if haproxy else 1
    return Pool(
        name=service.name,
        algorithm=balance.algorithm,
        hash_header=balance.hash_header,
        hash_cookie=balance.hash_cookie,
        hash_variable=(balance.hash_header or balance.hash_cookie or "").lower().replace("-", "_"),
        sticky=balance.sticky,
        slow_start_seconds=balance.slow_start_seconds,
        health_path=service.health_path,
        backends=tuple(
            Backend(name, number, name, service.port, weight * unit)
            for number, (name, weight) in enumerate(
                zip(service.instances, weights, strict=True), start=1
            )
        ),
        routes=tuple(route for route in reversed(routes) if route.pool == service.name),
        in_flight=in_flight * behind,
        queue=8 * service.at_once * service.most if limits.queue is UNSET else limits.queue,
        queue_seconds=2 if limits.queue_seconds is UNSET else limits.queue_seconds,
        many_behind=service.scale is not None,
    )


def _routes(edge: Edge) -> tuple[RoutePlan, ...]:
    longest_first = sorted(edge.routes, key=lambda route: (-len(route.prefix), route.prefix))
    return tuple(
        RoutePlan(
            number=number,
            prefix=route.prefix,
            pool=route.service,
            read_seconds=(
                edge.timeouts.read_seconds if route.read_seconds is UNSET else route.read_seconds
            ),
        )
        for number, route in enumerate(longest_first, start=1)
    )


def _tls(spec: StackSpec, tls: Tls) -> TlsPlan:
    # Where the cluster chooses a node's port, nothing here can know it.
    node_port = UNSET if spec.target == "docker" else spec.kubernetes.node_port
    hsts = TWO_YEARS if tls.certificate is not None else 0
    return TlsPlan(
        port=tls.port,
        public_port=tls.port if node_port is UNSET else node_port,
        hosts=tls.hosts,
        certificate=tls.certificate,
        key=tls.key,
        modern=tls.profile == "modern",
        redirect=tls.redirect,
        hsts_seconds=hsts if tls.hsts_seconds is UNSET else tls.hsts_seconds,
    )
