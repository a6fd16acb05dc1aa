"""What a stack means: instances, sizes, ports, the shard map, partitions. Pure: no I/O, no clock.

``make`` turns a ``StackSpec`` into a ``Plan``. Every number that a template prints is computed
here, so that templates hold no arithmetic. Structs and not dataclasses: those are put together at
every import, which took a tenth of the time of ``crm render``.
"""

from __future__ import annotations

import math
from itertools import pairwise

from msgspec import UNSET, Struct

from stacks import mysql_settings, partitions
from stacks.errors import CrmError
from stacks.mysql_settings import Setting
from stacks.partitions import OrdersPlan
from stacks.paths import stack_file_name
from stacks.spec import Autoscale, SecretReference, StackSpec

BUCKETS = 64
"""Customers are hashed into this many buckets; each shard owns a run of them. Fixed: changing it
would move nearly every customer, changing ``shards`` moves only buckets."""

CLUSTER_SLOTS = 16384
"""Redis Cluster's number of hash slots (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)."""


class Backend(Struct, frozen=True):
    """An app replica as the load balancer sees it."""

    name: str
    host: str
    port: int
    weight: int


class EdgePlan(Struct, frozen=True):
    """The load balancer. ``cpus`` in cores, ``memory_mib`` in MiB. ``many_behind``: several
    replicas, and not always the same, answer to a backend's one name."""

    proxy: str
    image: str
    algorithm: str
    hash_header: str | None
    address: str
    port: int
    cpus: float
    memory_mib: int
    threads: int
    max_connections: int
    backends: tuple[Backend, ...]
    many_behind: bool

    @property
    def url(self) -> str:
        """Where people of this machine find it."""
        address = "127.0.0.1" if self.address == "0.0.0.0" else self.address  # noqa: S104
        return f"http://{address}:{self.port}"


class ScalePlan(Struct, frozen=True):
    """Between how many copies an autoscaler chooses, and by which use of their CPUs."""

    min: int
    max: int
    cpu_percent: int


class AppPlan(Struct, frozen=True):
    """The CRM: ``workers`` processes of ``threads`` threads in each of ``instances``, or in each
    copy of the only one where there is a ``scale``."""

    instances: tuple[str, ...]
    scale: ScalePlan | None
    port: int
    cpus: float
    memory_mib: int
    workers: int
    threads: int

    @property
    def most(self) -> int:
        """How many replicas there may be at the same time, apart from roll-outs."""
        return self.scale.max if self.scale else len(self.instances)


class Shard(Struct, frozen=True):
    """One MySQL server and the buckets of customers it holds (both ends included)."""

    name: str
    host: str
    port: int
    server_id: int
    first_bucket: int
    last_bucket: int


class DatabasePlan(Struct, frozen=True):
    """The database tier. ``external`` shards are used, not deployed."""

    image: str
    external: bool
    name: str
    app_user: str
    owner_user: str
    cpus: float
    memory_mib: int
    storage_gib: int
    shards: tuple[Shard, ...]
    settings: tuple[Setting, ...]
    max_connections: int
    orders: OrdersPlan


class CacheNode(Struct, frozen=True):
    """One Redis server; in a cluster, with the hash slots it owns (both ends included)."""

    name: str
    host: str
    port: int
    index: int
    first_slot: int
    last_slot: int


class CachePlan(Struct, frozen=True):
    """The cache tier. ``max_memory_mib`` is what Redis may fill with data."""

    image: str
    external: bool
    mode: str
    nodes: tuple[CacheNode, ...]
    cpus: float
    memory_mib: int
    max_memory_mib: int
    eviction: str
    ttl_seconds: int


class KubernetesPlan(Struct, frozen=True):
    """The cluster and how the edge is offered there (``load_balancer``, ``node_port`` or
    ``ingress``); of ``None`` the cluster decides, or it is not used."""

    context: str | None
    namespace: str
    expose: str
    node_port: int | None
    ingress_host: str | None
    ingress_class: str | None
    storage_class: str | None
    pull_secret: SecretReference | None


