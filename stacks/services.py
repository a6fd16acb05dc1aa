"""The services the CRM consists of, worked out: replicas, sizes, workers. Pure: no I/O."""

from __future__ import annotations

import math

from msgspec import Struct

from stacks.spec import App, Autoscale, Service, StackSpec
from stacks.spec_edge import Balance

THREADS = 4
"""Of each worker process."""


def service_key(name: str) -> str:
    """The key of a stack file that says what the service ``name`` is, without its namespace."""
    return "app" if name == "app" else f"services.{name}"


class ScalePlan(Struct, frozen=True):
    """Between how many copies an autoscaler chooses, and by which use of their CPUs."""

    min: int
    max: int
    cpu_percent: int


class ServicePlan(Struct, frozen=True):
    """A service of the CRM: ``workers`` processes of ``threads`` threads in each of ``instances``,
    or in each copy of the only one where there is a ``scale``. ``balance`` says how requests are
    spread over them."""

    name: str
    instances: tuple[str, ...]
    scale: ScalePlan | None
    port: int
    health_path: str
    cpus: float
    memory_mib: int
    workers: int
    threads: int
    balance: Balance

    @property
    def most(self) -> int:
        """How many replicas there may be at the same time, apart from roll-outs."""
        return self.scale.max if self.scale else len(self.instances)

    @property
    def at_once(self) -> int:
        """How many requests one replica works on at the same time."""
        return self.workers * self.threads


def numbered(name: str, count: int) -> tuple[str, ...]:
    """The names of so many instances of one kind."""
    return tuple(f"{name}-{i}" for i in range(1, count + 1))


def work_out(spec: StackSpec) -> tuple[ServicePlan, ...]:
    """The app, then every other service by name."""
    port = spec.app.port
    return (
        _service("app", spec.app, spec.edge, port),
        *(_service(n, service, service, port) for n, service in sorted(spec.services.items())),
    )


def _service(name: str, asked: App | Service, balance: Balance, port: int) -> ServicePlan:
    scale = None
    if isinstance(asked.replicas, Autoscale):
        scale = ScalePlan(asked.replicas.min, asked.replicas.max, asked.replicas.cpu_percent)
        instances: tuple[str, ...] = (name,)
    else:
        instances = numbered(name, asked.replicas)
    return ServicePlan(
        name=name,
        instances=instances,
        scale=scale,
        port=port,
        health_path=asked.health_path,
        cpus=asked.cpus,
        memory_mib=asked.memory_mib,
        # A worker process holds about 100 MiB; more of them than cores only wait for each other.
        workers=max(1, min(math.ceil(asked.cpus), asked.memory_mib // 128)),
        threads=THREADS,
        balance=balance,
    )
