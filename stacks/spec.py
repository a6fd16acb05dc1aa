"""What a person asks for: one stack file, typed, frozen, with every default and range in one place.

``stacks/stack_file.py`` reads it and says, where a value is refused, which file and key it was and
what form would be right (the descriptions and examples of ``stacks/spec_words.py``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from stacks.spec_words import (
    Address,
    Algorithm,
    AppMemory,
    CacheMemory,
    ContextName,
    Cpus,
    DatabaseMemory,
    EdgeMemory,
    EnvironmentName,
    Eviction,
    FilePath,
    Gibibytes,
    HeaderName,
    HostName,
    ImageReference,
    Label,
    Masters,
    Month,
    Name,
    NodePort,
    Percent,
    Port,
    Registry,
    Replicas,
    SecretName,
    Setting,
    Shards,
    SqlName,
    Subdomain,
    Weight,
)


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a stack file: immutable, named fields only, unknown keys refused."""


class SecretReference(_Part, frozen=True):
    """Where a secret is read from at deployment; exactly one of the three is given."""

    env: EnvironmentName | UnsetType = UNSET
    file: FilePath | UnsetType = UNSET
    config: SqlName | UnsetType = UNSET
    """The name of a value set by ``pulumi config set --secret crm:<name>``."""

    def __post_init__(self) -> None:
        if sum(v is not UNSET for v in (self.env, self.file, self.config)) != 1:
            raise ValueError("name exactly one source, such as {env: CRM_DATABASE_PASSWORD}")


class Images(_Part, frozen=True):
    """Which image each service runs. Pinned: what was tested is what runs."""

    nginx: ImageReference = "nginx:1.28.0"
    haproxy: ImageReference = "haproxy:3.2.4"
    mysql: ImageReference = "mysql:8.4.6"
    redis: ImageReference = "redis:8.2.1"
    registry: Registry | None = None
    """What is put before every image that names no registry of its own."""
    pull_secret: SecretReference | None = None
    """The registry's credentials, as in Docker's ``config.json``; for ``target: kubernetes``."""


class Edge(_Part, frozen=True):
    """The load balancer: the one door people come in by."""

    proxy: Literal["nginx", "haproxy"] = "nginx"
    algorithm: Algorithm = "round_robin"
    weights: tuple[Weight, ...] = ()
    """One per app replica, in order; only with ``algorithm: weighted``."""
    hash_header: HeaderName | None = None
    """What ``consistent_hash`` hashes; the client's address when not given."""
    address: Address = "127.0.0.1"
    port: Port = 8080
    cpus: Cpus = 0.5
    memory_mib: EdgeMemory = 64

    def __post_init__(self) -> None:
        if (self.algorithm == "weighted") != bool(self.weights):
            raise ValueError(
                "`algorithm: weighted` and `weights` go together; "
                "write one weight per app replica, such as weights: [3, 2, 1]"
            )
        if self.hash_header is not None and self.algorithm != "consistent_hash":
            raise ValueError("`hash_header` is for `algorithm: consistent_hash` only")


class Autoscale(_Part, frozen=True, kw_only=True):
    """As many replicas as keep each at ``cpu_percent`` of its ``cpus``."""

    min: Replicas
    max: Replicas
    cpu_percent: Percent = 70

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError(
                f"`min` is {self.min} and `max` is {self.max}; write the smaller one as `min`"
            )


class App(_Part, frozen=True):
    """The Flask CRM."""

    replicas: Replicas | Autoscale = 1
    cpus: Cpus = 0.5
    memory_mib: AppMemory = 256
    port: Port = 8000