class Plan(Struct, frozen=True):
    """A whole stack, worked out. ``secrets`` maps each secret's name to where it comes from
    (``None``: generated once and kept). ``registry`` is what images without one come from."""

    stack: str
    target: str
    owner: str
    registry: str | None
    kubernetes: KubernetesPlan
    edge: EdgePlan
    app: AppPlan
    database: DatabasePlan
    cache: CachePlan
    secrets: dict[str, SecretReference | None]

    @property
    def own_secrets(self) -> tuple[str, ...]:
        """Secrets of the stack's own services. Each is generated even where the stack takes its
        value from elsewhere, so that a running stack can be changed from one to the other."""
        kept = {"database": not self.database.external, "cache": not self.cache.external}
        return tuple(name for name in self.secrets if kept[name.partition("_")[0]])


def make(stack: str, spec: StackSpec) -> Plan:
    """Work out what ``spec`` means for the stack named ``stack``.

    Raises ``CrmError`` when its parts do not fit together.
    """
    try:
        app = _app(spec)
        database = _database(spec)
        _check_connections(app, database)
        return Plan(
            stack=stack,
            target=spec.target,
            owner=spec.owner,
            registry=spec.images.registry,
            kubernetes=_kubernetes(stack, spec),
            edge=_edge(spec, app),
            app=app,
            database=database,
            cache=_cache(spec),
            secrets=_secrets(spec),
        )
    except CrmError as error:
        raise CrmError(f"{stack_file_name(stack)}: {error}") from None


def qualified(reference: str, registry: str | None) -> str:
    """The image ``reference`` in ``registry``, unless it names a registry of its own."""
    host, slash, _ = reference.partition("/")
    named = slash and ("." in host or ":" in host or host == "localhost")
    return reference if named or registry is None else f"{registry}/{reference}"


def _kubernetes(stack: str, spec: StackSpec) -> KubernetesPlan:
    asked = spec.kubernetes
    return KubernetesPlan(
        context=asked.context,
        namespace=asked.namespace or f"crm-{stack}",
        expose=asked.expose,
        node_port=None if asked.node_port is UNSET else asked.node_port,
        ingress_host=asked.ingress_host,
        ingress_class=asked.ingress_class,
        storage_class=asked.storage_class,
        pull_secret=spec.images.pull_secret,
    )


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}-{i}" for i in range(1, count + 1))


def _edge(spec: StackSpec, app: AppPlan) -> EdgePlan:
    edge = spec.edge
    weights = edge.weights or (1,) * len(app.instances)
    return EdgePlan(
        proxy=edge.proxy,
        image=qualified(
            spec.images.nginx if edge.proxy == "nginx" else spec.images.haproxy,
            spec.images.registry,
        ),
        algorithm=edge.algorithm,
        hash_header=edge.hash_header,
        address=edge.address,
        port=edge.port,
        cpus=edge.cpus,
        memory_mib=edge.memory_mib,
        threads=max(1, math.ceil(edge.cpus)),
        # A proxied connection costs two sockets and their buffers, about 32 KiB on either proxy.
        max_connections=min(60_000, edge.memory_mib * 16),
        backends=tuple(
            Backend(name, name, app.port, weight)
            for name, weight in zip(app.instances, weights, strict=True)
        ),
        many_behind=app.scale is not None,
    )


