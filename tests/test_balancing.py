"""The load balancing, worked out: pools, routes, limits, connections."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from stacks import plan, stack_file
from stacks.balancing import TWO_YEARS, EdgePlan, Pool
from stacks.errors import CrmError

PROXIES = ("nginx", "haproxy")
SECRET = {"env": "CRM_PASSWORD"}


def made(proxy: str = "nginx", *, edge: dict[str, Any] | None = None, **config: Any) -> EdgePlan:
    asked = {"edge": {"proxy": proxy, **(edge or {})}, **config}
    return plan.make("dev", stack_file.parse(asked, "dev")).edge


def pool(proxy: str = "nginx", *, edge: dict[str, Any] | None = None, **config: Any) -> Pool:
    (only,) = made(proxy, edge=edge, **config).pools
    return only


# --- Pools and their replicas --------------------------------------------------------------------


@pytest.mark.parametrize("proxy", PROXIES)
def test_numbers_of_replicas_are_their_own_for_good(proxy: str) -> None:
    few, many = (
        {b.name: (b.number, b.next_number) for b in pool(proxy, app={"replicas": n}).backends}
        for n in (2, 14)
    )
    assert few.items() <= many.items()
    numbers = [number for pair in many.values() for number in pair]
    assert len(set(numbers)) == len(numbers) == 28


def test_numbers_of_replicas_and_of_their_successors_never_meet() -> None:
    database = {"host": "db", "password": SECRET, "owner_password": SECRET}
    backends = pool(app={"replicas": 500}, database={"external": database}).backends
    assert not {b.number for b in backends} & {b.next_number for b in backends}
    assert [b.number for b in backends] == list(range(1, 501))


def test_weights_go_to_replicas_in_order() -> None:
    backends = pool(
        edge={"algorithm": "weighted", "weights": [3, 2, 1]}, app={"replicas": 3}
    ).backends
    assert [(b.name, b.weight) for b in backends] == [("app-1", 3), ("app-2", 2), ("app-3", 1)]


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    "weights", [[1, 1], [3, 2], [16, 1], [17, 5], [128, 1], [200, 100], [256, 1], [256, 256]]
)
def test_weights_keep_their_ratios_and_are_ones_the_proxy_takes(
    proxy: str, weights: list[int]
) -> None:
    one, other = pool(
        proxy, edge={"algorithm": "weighted", "weights": weights}, app={"replicas": 2}
    ).backends
    assert Fraction(one.weight, other.weight) == Fraction(*weights)
    # https://docs.haproxy.org/3.2/configuration.html#5.2-weight
    assert 1 <= min(one.weight, other.weight) <= max(one.weight, other.weight) <= 256


def test_replicas_have_many_places_on_haproxys_ring() -> None:
    assert {b.weight for b in pool("haproxy", app={"replicas": 3}).backends} == {16}
    assert {b.weight for b in pool("nginx", app={"replicas": 3}).backends} == {1}


@pytest.mark.parametrize(
    ("key", "name", "variable"),
    [
        ("hash_header", "X-Customer-ID", "x_customer_id"),
        ("hash_cookie", "Session_ID", "session_id"),
    ],
)
def test_hashed_key_is_written_as_nginxs_variables_are(key: str, name: str, variable: str) -> None:
    found = pool(edge={"algorithm": "consistent_hash", key: name})
    assert found.hash_variable == variable
    assert {"hash_header": found.hash_header, "hash_cookie": found.hash_cookie}[key] == name


def test_clients_address_is_hashed_without_a_variable() -> None:
    assert pool(edge={"algorithm": "consistent_hash"}).hash_variable == ""


@pytest.mark.parametrize("proxy", PROXIES)
def test_autoscaled_app_is_one_backend_without_a_number(proxy: str) -> None:
    found = pool(proxy, target="kubernetes", app={"replicas": {"min": 2, "max": 6}})
    assert [(b.name, b.host) for b in found.backends] == [("app", "app")]
    assert found.many_behind
    assert not pool(proxy, target="kubernetes").many_behind
    # The one name stands for as many replicas as there may be.
    assert found.in_flight == 6 * pool(proxy).in_flight


# --- Limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpus", "memory", "nginx", "haproxy"), [(0.5, 256, 64, 8), (2, 512, 128, 16)]
)
def test_requests_in_flight_follow_the_workers(
    cpus: float, memory: int, nginx: int, haproxy: int
) -> None:
    app = {"cpus": cpus, "memory_mib": memory}
    # nginx has no queue: what waits, waits in the replica's own.
    assert pool("nginx", app=app).in_flight == nginx
    assert pool("haproxy", app=app).in_flight == haproxy


@pytest.mark.parametrize("proxy", PROXIES)
def test_requests_in_flight_are_as_asked(proxy: str) -> None:
    assert pool(proxy, edge={"limits": {"in_flight_per_replica": 5}}).in_flight == 5


def test_queue_grows_with_replicas_unless_given() -> None:
    assert [pool("haproxy", app={"replicas": n}).queue for n in (1, 3)] == [32, 96]
    asked = pool("haproxy", edge={"limits": {"queue": 7, "queue_seconds": 9}})
    assert (asked.queue, asked.queue_seconds) == (7, 9)
    assert pool("haproxy").queue_seconds == 2


def test_client_may_send_two_seconds_requests_at_once() -> None:
    limited = made(edge={"limits": {"client_requests_per_second": 5, "body_kib": 3}})
    assert (limited.client_requests_per_second, limited.client_burst) == (5, 10)
    assert limited.body_bytes == 3072
    assert made().client_requests_per_second == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"edge": {"proxy": "haproxy", "limits": {"body_kib": 16385}}},
            "crm:edge.limits.body_kib: 4 bodies of 16385 KiB at once are too much for a replica of "
            "256 MiB; write 16384 or less, or more memory in crm:app.memory_mib",
        ),
        (
            {
                "edge": {
                    "proxy": "haproxy",
                    "limits": {"body_kib": 16384},
                    "routes": [{"prefix": "/a", "service": "orders"}],
                },
                "services": {"orders": {"health_path": "/h", "memory_mib": 128}},
            },
            "crm:edge.limits.body_kib: 4 bodies of 16384 KiB at once are too much for a replica of "
            "128 MiB; write 8192 or less, or more memory in crm:services.orders.memory_mib",
        ),
    ],
)
def test_bodies_that_no_replica_could_hold_are_refused(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(CrmError) as refused:
        plan.make("dev", stack_file.parse(config, "dev"))
    assert str(refused.value) == f"stacks/config/Pulumi.dev.yaml: {message}"


@pytest.mark.parametrize(
    ("edge", "by_address"),
    [
        ({}, False),
        ({"limits": {"client_requests_per_second": 5}}, True),
        ({"algorithm": "consistent_hash"}, True),
        ({"algorithm": "consistent_hash", "hash_cookie": "id"}, False),
    ],
)
def test_clients_address_counts_where_it_is_limited_or_hashed(
    edge: dict[str, Any], by_address: bool
) -> None:
    assert made(edge=edge).by_address is by_address


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (2, 3), (5, 6)])
def test_replicas_asked_are_the_first_one_and_the_retries(retries: int, tries: int) -> None:
    assert made(edge={"retries": retries}).tries == tries


# --- Routes --------------------------------------------------------------------------------------


def test_longest_prefix_is_tried_first_whatever_the_order_of_the_file() -> None:
    prefixes = ["/api", "/api/v1/orders", "/b", "/api/v1", "/a"]
    routes = [{"prefix": prefix, "service": "app"} for prefix in prefixes]
    for order in (routes, routes[::-1]):
        found = made(edge={"routes": order}).routes
        assert [route.prefix for route in found] == [
            "/api/v1/orders",
            "/api/v1",
            "/api",
            "/a",
            "/b",
        ]
        assert [route.number for route in found] == [1, 2, 3, 4, 5]


def test_route_is_as_patient_as_it_says_or_as_all() -> None:
    routes = [
        {"prefix": "/long", "service": "app", "read_seconds": 300},
        {"prefix": "/usual", "service": "app"},
    ]
    found = made(edge={"routes": routes, "timeouts": {"read_seconds": 7}}).routes
    assert {route.prefix: route.read_seconds for route in found} == {"/long": 300, "/usual": 7}


def test_each_service_is_a_pool_with_a_balance_of_its_own() -> None:
    edge = made(
        "haproxy",
        edge={"routes": [{"prefix": "/a", "service": "orders"}], "algorithm": "first"},
        services={
            "orders": {
                "health_path": "/readyz",
                "replicas": 2,
                "sticky": True,
                "slow_start_seconds": 10,
            }
        },
    )
    app, orders = edge.pools
    assert (app.name, app.algorithm, app.sticky, app.slow_start_seconds) == (
        "app",
        "first",
        False,
        0,
    )
    assert (orders.name, orders.algorithm, orders.sticky) == ("orders", "round_robin", True)
    assert (orders.slow_start_seconds, orders.health_path) == (10, "/readyz")
    assert [b.host for b in orders.backends] == ["orders-1", "orders-2"]
    assert [route.pool for route in edge.routes] == ["orders"]


# --- Connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [0.1, 1, 1.5, 3, 7, 64])
@pytest.mark.parametrize("memory", [32, 33, 64, 100, 4096, 2**20])
def test_connections_of_all_threads_are_those_of_the_edge(cpus: float, memory: int) -> None:
    edge = made(edge={"cpus": cpus, "memory_mib": memory})
    # nginx's worker_connections are each worker's own.
    assert edge.connections_per_thread * edge.threads >= edge.max_connections
    assert (edge.connections_per_thread - 1) * edge.threads < edge.max_connections
    assert edge.files_per_thread >= 2 * edge.connections_per_thread


@pytest.mark.parametrize("memory", [32, 64, 4096, 2**20])
def test_connections_of_the_edge_follow_its_memory(memory: int) -> None:
    edge = made(edge={"memory_mib": memory})
    assert edge.max_connections <= 60_000
    # Two sockets and their buffers each, about 32 KiB; half of the memory at most.
    assert edge.max_connections / 32 <= memory / 2


@pytest.mark.parametrize(
    ("cpus", "memory", "threads"),
    [(0.1, 32, 1), (1.5, 32, 2), (300, 32, 4), (300, 64, 8), (64, 1024, 64), (1024, 2**20, 468)],
)
def test_threads_follow_cpus_and_each_has_its_share_of_connections(
    cpus: float, memory: int, threads: int
) -> None:
    # nginx does not start where a worker has fewer connections than there are sockets to listen on.
    edge = made(edge={"cpus": cpus, "memory_mib": memory})
    assert edge.threads == threads
    assert edge.connections_per_thread >= 128


@pytest.mark.parametrize(("replicas", "kib"), [(1, 512), (128, 512), (129, 516), (500, 2000)])
def test_memory_that_nginxs_workers_share_grows_with_the_replicas(replicas: int, kib: int) -> None:
    database = {"host": "db", "password": SECRET, "owner_password": SECRET}
    assert pool(app={"replicas": replicas}, database={"external": database}).zone_kib == kib


# --- The door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proxy", "image"), [("nginx", "nginx:1.30.0"), ("haproxy", "haproxy:")])
def test_proxy_decides_the_image(proxy: str, image: str) -> None:
    assert made(proxy).image.startswith(image)


@pytest.mark.parametrize(
    ("edge", "url", "entry"),
    [
        ({}, "http://127.0.0.1:8080", 8080),
        ({"address": "0.0.0.0"}, "http://127.0.0.1:8080", 8080),
        ({"address": "10.0.0.1"}, "http://10.0.0.1:8080", 8080),
        ({"tls": {}}, "https://localhost:8443", 8443),
        ({"tls": {"port": 443, "hosts": ["crm.example.com", "b"]}}, "https://crm.example.com", 443),
    ],
)
def test_url_is_the_one_people_come_in_by(edge: dict[str, Any], url: str, entry: int) -> None:
    found = made(edge=edge)
    assert (found.url, found.entry) == (url, entry)


@pytest.mark.parametrize(
    ("tls", "seconds"),
    [
        ({}, 0),
        ({"hsts_seconds": 60}, 60),
        ({"certificate": SECRET, "key": SECRET}, TWO_YEARS),
        ({"certificate": SECRET, "key": SECRET, "hsts_seconds": 0}, 0),
    ],
)
def test_browsers_are_told_to_insist_only_on_a_certificate_that_lasts(
    tls: dict[str, Any], seconds: int
) -> None:
    found = made(edge={"tls": tls}).tls
    assert found is not None
    assert found.hsts_seconds == seconds


@pytest.mark.parametrize(("target", "change"), [("docker", True), ("kubernetes", False)])
def test_addresses_change_on_docker_alone(target: str, change: bool) -> None:
    assert made(target=target).addresses_change is change