class Orders(_Part, frozen=True):
    """How ``crm_orders`` is partitioned inside each shard."""

    partition_by: Literal["none", "range", "hash"] = "none"
    column: Literal["order_date", "customer_id"] | UnsetType = UNSET
    interval: Literal["month"] | UnsetType = UNSET
    start: Month | UnsetType = UNSET
    count: (
        Annotated[int, Meta(ge=1, le=1024, description="1 to 1024 partitions", examples=[24])]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        right = {
            "none": (),
            "range": ("column", "interval", "start", "count"),
            "hash": ("column", "count"),
        }[self.partition_by]
        keys = ("column", "interval", "start", "count")
        given = tuple(key for key in keys if getattr(self, key) is not UNSET)
        if given != right:
            form = {
                "none": "{partition_by: none}",
                "range": "{partition_by: range, column: order_date, interval: month, "
                "start: 2026-01, count: 24}",
                "hash": "{partition_by: hash, column: customer_id, count: 8}",
            }[self.partition_by]
            raise ValueError(f"`partition_by: {self.partition_by}` is written {form}")
        column = {"range": "order_date", "hash": "customer_id"}.get(self.partition_by)
        if column is not None and self.column != column:
            raise ValueError(f"`partition_by: {self.partition_by}` goes by `column: {column}`")


class ExternalDatabase(_Part, frozen=True, kw_only=True):
    """A MySQL server that exists already; the platform deploys none of its own."""

    host: HostName
    port: Port = 3306
    user: SqlName = "crm_app"
    password: SecretReference
    owner_user: SqlName = "crm_owner"
    """The account that may create tables; the schema job alone uses it."""
    owner_password: SecretReference


class Database(_Part, frozen=True):
    """MySQL: every shard is its own server with its own volume."""

    shards: Shards = 1
    cpus: Cpus = 1.0
    memory_mib: DatabaseMemory = 768
    storage_gib: Gibibytes = 10
    """How large a volume each shard asks for; on Docker a volume is as large as the disk."""
    port: Port = 3306
    name: SqlName = "crm"
    orders: Orders = Orders()
    settings: dict[SqlName, Setting] = {}
    """MySQL settings by their own names, over the derived ones; some are forced (``plan.py``)."""
    external: ExternalDatabase | None = None

    def __post_init__(self) -> None:
        if self.external is not None and self.shards != 1:
            raise ValueError("an external database is one server: leave `shards` out")


class ExternalCache(_Part, frozen=True, kw_only=True):
    """A Redis server that exists already; the platform deploys none of its own."""

    host: HostName
    port: Port = 6379
    password: SecretReference


class Cache(_Part, frozen=True):
    """Redis: one server, or a cluster of masters that share the keys between them."""

    engine: Literal["redis"] = "redis"
    mode: Literal["single", "cluster"] = "single"
    masters: Masters = 1
    cpus: Cpus = 0.25
    memory_mib: CacheMemory = 64
    port: Port = 6379
    eviction: Eviction = "allkeys-lru"
    ttl_seconds: Annotated[
        int, Meta(ge=1, le=2_592_000, description="seconds, 1 to 2592000", examples=[300])
    ] = 300
    external: ExternalCache | None = None

    def __post_init__(self) -> None:
        if self.mode == "cluster" and self.masters < 3:
            raise ValueError("Redis Cluster needs `masters: 3` or more to agree on a failure")
        if self.mode == "single" and self.masters != 1:
            raise ValueError(
                "`mode: single` has one master; write `mode: cluster` and `masters: 3` or more"
            )
        if self.external is not None and self.mode != "single":
            raise ValueError("an external cache is one address: leave `mode` and `masters` out")


class Kubernetes(_Part, frozen=True):
    """The cluster and how the edge is offered there; unused with ``target: docker``."""

    context: ContextName | None = None
    """Of the kubeconfig; its current one when not given."""
    namespace: Label | None = None
    """Made by the stack and its own: ``crm-<stack>`` when not given."""
    expose: Literal["load_balancer", "node_port", "ingress"] = "load_balancer"
    node_port: NodePort | UnsetType = UNSET
    """Chosen by the cluster when not given."""
    ingress_host: Subdomain | None = None
    ingress_class: Subdomain | None = None
    storage_class: Subdomain | None = None
    """The cluster's own default when not given."""

    def __post_init__(self) -> None:
        if self.node_port is not UNSET and self.expose != "node_port":
            raise ValueError("`node_port` is for `expose: node_port` only")
        if self.expose == "ingress" and self.ingress_host is None:
            raise ValueError(
                "`expose: ingress` needs the name people use, such as ingress_host: crm.example.com"
            )
        if self.expose != "ingress" and (self.ingress_host or self.ingress_class):
            raise ValueError("`ingress_host` and `ingress_class` are for `expose: ingress` only")
        if self.namespace == "default" or (self.namespace or "").startswith("kube-"):
            raise ValueError(
                f"`namespace: {self.namespace}` belongs to the cluster; "
                "leave it out, or write one of the stack's own"
            )


def _port_after(port: int, taken: set[int]) -> int:
    """The next port above ``port`` that the stack does not use; from 8080 where there is none."""
    free: list[int] = [p for p in [*range(port + 1, 65536), *range(8080, 65536)] if p not in taken]
    return free[0]


class StackSpec(_Part, frozen=True):
    """One environment, as asked for. Field names are the keys of the stack file."""

    target: Literal["docker", "kubernetes"] = "docker"
    owner: Name = "crm"
    """Who to ask about this stack; a label on what it runs."""
    kubernetes: Kubernetes = Kubernetes()
    images: Images = Images()
    edge: Edge = Edge()
    app: App = App()
    database: Database = Database()
    cache: Cache = Cache()
    secrets: dict[SecretName, SecretReference] = {}
    """Secrets taken from elsewhere; those not named here are generated and kept."""

    def __post_init__(self) -> None:
        ports: dict[int, str] = {}
        listening = [("edge", self.edge.port), ("app", self.app.port)]
        if self.database.external is None:
            listening.append(("database", self.database.port))
        if self.cache.external is None:
            listening.append(("cache", self.cache.port))
        taken = {port for _, port in listening}
        for tier, port in listening:
            if port in ports:
                raise ValueError(
                    f"`{ports[port]}.port` and `{tier}.port` are both {port}; give each tier "
                    f"a port of its own, such as {tier}.port: {_port_after(port, taken)}"
                )
            ports[port] = tier
        self._check_scaling()
        if self.cache.mode == "cluster" and self.cache.port > 55535:
            raise ValueError(
                "`cache.port` must be 55535 or less: the cluster bus listens 10000 above it"
            )

    def _check_scaling(self) -> None:
        if isinstance(self.app.replicas, Autoscale):
            if self.target == "docker":
                raise ValueError(
                    "`app.replicas`: Docker has no autoscaler; "
                    f"write a number, such as replicas: {self.app.replicas.min}"
                )
            if self.edge.algorithm not in ("round_robin", "random"):
                raise ValueError(
                    f"`edge.algorithm: {self.edge.algorithm}` chooses among replicas by name, and "
                    "those of an autoscaler have none; write round_robin or random"
                )
        elif self.edge.weights and len(self.edge.weights) != self.app.replicas:
            raise ValueError(
                f"`edge.weights` has {len(self.edge.weights)} weights for "
                f"{self.app.replicas} app replicas; write one per replica"
            )
