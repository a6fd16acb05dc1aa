"""What a stack means: instances, sizes, ports, the shard map, partitions. Pure: no I/O, no clock.

``make`` turns a ``StackSpec`` into a ``Plan``. Every number that a template prints is computed
here, so that templates hold no arithmetic. Structs and not dataclasses: those are put together at
every import, which took a tenth of the time of ``crm render``.
"""

from __future__ import annotations

from msgspec import UNSET, Struct

from stacks import balancing, database_tls, mysql_settings, offsite, partitions, shard_map
from stacks import services as service_plans
from stacks.balancing import EdgePlan
from stacks.database_tls import DatabaseTlsPlan
from stacks.errors import CrmError
from stacks.mysql_settings import Setting
from stacks.offsite import OffsitePlan
from stacks.partitions import Kept, OrdersPlan
from stacks.paths import stack_file_name
from stacks.services import ServicePlan, numbered, service_key
from stacks.spec import StackSpec
from stacks.spec_edge import SecretReference

CLUSTER_SLOTS = 16384
"""Redis Cluster's number of hash slots (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)."""


class Shard(Struct, frozen=True):
    """One MySQL server and the buckets of customers it holds (both ends included)."""

    name: str
    host: str
    port: int
    server_id: int
    first_bucket: int
    last_bucket: int


class BackupPlan(Struct, frozen=True):
    """What is kept of each shard, by one instance for each (in the shards' order; so are
    ``folders`` of this machine, ``None`` for a volume of Docker's).

    ``retry_seconds`` is when one that failed is tried again; the last one that succeeded must not
    be older than ``overdue_seconds``. The ``keep`` newest stay, and all younger than
    ``keep_seconds``.
    """

    user: str
    instances: tuple[str, ...]
    every_seconds: int
    retry_seconds: int
    overdue_seconds: int
    keep: int
    keep_seconds: int
    cpus: float
    memory_mib: int
    storage_gib: int
    folders: tuple[str | None, ...]
    offsite: OffsitePlan | None


class Account(Struct, frozen=True):
    """An account of MySQL's; its password is the secret ``database_<secret>_password``."""

    secret: str
    user: str


class DatabasePlan(Struct, frozen=True):
    """The database tier. ``external`` shards are used, not deployed. A password that was changed
    is good for ``old_password_seconds`` more, in which all replicas get the new one."""

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
    kept: tuple[Kept, ...]
    backup: BackupPlan | None
    tls: DatabaseTlsPlan
    old_password_seconds: int

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Those whose password can change while the servers run."""
        found = (Account("app", self.app_user), Account("owner", self.owner_user))
        return (*found, Account("backup", self.backup.user)) if self.backup else found

    @property
    def map(self) -> shard_map.Map:
        """Which shard holds which buckets."""
        return tuple(
            shard_map.Held(shard.name, shard.first_bucket, shard.last_bucket)
            for shard in self.shards
        )

    @property
    def map_version(self) -> str:
        return shard_map.version(self.map)


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
    ``ingress``); of ``None`` the cluster decides, or it is not used. ``metrics_from`` is the
    namespace that may ask for figures."""

    context: str | None
    namespace: str
    expose: str
    node_port: int | None
    ingress_host: str | None
    ingress_class: str | None
    storage_class: str | None
    metrics_from: str | None
    pull_secret: SecretReference | None


class Plan(Struct, frozen=True):
    """A whole stack, worked out. ``secrets`` maps each secret's name to where it comes from
    (``None``: generated once and kept). ``registry`` is what images without one come from."""

    stack: str
    target: str
    owner: str
    cost_centre: str
    registry: str | None
    kubernetes: KubernetesPlan
    edge: EdgePlan
    services: tuple[ServicePlan, ...]
    database: DatabasePlan
    cache: CachePlan
    secrets: dict[str, SecretReference | None]

    @property
    def app(self) -> ServicePlan:
        """The service that answers whatever no route gives to another."""
        return self.services[0]

    @property
    def whose(self) -> dict[str, str]:
        """The labels that say who answers and who pays for what runs."""
        paid = {"crm.cost_centre": self.cost_centre} if self.cost_centre else {}
        return {"crm.owner": self.owner, **paid}

    @property
    def own_secrets(self) -> tuple[str, ...]:
        """Secrets of the stack's own services. Each is generated even where the stack takes its
        value from elsewhere, so that a running stack can be changed from one to the other."""
        kept = {"database": not self.database.external, "cache": not self.cache.external}
        return tuple(name for name in self.secrets if kept.get(name.partition("_")[0]))


