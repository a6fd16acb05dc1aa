"""The services the CRM consists of: replicas, sizes, workers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stacks import services, stack_file
from stacks.services import ScalePlan, ServicePlan

ROUTES = {
    "routes": [{"prefix": f"/api/v1/{name}", "service": name} for name in ("users", "orders")]
}


def made(**config: Any) -> tuple[ServicePlan, ...]:
    return services.work_out(stack_file.parse(config, "dev"))


@pytest.mark.parametrize(
    ("cpus", "memory", "workers"),
    [(0.1, 128, 1), (0.5, 256, 1), (1, 256, 1), (2, 1024, 2), (2.5, 1024, 3), (8, 256, 2)],
)
def test_workers_follow_cores_and_memory(cpus: float, memory: int, workers: int) -> None:
    (app,) = made(app={"cpus": cpus, "memory_mib": memory})
    assert app.workers == workers
    assert app.workers <= math.ceil(cpus)
    assert app.workers * 100 <= memory
    assert app.at_once == workers * 4


def test_app_comes_first_and_others_by_name() -> None:
    made_of = {"health_path": "/healthz", "replicas": 2}
    found = made(edge=ROUTES, services={"users": made_of, "orders": made_of})
    assert [service.name for service in found] == ["app", "orders", "users"]
    assert found[1].instances == ("orders-1", "orders-2")


def test_service_has_sizes_of_its_own_and_the_apps_port() -> None:
    route = {"prefix": "/api/v1/orders", "service": "orders"}
    own = {"health_path": "/readyz", "replicas": 2, "cpus": 2, "memory_mib": 512, "sticky": True}
    app, orders = made(
        edge={"routes": [route], "algorithm": "random"},
        app={"port": 8001, "cpus": 0.25},
        services={"orders": own},
    )
    assert (orders.port, orders.cpus, orders.memory_mib) == (8001, 2, 512)
    assert (orders.workers, orders.most, orders.health_path) == (2, 2, "/readyz")
    # How requests are spread over a service is its own, too.
    assert (orders.balance.algorithm, orders.balance.sticky) == ("round_robin", True)
    assert (app.balance.algorithm, app.balance.sticky) == ("random", False)
    assert (app.cpus, app.workers, app.health_path) == (0.25, 1, "/healthz")


def test_autoscaled_service_is_one_instance_without_a_number() -> None:
    route = {"prefix": "/api/v1/orders", "service": "orders"}
    scaled = {"replicas": {"min": 2, "max": 6}, "health_path": "/healthz"}
    app, orders = made(target="kubernetes", edge={"routes": [route]}, services={"orders": scaled})
    assert (orders.instances, orders.scale, orders.most) == (("orders",), ScalePlan(2, 6, 70), 6)
    assert (app.instances, app.scale, app.most) == (("app-1",), None, 1)
