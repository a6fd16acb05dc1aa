"""What a person asks for: one stack file, typed, frozen, with every default and range in one place.

``stacks/stack_file.py`` reads it and says, where a value is refused, which file and key it was and
what form would be right (the descriptions and examples of ``stacks/spec_words.py``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from stacks.spec_backup import S3
from stacks.spec_edge import Balance, Edge, Part, SecretReference
from stacks.spec_orders import OWN_TABLES, KeptTable, Orders
from stacks.spec_policies import CostCentre, Policies
from stacks.spec_words import (
    AppMemory,
    BackupMemory,
    CacheMemory,
    ContextName,
    Cpus,
    DatabaseMemory,
    DatabaseName,
    Eviction,
    Folder,
    Gibibytes,
    HostName,
    Hours,
    ImageReference,
    KeptBackups,
    Label,
    Masters,
    Name,
    NodePort,
    Percent,
    Port,
    Registry,
    Replicas,
    SecretName,
    ServiceName,
    Setting,
    Shards,
    SqlName,
    Subdomain,
    UrlPath,
)


class Images(Part, frozen=True):
    """Which image each service runs. Pinned: what was tested is what runs."""

    nginx: ImageReference = "nginx:1.30.0"
    haproxy: ImageReference = "haproxy:3.2.4"
    mysql: ImageReference = "mysql:8.4.6"
    redis: ImageReference = "redis:8.2.1"
    registry: Registry | None = None
    """What is put before every image that names no registry of its own."""
    pull_secret: SecretReference | None = None
    """The registry's credentials, as in Docker's ``config.json``; for ``target: kubernetes``."""


class Autoscale(Part, frozen=True, kw_only=True):
    """As many replicas as keep each at ``cpu_percent`` of its ``cpus``."""

    min: Replicas
    max: Replicas
    cpu_percent: Percent = 70

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError(
                f"`min` is {self.min} and `max` is {self.max}; write the smaller one as `min`"
            )


class App(Part, frozen=True):
    """The Flask CRM: the service that answers whatever no route gives to another."""

    replicas: Replicas | Autoscale = 1
    cpus: Cpus = 0.5
    memory_mib: AppMemory = 256
    port: Port = 8000
    """Where each replica of every service listens."""
    health_path: UrlPath = "/healthz"
    """What says that a replica can be given requests; where the edge has active checks."""


class Service(Balance, frozen=True, kw_only=True):
    """A part of the CRM with replicas of its own: the same image, for the routes it is given."""

    replicas: Replicas | Autoscale = 1
    cpus: Cpus = 0.5
    memory_mib: AppMemory = 256
    health_path: UrlPath
    """As for the app; a service says its own."""


class ExternalDatabase(Part, frozen=True, kw_only=True):
    """A MySQL server that exists already; the platform deploys none of its own."""

    host: HostName
    port: Port = 3306
    user: SqlName = "crm_app"
    password: SecretReference
    owner_user: SqlName = "crm_owner"
    """The account that may create tables; the schema job alone uses it."""
    owner_password: SecretReference
    ssl_mode: Literal["verify_identity", "verify_ca", "required"] = "verify_identity"
    """As MySQL's own clients have it: is the certificate of an authority that is trusted, and of
    this host; is it of such an authority; or is the connection encrypted, to whomever it is."""
    ca_certificate: SecretReference | None = None
    """The authority, in PEM; when not given, those that Debian trusts."""

    def __post_init__(self) -> None:
        if self.ssl_mode == "verify_ca" and self.ca_certificate is None:
            raise ValueError(
                "`ssl_mode: verify_ca` would take any certificate there is of any public "
                "authority; write ca_certificate: {file: …}, or ssl_mode: verify_identity"
            )
        if self.ssl_mode == "required" and self.ca_certificate is not None:
            raise ValueError(
                "`ca_certificate` is not looked at with `ssl_mode: required`; write "
                "ssl_mode: verify_identity, or verify_ca where the certificate names no host"
            )


class Backup(Part, frozen=True):
    """What one container beside each shard keeps of it, in a volume of its own."""

    every_hours: Hours = 24
    """A whole one this often; binary logs follow as they are written."""
    keep: KeptBackups = 7
    """This many whole ones at least, all made in as many intervals, and the binary logs since."""
    cpus: Cpus = 0.5
    memory_mib: BackupMemory = 128
    storage_gib: Gibibytes = 10
    folder: Folder | None = None
    """Where on this machine they are, such as on another disk; a volume of Docker's when not
    given."""
    s3: S3 | None = None
    """A copy of all of it in another place."""


class Database(Part, frozen=True):
    """MySQL: every shard is its own server with its own volume."""

    shards: Shards = 1
    cpus: Cpus = 1.0
    memory_mib: DatabaseMemory = 768
    storage_gib: Gibibytes = 10
    """How large a volume each shard asks for; on Docker a volume is as large as the disk."""
    port: Port = 3306
    name: DatabaseName = "crm"
    orders: Orders = Orders()
    tables: dict[SqlName, KeptTable] = field(default_factory=dict)
    settings: dict[SqlName, Setting] = field(default_factory=dict)
    """MySQL settings by their own names, over the derived ones; some are forced (``plan.py``)."""
    backup: Backup | None = None
    external: ExternalDatabase | None = None

    def __post_init__(self) -> None:
        if self.external is not None and self.shards != 1:
            raise ValueError("an external database is one server: leave `shards` out")
        for name in self.tables:
            if name in OWN_TABLES:
                raise ValueError(
                    f"`tables.{name}` is the platform's own; crm_orders is kept by `orders.ahead`"
                )
            for other in ("crm_orders", *self.tables):
                if f"{name}_".startswith(f"{other}_archive_"):
                    raise ValueError(
                        f"`tables.{name}` has a name as archives of {other} have; give it another"
                    )
        if self.external is not None and self.backup is not None:
            raise ValueError("whoever runs the external database backs it up: leave `backup` out")


class ExternalCache(Part, frozen=True, kw_only=True):
    """A Redis server that exists already; the platform deploys none of its own."""

    host: HostName
    port: Port = 6379
    password: SecretReference


class Cache(Part, frozen=True):
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


class Kubernetes(Part, frozen=True):
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
    metrics_from: Label | None = None
    """The namespace whose pods, such as Prometheus, may ask for metrics; none when not given."""

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


class StackSpec(Part, frozen=True):
    """One environment, as asked for. Field names are the keys of the stack file."""

    target: Literal["docker", "kubernetes"] = "docker"
    owner: Name = "crm"
    """Who to ask about this stack; a label on what it runs."""
    cost_centre: CostCentre = ""
    """Who pays for this stack; a label on what it runs, where one is given."""
    kubernetes: Kubernetes = Kubernetes()
    images: Images = Images()
    edge: Edge = Edge()
    app: App = App()
    services: dict[ServiceName, Service] = field(default_factory=dict)
    """Parts of the CRM that are sized apart from the app; ``edge.routes`` give them requests."""
    database: Database = Database()
    cache: Cache = Cache()
    secrets: dict[SecretName, SecretReference] = field(default_factory=dict)
    """Secrets taken from elsewhere; those not named here are generated and kept."""
    policies: Policies = Policies()

    def __post_init__(self) -> None:
        self._check_ports()
        self._check_services()
        if self.target == "docker" and self.edge.replicas != 1:
            raise ValueError(
                "`edge.replicas`: Docker offers the edge at a port of this machine, which one "
                "container holds; write replicas: 1, or target: kubernetes"
            )
        self._check_scaling("app", self.app.replicas, self.edge)
        for name, service in self.services.items():
            self._check_scaling(f"services.{name}", service.replicas, service)
        if self.target == "kubernetes" and self.database.backup and self.database.backup.folder:
            raise ValueError(
                "`database.backup.folder` is one of a single machine; leave it out, and choose "
                "where volumes are with kubernetes.storage_class"
            )
        bucket = self.database.backup.s3 if self.database.backup else None
        if self.policies.production and bucket and (bucket.endpoint or "").startswith("http:"):
            raise ValueError(
                "`database.backup.s3.endpoint` is not encrypted, and the stack is in production; "
                "write one that begins with https://"
            )
        if self.target == "kubernetes":
            self._check_door()

    def _check_door(self) -> None:
        door, tls = self.kubernetes, self.edge.tls
        if tls and door.expose == "ingress":
            raise ValueError(
                "`edge.tls`: an Ingress ends TLS itself, with a certificate of the cluster's; "
                "leave it out, or write expose: load_balancer"
            )
        if tls and tls.redirect and door.expose == "node_port" and door.node_port is UNSET:
            raise ValueError(
                "`edge.tls.redirect`: plain HTTP leads to the node port of HTTPS, and which one "
                "the cluster will choose is not known; write kubernetes.node_port: 30443, or "
                "redirect: false"
            )
        if door.expose == "ingress":
            self._check_address("edge", self.edge)
            for name, service in self.services.items():
                self._check_address(f"services.{name}", service)
            if self.edge.limits.client_requests_per_second is not None:
                raise ValueError(
                    "`edge.limits.client_requests_per_second` goes by the client's address, and "
                    "behind an Ingress all have its controller's; leave it out, as controllers "
                    "have limits of their own, or write expose: load_balancer"
                )

    @staticmethod
    def _check_address(where: str, balance: Balance) -> None:
        if balance.algorithm == "consistent_hash" and not (
            balance.hash_header or balance.hash_cookie
        ):
            raise ValueError(
                f"`{where}.algorithm: consistent_hash` goes by the client's address, and behind an "
                "Ingress all have its controller's; write a hash_header or a hash_cookie, or "
                "expose: load_balancer"
            )

    def _check_ports(self) -> None:
        ports: dict[int, str] = {}
        listening = [
            ("edge.port", self.edge.port),
            ("edge.metrics_port", self.edge.metrics_port),
            ("app.port", self.app.port),
        ]
        if self.edge.tls is not None:
            listening.append(("edge.tls.port", self.edge.tls.port))
        if self.database.external is None:
            listening.append(("database.port", self.database.port))
        if self.cache.external is None:
            listening.append(("cache.port", self.cache.port))
        taken = {port for _, port in listening}
        for key, port in listening:
            if port in ports:
                raise ValueError(
                    f"`{ports[port]}` and `{key}` are both {port}; give each "
                    f"a port of its own, such as {key}: {_port_after(port, taken)}"
                )
            ports[port] = key
        if self.cache.mode == "cluster" and self.cache.port > 55535:
            raise ValueError(
                "`cache.port` must be 55535 or less: the cluster bus listens 10000 above it"
            )

    def _check_services(self) -> None:
        for route in self.edge.routes:
            if route.service not in {"app", *self.services}:
                known = ", ".join(["app", *self.services])
                raise ValueError(
                    f"`edge.routes`: {route.prefix} goes to `{route.service}`, and there is no "
                    f"such service; write one of {known}, or add it under crm:services"
                )
        for name, service in self.services.items():
            if lacks := service.lacking(self.edge.proxy):
                raise ValueError(f"`services.{name}`: {lacks}")
            if not any(route.service == name for route in self.edge.routes):
                raise ValueError(
                    f"`services.{name}`: no request would ever reach it; write a route to it under "
                    f"crm:edge.routes, such as {{prefix: /api/v1/{name}, service: {name}}}"
                )

    def _check_scaling(self, key: str, replicas: int | Autoscale, balance: Balance) -> None:
        where = "edge" if key == "app" else key
        if isinstance(replicas, Autoscale):
            if self.target == "docker":
                raise ValueError(
                    f"`{key}.replicas`: Docker has no autoscaler; "
                    f"write a number, such as replicas: {replicas.min}"
                )
            if balance.algorithm not in ("round_robin", "random") or balance.sticky:
                asked = "sticky" if balance.sticky else f"algorithm: {balance.algorithm}"
                raise ValueError(
                    f"`{where}.{asked}` chooses among replicas by name, and "
                    "those of an autoscaler have none; write round_robin or random"
                )
        elif balance.weights and len(balance.weights) != replicas:
            raise ValueError(
                f"`{where}.weights` has {len(balance.weights)} weights for "
                f"{replicas} {key.rpartition('.')[2]} replicas; write one per replica"
            )