def make(stack: str, spec: StackSpec) -> Plan:
    """Work out what ``spec`` means for the stack named ``stack``.

    Raises ``CrmError`` when its parts do not fit together.
    """
    try:
        services = service_plans.work_out(spec)
        database = _database(stack, spec)
        _check_connections(services, database)
        proxy = spec.images.nginx if spec.edge.proxy == "nginx" else spec.images.haproxy
        return Plan(
            stack=stack,
            target=spec.target,
            owner=spec.owner,
            cost_centre=spec.cost_centre,
            registry=spec.images.registry,
            kubernetes=_kubernetes(stack, spec),
            edge=balancing.work_out(spec, qualified(proxy, spec.images.registry), services),
            services=services,
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
        metrics_from=asked.metrics_from,
        pull_secret=spec.images.pull_secret,
    )


ROLL_SECONDS = 3600
"""For a roll-out of all replicas. The same in every stack: it is in a file of the servers', which
are replaced for another text."""


def _database(stack: str, spec: StackSpec) -> DatabasePlan:
    database = spec.database
    external = database.external
    if external is None:
        names = numbered("database", database.shards)
        hosts, port = names, database.port
        app_user, owner_user = "crm_app", "crm_owner"
    else:
        names, hosts, port = ("database-1",), (external.host,), external.port
        app_user, owner_user = external.user, external.owner_user
    held = shard_map.of(names)
    hours = database.backup.every_hours if database.backup else None
    settings = mysql_settings.derive(
        database.memory_mib, database.port, dict(database.settings), hours
    )
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
            Shard(each.name, host, port, index, each.first, each.last)
            for index, (each, host) in enumerate(zip(held, hosts, strict=True), start=1)
        ),
        settings=settings,
        max_connections=mysql_settings.max_connections(settings),
        orders=partitions.work_out(database.orders),
        kept=partitions.kept(database),
        backup=_backup(stack, spec),
        tls=database_tls.work_out(external, hosts),
        old_password_seconds=ROLL_SECONDS,
    )


def _backup(stack: str, spec: StackSpec) -> BackupPlan | None:
    asked = spec.database.backup
    if asked is None:
        return None
    every = asked.every_hours * 3600
    instances = numbered("backup", spec.database.shards)
    return BackupPlan(
        user="crm_backup",
        instances=instances,
        every_seconds=every,
        retry_seconds=min(300, every // 12),
        overdue_seconds=2 * every,
        keep=asked.keep,
        keep_seconds=asked.keep * every,
        cpus=asked.cpus,
        memory_mib=asked.memory_mib,
        storage_gib=asked.storage_gib,
        folders=tuple(asked.folder and f"{asked.folder}/{stack}/{name}" for name in instances),
        offsite=offsite.work_out(asked, stack, spec.database.shards),
    )


def _cache(spec: StackSpec) -> CachePlan:
    cache = spec.cache
    cluster = cache.mode == "cluster"
    names = numbered("cache", cache.masters)
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
    slots = shard_map.runs(CLUSTER_SLOTS, len(names))
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


def _secrets(spec: StackSpec) -> dict[str, SecretReference | None]:
    secrets: dict[str, SecretReference | None] = {}
    if spec.database.external is None:
        for name in ("database_root_password", "database_owner_password", "database_app_password"):
            secrets[name] = None
        if spec.database.backup is not None:
            secrets["database_backup_password"] = None
            secrets.update(offsite.keys(spec.database.backup.s3))
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


def connections_wanted(services: tuple[ServicePlan, ...]) -> int:
    """How many connections all replicas together may open to each shard.

    Twice their number: while a new version rolls out, old and new replicas run side by side.
    """
    return sum(2 * service.most * service.at_once for service in services)


def connection_budget(plan: Plan) -> str:
    """What all replicas may open to each shard, with its arithmetic, and what a shard allows."""
    wanted = f"{_arithmetic(plan.services)} = {connections_wanted(plan.services)}"
    if plan.database.external:
        return f"{wanted}; the server decides what it allows"
    return f"{wanted}; each allows {_allowance(plan.database)}"


def _check_connections(services: tuple[ServicePlan, ...], database: DatabasePlan) -> None:
    wanted = connections_wanted(services)
    if database.external or wanted <= database.max_connections - RESERVED_CONNECTIONS:
        return
    most = max(services, key=lambda service: service.most * service.at_once)
    key = service_key(most.name)
    raise CrmError(
        f"crm:{key}.replicas{'.max' if most.scale else ''}: {_arithmetic(services)} = {wanted}, "
        f"but each shard allows {_allowance(database)}; "
        "raise crm:database.memory_mib or ask for fewer replicas"
    )


def _arithmetic(services: tuple[ServicePlan, ...]) -> str:
    return " + ".join(
        f"{s.most} replicas × {s.workers} workers × {s.threads} connections × 2 during a roll-out"
        for s in services
    )


def _allowance(database: DatabasePlan) -> str:
    most = database.max_connections
    return f"{most} less {RESERVED_CONNECTIONS} in reserve = {most - RESERVED_CONNECTIONS}"