def _app(spec: StackSpec) -> AppPlan:
    app = spec.app
    # A worker process holds about 100 MiB; more of them than cores only wait for each other.
    workers = max(1, min(math.ceil(app.cpus), app.memory_mib // 128))
    scale = None
    if isinstance(app.replicas, Autoscale):
        scale = ScalePlan(app.replicas.min, app.replicas.max, app.replicas.cpu_percent)
        names: tuple[str, ...] = ("app",)
    else:
        names = _numbered("app", app.replicas)
    return AppPlan(
        instances=names,
        scale=scale,
        port=app.port,
        cpus=app.cpus,
        memory_mib=app.memory_mib,
        workers=workers,
        threads=4,
    )


def _database(spec: StackSpec) -> DatabasePlan:
    database = spec.database
    external = database.external
    if external is None:
        names = _numbered("database", database.shards)
        hosts, port = names, database.port
        app_user, owner_user = "crm_app", "crm_owner"
    else:
        names, hosts, port = ("database-1",), (external.host,), external.port
        app_user, owner_user = external.user, external.owner_user
    bounds = _split(BUCKETS, len(names))
    settings = mysql_settings.derive(database.memory_mib, database.port, dict(database.settings))
    return DatabasePlan(
        image=qualified(spec.images.mysql, spec.images.registry),
        external=external is not None,
        name=database.name,
        app_user=app_user,
        owner_user=owner_user,
        cpus=database.cpus,
        memory_mib=database.memory_mib,
        storage_gib=database.storage_gib,
        shards=tuple(
            Shard(name, host, port, index, first, last)
            for index, (name, host, (first, last)) in enumerate(
                zip(names, hosts, bounds, strict=True), start=1
            )
        ),
        settings=settings,
        max_connections=mysql_settings.max_connections(settings),
        orders=partitions.work_out(database.orders),
    )


def _cache(spec: StackSpec) -> CachePlan:
    cache = spec.cache
    cluster = cache.mode == "cluster"
    names = _numbered("cache", cache.masters)
    port = cache.port
    if cache.external is not None:
        hosts: tuple[str, ...] = (cache.external.host,)
        port = cache.external.port
    elif cluster:
        # The number of masters is part of a node's address: nodes of a cluster of another size
        # can never meet these and mix two maps of slots.
        hosts = tuple(f"{name}-of-{cache.masters}" for name in names)
    else:
        hosts = names
    slots = _split(CLUSTER_SLOTS, len(names))
    return CachePlan(
        image=qualified(spec.images.redis, spec.images.registry),
        external=cache.external is not None,
        mode=cache.mode,
        nodes=tuple(
            CacheNode(name, host, port, index, first, last)
            for index, (name, host, (first, last)) in enumerate(
                zip(names, hosts, slots, strict=True), start=1
            )
        ),
        cpus=cache.cpus,
        memory_mib=cache.memory_mib,
        # The rest is for Redis itself, client buffers and fragmentation.
        max_memory_mib=cache.memory_mib * 3 // 4 - 8,
        eviction=cache.eviction,
        ttl_seconds=cache.ttl_seconds,
    )


def _split(total: int, parts: int) -> tuple[tuple[int, int], ...]:
    """``total`` things in ``parts`` runs whose lengths differ by one at most: (first, last)s."""
    edges = [total * i // parts for i in range(parts + 1)]
    return tuple((a, b - 1) for a, b in pairwise(edges))


def _secrets(spec: StackSpec) -> dict[str, SecretReference | None]:
    secrets: dict[str, SecretReference | None] = {}
    if spec.database.external is None:
        for name in ("database_root_password", "database_owner_password", "database_app_password"):
            secrets[name] = None
    else:
        secrets["database_owner_password"] = spec.database.external.owner_password
        secrets["database_app_password"] = spec.database.external.password
    secrets["cache_password"] = spec.cache.external.password if spec.cache.external else None
    for key, reference in spec.secrets.items():
        if key not in secrets or secrets[key] is not None:
            raise CrmError(
                f"crm:secrets.{key}: this stack has no such secret of its own; "
                "leave it out, or give it where the external service is named"
            )
        secrets[key] = reference
    return dict(sorted(secrets.items()))


RESERVED_CONNECTIONS = 10
"""Kept back on every shard for the schema job, health checks and a person at the console."""


def connections_wanted(app: AppPlan) -> int:
    """How many connections all app replicas together may open to each shard.

    Twice their number: while a new version rolls out, old and new replicas run side by side.
    """
    return 2 * app.most * app.workers * app.threads


def _check_connections(app: AppPlan, database: DatabasePlan) -> None:
    wanted = connections_wanted(app)
    allowed = database.max_connections - RESERVED_CONNECTIONS
    if not database.external and wanted > allowed:
        raise CrmError(
            f"crm:app.replicas{'.max' if app.scale else ''}: {app.most} replicas × "
            f"{app.workers} workers × {app.threads} connections × 2 during a roll-out = {wanted}, "
            "but each shard allows "
            f"{database.max_connections} less {RESERVED_CONNECTIONS} in reserve = {allowed}; "
            "raise crm:database.memory_mib or ask for fewer replicas"
        )
