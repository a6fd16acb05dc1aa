"""A thing to run, said once: both targets read the same list of workloads."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from stacks.services import service_key

STACK_LABEL = "crm.stack"
"""On whatever a target makes: the stack it belongs to."""

FILES_PATH = "/etc/crm"
"""Where a workload finds its rendered files."""

SECRETS_PATH = f"{FILES_PATH}/secrets"
"""Where it finds its secrets, each in a file of its name."""

DATA_PATH = "/data"
"""Where a workload with ``data`` finds its volume."""


class Port(Struct, frozen=True, kw_only=True):
    """A TCP port a workload listens on; ``publish`` is the host address it is offered at.
    ``peers`` keeps it for the workload's own instances; at one with ``metrics`` Prometheus asks."""

    name: str
    number: int
    publish: str | None = None
    peers: bool = False
    metrics: bool = False


class Health(Struct, frozen=True, kw_only=True):
    """A command that succeeds when the workload can serve; times in seconds.

    ``alive`` is asked, where it differs, by what restarts a workload that does not recover: a
    failing dependency must not make it fail.
    """

    command: tuple[str, ...]
    alive: tuple[str, ...] | None = None
    interval_seconds: int = 2
    timeout_seconds: int = 3
    retries: int = 5
    start_seconds: int = 60
    """How long it may take to become healthy for the first time."""


class Reload(Struct, frozen=True, kw_only=True):
    """How changed files take effect without a restart: ``validate`` runs on the new files in a
    container of their own; if it succeeds they are put in place and ``signal`` is sent."""

    validate: tuple[str, ...]
    signal: str


class Data(Struct, frozen=True, kw_only=True):
    """A volume at ``/data``. ``protect`` keeps it when the stack is destroyed; ``size_gib`` is
    asked for where volumes have a size. ``folder`` is where on the machine it is, if not anywhere.
    ``shared`` says that another workload has it too; that one says whose it is by ``of``.
    """

    name: str
    protect: bool
    size_gib: int = 1
    folder: str | None = None
    shared: bool = False
    of: str | None = None


class Scale(Struct, frozen=True, kw_only=True):
    """From ``min`` to ``max`` equal copies of the one instance, so many that each uses
    ``cpu_percent`` of its ``cpus``. Each copy finds its own name in the variable ``name_env``."""

    min: int
    max: int
    cpu_percent: int
    name_env: str


class Instance(Struct, frozen=True, kw_only=True):
    """One running copy. ``host`` is the name others reach it by, which equal ones may share;
    ``files`` (name → text) are its own, beside those of its workload."""

    name: str
    host: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    data: Data | None = None

    @property
    def own_data(self) -> Data | None:
        """The volume that comes with it: not one that is another workload's."""
        return self.data if self.data is not None and self.data.of is None else None


class Workload(Struct, frozen=True, kw_only=True):
    """A service or a job and everything a target needs to run it.

    ``cpus`` are cores and ``memory_mib`` MiB, for each instance. ``files`` map names under
    ``FILES_PATH`` to text. ``reload`` of ``None`` means that a changed file replaces the instance;
    but ``followed`` are secrets whose change it takes up by itself.
    ``stop_first`` says that an instance is stopped before its successor starts, as one that keeps
    something must be. ``run_once`` is a job; ``schedule`` (a cron line, UTC) makes it run again at
    these times. ``scale`` leaves the number of copies to an autoscaler. ``after`` and
    ``connects_to`` name other workloads: what must be there before, and what it may open
    connections to (networks follow from the latter).
    ``reaches_outside`` lets it open connections to what is not part of the stack.
    """

    name: str
    tier: str
    image: str
    command: tuple[str, ...]
    uid: int
    cpus: float
    memory_mib: int
    instances: tuple[Instance, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    followed: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    tmpfs_mib: Mapping[str, int] = field(default_factory=lambda: {"/run/crm": 8, "/tmp": 16})  # noqa: S108
    health: Health | None = None
    reload: Reload | None = None
    stop_first: bool = False
    stop_signal: str = "SIGTERM"
    stop_grace_seconds: int = 30
    run_once: bool = False
    schedule: str | None = None
    scale: Scale | None = None
    after: tuple[str, ...] = ()
    connects_to: tuple[str, ...] = ()
    reaches_outside: bool = False

    def sharing(self, host: str) -> tuple[Instance, ...]:
        """The instances that are reached by ``host``."""
        return tuple(instance for instance in self.instances if instance.host == host)

    def files_of(self, instance: Instance) -> dict[str, str]:
        """All files ``instance`` sees, by name, sorted."""
        return dict(sorted({**self.files, **instance.files}.items()))


def size_key(workload: Workload) -> str | None:
    """The key of a stack file that ``workload``'s sizes are under, without its namespace; ``None``
    where a stack cannot say them."""
    if workload.tier == "app":
        return service_key(workload.name)
    own = {name: name for name in ("edge", "database", "cache")}
    own |= {"backup": "database.backup", "offsite": "database.backup.s3"}
    return own.get(workload.name)
