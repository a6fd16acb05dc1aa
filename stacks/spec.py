"""What a person asks for: one stack file, typed, frozen, with every default and range in one place.

``stacks/stack_file.py`` reads it and says, where a value is refused, which file and key it was and
what form would be right (the descriptions and examples here).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

# --- The words stack files are made of -----------------------------------------------------------
# Patterns are strict on purpose: no value a person writes can carry a newline, `;`, `}` or `{{`
# into a rendered file.

Name = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z][a-z0-9-]{0,30}\Z",
        description="lower-case letters, digits and dashes, a letter first, 31 at most",
        examples=["sales"],
    ),
]
SqlName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z][a-z0-9_]{0,30}\Z",
        description="lower-case letters, digits and underscores, a letter first, 31 at most",
        examples=["crm"],
    ),
]
HostName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z",
        description="a host name or IPv4 address",
        examples=["db.internal.example.com"],
    ),
]
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z][A-Za-z0-9-]{0,62}\Z",
        description="an HTTP header's name",
        examples=["X-Customer-ID"],
    ),
]
ImageReference = Annotated[
    str,
    Meta(
        pattern=(
            r"\A[a-z0-9][a-z0-9._-]{0,127}(:[0-9]{1,5}(?=/))?(/[a-z0-9][a-z0-9._-]{0,127}){0,8}"
            r"(:(?!latest(@|\Z))[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?"
            r"|@sha256:[0-9a-f]{64})\Z"
        ),
        description="an image pinned to a version tag (never :latest) or a digest",
        examples=["nginx:1.28.0"],
    ),
]
EnvironmentName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z",
        description="an environment variable's name",
        examples=["CRM_DATABASE_PASSWORD"],
    ),
]
FilePath = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_./~-]{1,4096}\Z",
        description="a file's path",
        examples=["/run/secrets/database"],
    ),
]
Month = Annotated[
    str,
    Meta(
        pattern=r"\A(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])\Z",
        description="a month written YYYY-MM",
        examples=["2026-01"],
    ),
]
Port = Annotated[int, Meta(ge=1, le=65535, description="a TCP port, 1 to 65535", examples=[8080])]
Address = Annotated[
    str,
    Meta(
        pattern=(
            r"\A((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}"
            r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\Z"
        ),
        description="the IPv4 address of this machine to listen on",
        examples=["127.0.0.1"],
    ),
]

# Horizontal: how many.
Replicas = Annotated[
    int, Meta(ge=1, le=500, description="a whole number from 1 to 500", examples=[3])
]
Shards = Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64", examples=[2])]
Masters = Annotated[
    int, Meta(ge=1, le=100, description="a whole number from 1 to 100", examples=[3])
]
Weight = Annotated[
    int, Meta(ge=1, le=256, description="a whole number from 1 to 256", examples=[2])
]

# Vertical: how much each. The upper bounds are those of the largest machines one can rent.
Cpus = Annotated[float, Meta(ge=0.1, le=1024, description="CPU cores, 0.1 to 1024", examples=[0.5])]
_MOST_MIB = 32 * 1024 * 1024
EdgeMemory = Annotated[
    int, Meta(ge=32, le=_MOST_MIB, description="MiB, 32 to 33554432", examples=[64])
]
AppMemory = Annotated[
    int, Meta(ge=128, le=_MOST_MIB, description="MiB, 128 to 33554432", examples=[256])
]
DatabaseMemory = Annotated[
    int, Meta(ge=512, le=_MOST_MIB, description="MiB, 512 to 33554432", examples=[768])
]
CacheMemory = Annotated[
    int, Meta(ge=32, le=_MOST_MIB, description="MiB, 32 to 33554432", examples=[64])
]

Algorithm = Literal["round_robin", "random", "weighted", "least_connections", "consistent_hash"]
Eviction = Literal[
    "allkeys-lru", "allkeys-lfu", "volatile-lru", "volatile-lfu", "volatile-ttl", "noeviction"
]
SecretName = Literal[
    "database_root_password", "database_owner_password", "database_app_password", "cache_password"
]


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a stack file: immutable, named fields only, unknown keys refused."""


# --- The parts -----------------------------------------------------------------------------------


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


class App(_Part, frozen=True):
    """The Flask CRM."""

    replicas: Replicas = 1
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


Setting = (
    Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9_.,:/-]{1,200}\Z",
            description="a plain value: letters, digits, `_ . , : / -`",
            examples=["2000"],
        ),
    ]
    | int
)


class Database(_Part, frozen=True):
    """MySQL: every shard is its own server with its own volume."""

    shards: Shards = 1
    cpus: Cpus = 1.0
    memory_mib: DatabaseMemory = 768
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


def _port_after(port: int, taken: set[int]) -> int:
    """The next port above ``port`` that the stack does not use; from 8080 where there is none."""
    free: list[int] = [p for p in [*range(port + 1, 65536), *range(8080, 65536)] if p not in taken]
    return free[0]


class StackSpec(_Part, frozen=True):
    """One environment, as asked for. Field names are the keys of the stack file."""

    target: Literal["docker"] = "docker"
    owner: Name = "crm"
    """Who to ask about this stack; a label on every container."""
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
        if self.edge.weights and len(self.edge.weights) != self.app.replicas:
            raise ValueError(
                f"`edge.weights` has {len(self.edge.weights)} weights for "
                f"{self.app.replicas} app replicas; write one per replica"
            )
        if self.cache.mode == "cluster" and self.cache.port > 55535:
            raise ValueError(
                "`cache.port` must be 55535 or less: the cluster bus listens 10000 above it"
            )
