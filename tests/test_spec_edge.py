"""What a stack file may ask of the load balancing, and how everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import stack_file
from stacks.spec import Service
from stacks.spec_edge import Route
from tests.refusals import FILE, SECRET, refusal

ORDERS = {"health_path": "/healthz"}
TO_ORDERS = {"prefix": "/api/v1/orders", "service": "orders"}


def with_orders(edge: dict[str, Any] | None = None, **service: Any) -> dict[str, Any]:
    """A stack with the service ``orders`` and a route to it."""
    return {
        "edge": {"routes": [TO_ORDERS], **(edge or {})},
        "services": {"orders": {**ORDERS, **service}},
    }


# --- Algorithms and weights ----------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0, -1, 257, 1.5, "2"])
def test_weight_out_of_range_names_its_place(weight: object) -> None:
    assert refusal({"edge": {"algorithm": "weighted", "weights": [1, weight]}}) == (
        f"{FILE}: crm:edge.weights[1]: {weight!r} is not allowed; "
        "write a whole number from 1 to 256, for example 2"
    )


@pytest.mark.parametrize("algorithm", ["fastest", "Round_Robin", "", None, 1])
def test_unknown_algorithm_is_told_which_there_are(algorithm: object) -> None:
    assert refusal({"edge": {"algorithm": algorithm}}) == (
        f"{FILE}: crm:edge.algorithm: {algorithm!r} is not allowed; write one of "
        "consistent_hash, first, least_connections, random, round_robin, weighted"
    )


@pytest.mark.parametrize("weights", [[1], [1, 2, 3]])
def test_weights_that_are_not_one_for_each_replica_are_counted(weights: list[int]) -> None:
    weighted: dict[str, Any] = {"algorithm": "weighted", "weights": weights}
    counted = f"{len(weights)} weights for 2"
    assert refusal({"app": {"replicas": 2}, "edge": weighted}) == (
        f"{FILE}: `edge.weights` has {counted} app replicas; write one per replica"
    )
    assert refusal(with_orders(replicas=2, **weighted)) == (
        f"{FILE}: `services.orders.weights` has {counted} orders replicas; write one per replica"
    )


CLASHES: list[tuple[dict[str, Any], str]] = [
    ({"algorithm": "weighted"}, "`algorithm: weighted` and `weights` go together; write one we"),
    ({"weights": [1]}, "`algorithm: weighted` and `weights` go together; write one weight per r"),
    ({"hash_header": "X-Id"}, "`hash_header` is for `algorithm: consistent_hash` only"),
    ({"hash_cookie": "id"}, "`hash_cookie` is for `algorithm: consistent_hash` only"),
    (
        {"algorithm": "consistent_hash", "hash_header": "X-Id", "hash_cookie": "id"},
        "`hash_header` and `hash_cookie` are two keys; write one of them",
    ),
    (
        {"algorithm": "consistent_hash", "sticky": True},
        "`sticky` and `algorithm: consistent_hash` both say where a client goes; write one of them",
    ),
]


@pytest.mark.parametrize(("balance", "sentence"), CLASHES)
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_ways_to_choose_that_clash_are_refused(
    proxy: str, balance: dict[str, Any], sentence: str
) -> None:
    message = refusal({"edge": {"proxy": proxy, **balance}})
    assert message.startswith(f"{FILE}: crm:edge: {sentence}")
    message = refusal(with_orders({"proxy": proxy}, **balance))
    assert message.startswith(f"{FILE}: crm:services.orders: {sentence}")


# --- What one of the proxies lacks ---------------------------------------------------------------

LACKING: list[tuple[dict[str, Any], str]] = [
    (
        {"algorithm": "first"},
        "`algorithm: first` is HAProxy's, and nginx has no such; "
        "write proxy: haproxy, or algorithm: least_connections",
    ),
    (
        {"slow_start_seconds": 30},
        "`slow_start_seconds`: open-source nginx has no slow start; "
        "write proxy: haproxy, or leave it out",
    ),
]


@pytest.mark.parametrize(("balance", "sentence"), LACKING)
def test_what_nginx_lacks_is_refused_with_the_alternative(
    balance: dict[str, Any], sentence: str
) -> None:
    assert refusal({"edge": balance}) == f"{FILE}: crm:edge: {sentence}"
    assert refusal(with_orders(**balance)) == f"{FILE}: `services.orders`: {sentence}"
    stack_file.parse({"edge": {"proxy": "haproxy", **balance}}, "dev")
    stack_file.parse(with_orders({"proxy": "haproxy"}, **balance), "dev")


@pytest.mark.parametrize("key", ["queue", "queue_seconds"])
def test_queue_is_refused_with_nginx(key: str) -> None:
    assert refusal({"edge": {"limits": {key: 5}}}) == (
        f"{FILE}: crm:edge: `limits.{key}`: open-source nginx has no queue; write proxy: haproxy, "
        "or a larger limits.in_flight_per_replica"
    )
    stack_file.parse({"edge": {"proxy": "haproxy", "limits": {key: 5}}}, "dev")


def test_bodies_that_nginx_has_no_place_for_are_refused() -> None:
    assert refusal({"edge": {"limits": {"body_kib": 2049}}}) == (
        f"{FILE}: crm:edge: `limits.body_kib`: nginx holds bodies until they are whole, and has "
        "16 MiB for all of them; write 2048 or less, or proxy: haproxy, which passes them on as "
        "they come"
    )
    stack_file.parse({"edge": {"limits": {"body_kib": 2048}}}, "dev")
    stack_file.parse({"edge": {"proxy": "haproxy", "limits": {"body_kib": 2049}}}, "dev")


@pytest.mark.parametrize(
    "algorithm", ["round_robin", "random", "least_connections", "consistent_hash"]
)
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_algorithm_that_both_proxies_have_is_taken(proxy: str, algorithm: str) -> None:
    edge = stack_file.parse({"edge": {"proxy": proxy, "algorithm": algorithm}}, "dev").edge
    assert (edge.proxy, edge.algorithm) == (proxy, algorithm)


# --- Services and routes -------------------------------------------------------------------------


def test_service_with_a_route_is_taken() -> None:
    spec = stack_file.parse(with_orders(replicas=2), "dev")
    assert spec.services == {"orders": Service(replicas=2, health_path="/healthz")}
    assert spec.edge.routes == (Route(prefix="/api/v1/orders", service="orders"),)


def test_service_without_health_path_is_told_what_one_is() -> None:
    config = {"edge": {"routes": [TO_ORDERS]}, "services": {"orders": {"replicas": 2}}}
    assert refusal(config).startswith(
        f"{FILE}: crm:services.orders.health_path: is missing; write a path, a slash first"
    )


def test_service_without_a_route_is_shown_one() -> None:
    assert refusal({"services": {"orders": ORDERS}}) == (
        f"{FILE}: `services.orders`: no request would ever reach it; write a route to it under "
        "crm:edge.routes, such as {prefix: /api/v1/orders, service: orders}"
    )


def test_route_to_an_unknown_service_is_told_which_there_are() -> None:
    route = {"prefix": "/api/v1/users", "service": "users"}
    assert refusal(with_orders({"routes": [TO_ORDERS, route]})) == (
        f"{FILE}: `edge.routes`: /api/v1/users goes to `users`, and there is no such service; "
        "write one of app, orders, or add it under crm:services"
    )


def test_two_routes_with_one_prefix_are_refused() -> None:
    again = {"prefix": "/api/v1/orders", "service": "app"}
    assert refusal(with_orders({"routes": [TO_ORDERS, again]})) == (
        f"{FILE}: crm:edge: `routes`: two have the prefix /api/v1/orders; write each once"
    )


@pytest.mark.parametrize("prefix", ["/edge", "/edge/healthz", "/edge/healthz/more", "/edge/x"])
def test_prefix_that_is_the_edges_own_is_refused(prefix: str) -> None:
    # nginx would refuse the second `location = /edge/healthz`.
    assert refusal({"edge": {"routes": [{"prefix": prefix, "service": "app"}]}}) == (
        f"{FILE}: crm:edge: `routes`: {prefix} is the edge's own, which answers /edge/healthz "
        "itself; write another prefix, such as /api/v1/orders"
    )


def test_prefix_that_only_begins_as_the_edges_own_is_taken() -> None:
    route = {"prefix": "/edges", "service": "app"}
    assert stack_file.parse({"edge": {"routes": [route]}}, "dev").edge.routes[0].prefix == "/edges"


@pytest.mark.parametrize(
    "prefix", ["/api/", "/", "api", "/a;b", "/a\nb", "/a{b", "/a}b", "/a b", "/a$b", "/a/../b", ""]
)
def test_prefix_that_is_no_plain_path_is_refused(prefix: str) -> None:
    message = refusal({"edge": {"routes": [{"prefix": prefix, "service": "app"}]}})
    assert message == (
        f"{FILE}: crm:edge.routes[0].prefix: {prefix!r} is not allowed; "
        "write a path, a slash first and none last, for example /api/v1/orders"
    )


@pytest.mark.parametrize(
    "name",
    [
        *("app", "backup", "cache", "database", "drill", "edge", "job", "offsite"),
        *("partitions", "restore", "schema", "switch"),
        *("allow-dns", "deny-all", "namespace", "registry-pull", "service-account"),
        *("app-from-edge", "app-to-cache", "partitions-data", "backup-1-drill"),
        *(
            "orders-files",
            "orders-next",
            "database-followed",
            "orders-1",
            "app-1",
            "Orders",
            "orders_a",
            "o" * 21,
            "-a",
            "a-",
            "a\n",
            "1",
        ),
    ],
)
def test_service_whose_name_is_taken_or_no_name_is_refused(name: str) -> None:
    config = {
        "edge": {"routes": [{"prefix": "/a", "service": "app"}]},
        "services": {name: ORDERS},
    }
    message = refusal(config)
    assert f"{name!r} is not allowed as a name; write lower-case letters, digits and" in message
    taken = (
        "allow-dns, app, backup, cache, database, deny-all, drill, edge, job, namespace, offsite, "
        "partitions, registry-pull, restore, schema, service-account or switch"
    )
    assert f"not {taken}, nor with" in message


# --- Autoscalers ---------------------------------------------------------------------------------

SCALED = {"min": 2, "max": 6}


def test_autoscaled_service_on_docker_is_refused() -> None:
    assert refusal(with_orders(replicas=SCALED)) == (
        f"{FILE}: `services.orders.replicas`: Docker has no autoscaler; "
        "write a number, such as replicas: 2"
    )
    stack_file.parse({"target": "kubernetes", **with_orders(replicas=SCALED)}, "dev")


@pytest.mark.parametrize(
    "balance",
    [
        {"algorithm": "weighted", "weights": [1, 2]},
        {"algorithm": "least_connections"},
        {"algorithm": "consistent_hash"},
        {"algorithm": "consistent_hash", "hash_cookie": "id"},
        {"sticky": True},
    ],
)
def test_choice_by_name_is_refused_where_replicas_have_none(balance: dict[str, Any]) -> None:
    asked = "sticky" if "sticky" in balance else f"algorithm: {balance['algorithm']}"
    sentence = (
        "chooses among replicas by name, and those of an autoscaler have none; "
        "write round_robin or random"
    )
    kubernetes: dict[str, Any] = {"target": "kubernetes"}
    scaled_app = {**kubernetes, "app": {"replicas": SCALED}, "edge": balance}
    assert refusal(scaled_app) == f"{FILE}: `edge.{asked}` {sentence}"
    scaled_orders = {**kubernetes, **with_orders(replicas=SCALED, **balance)}
    assert refusal(scaled_orders) == f"{FILE}: `services.orders.{asked}` {sentence}"


# --- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["a\nb", "a\r\nb", "a\0b", "a\x7fb", "a;b", "a b", "a{b", "Crm", "-a", "a..b", ""]
)
def test_host_that_is_no_name_is_refused(host: str) -> None:
    message = refusal({"edge": {"tls": {"hosts": ["localhost", host]}}})
    assert message.startswith(f"{FILE}: crm:edge.tls.hosts[1]: ")
    assert "not allowed; write lower-case letters, digits, dashes and dots, for exam" in message
    assert not {character for character in message if ord(character) < 32}


def test_tls_without_hosts_is_refused() -> None:
    assert refusal({"edge": {"tls": {"hosts": []}}}) == (
        f"{FILE}: crm:edge.tls: `hosts` is empty; write the names people use, such as [localhost]"
    )


def test_host_that_is_written_twice_is_refused() -> None:
    # nginx would refuse the second one: "conflicting parameter".
    assert refusal({"edge": {"tls": {"hosts": ["b", "a.b", "c", "a.b"]}}}) == (
        f"{FILE}: crm:edge.tls: `hosts`: a.b is written twice; keep one"
    )


@pytest.mark.parametrize("key", ["certificate", "key"])
def test_certificate_without_its_key_is_refused(key: str) -> None:
    assert refusal({"edge": {"tls": {key: SECRET}}}) == (
        f"{FILE}: crm:edge.tls: `certificate` and `key` go together; write both, such as "
        "certificate: {file: crm.example.com.pem} and key: {file: crm.example.com.key}"
    )
    both = stack_file.parse({"edge": {"tls": {"certificate": SECRET, "key": SECRET}}}, "dev")
    assert both.edge.tls is not None


def test_key_written_into_the_file_is_refused_and_not_repeated() -> None:
    message = refusal({"edge": {"tls": {"key": "-----BEGIN PRIVATE KEY-----hunter2"}}})
    assert message == (
        f"{FILE}: crm:edge.tls.key: a secret is never written here; "
        "name where it is read from, such as {env: CRM_DATABASE_PASSWORD}"
    )


def test_tls_of_the_edge_behind_an_ingress_is_refused() -> None:
    kubernetes = {"expose": "ingress", "ingress_host": "crm.example.com"}
    config = {"target": "kubernetes", "kubernetes": kubernetes, "edge": {"tls": {}}}
    assert refusal(config) == (
        f"{FILE}: `edge.tls`: an Ingress ends TLS itself, with a certificate of the cluster's; "
        "leave it out, or write expose: load_balancer"
    )


def test_redirect_to_a_node_port_that_nobody_knows_is_refused() -> None:
    def stack(tls: dict[str, Any] | None, **kubernetes: Any) -> dict[str, Any]:
        door = {"expose": "node_port", **kubernetes}
        return {"target": "kubernetes", "kubernetes": door, "edge": {"tls": tls}}

    assert refusal(stack({})) == (
        f"{FILE}: `edge.tls.redirect`: plain HTTP leads to the node port of HTTPS, and which one "
        "the cluster will choose is not known; write kubernetes.node_port: 30443, or "
        "redirect: false"
    )
    for right in (stack({}, node_port=30443), stack({"redirect": False}), stack(None)):
        stack_file.parse(right, "dev")


# --- Where the client's address is not known -----------------------------------------------------

INGRESS = {"expose": "ingress", "ingress_host": "crm.example.com"}


@pytest.mark.parametrize(
    ("edge", "service", "sentence"),
    [
        (
            {"limits": {"client_requests_per_second": 20}},
            {},
            "`edge.limits.client_requests_per_second` goes by the client's address, and behind an "
            "Ingress all have its controller's; leave it out, as controllers have limits of their "
            "own, or write expose: load_balancer",
        ),
        (
            {"algorithm": "consistent_hash"},
            {},
            "`edge.algorithm: consistent_hash` goes by the client's address, and behind an Ingress "
            "all have its controller's; write a hash_header or a hash_cookie, or expose: "
            "load_balancer",
        ),
        (
            {},
            {"algorithm": "consistent_hash"},
            "`services.orders.algorithm: consistent_hash` goes by the client's address, and behind "
            "an Ingress all have its controller's; write a hash_header or a hash_cookie, or "
            "expose: load_balancer",
        ),
    ],
)
def test_what_goes_by_the_clients_address_is_refused_behind_an_ingress(
    edge: dict[str, Any], service: dict[str, Any], sentence: str
) -> None:
    config = {"target": "kubernetes", **with_orders(edge, **service)}
    assert refusal({**config, "kubernetes": INGRESS}) == f"{FILE}: {sentence}"
    for other in ({}, {"expose": "node_port"}):
        stack_file.parse({**config, "kubernetes": other}, "dev")
    stack_file.parse(with_orders(edge, **service), "dev")


def test_hash_of_a_header_or_a_cookie_is_taken_behind_an_ingress() -> None:
    for key in ({"hash_header": "X-Customer-ID"}, {"hash_cookie": "id"}):
        hashed = with_orders({"algorithm": "consistent_hash", **key})
        stack_file.parse({"target": "kubernetes", "kubernetes": INGRESS, **hashed}, "dev")


# --- Ports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "one", "other", "port"),
    [
        ({"edge": {"tls": {"port": 8080}}}, "edge.port", "edge.tls.port", 8080),
        ({"edge": {"tls": {}, "port": 8443}}, "edge.port", "edge.tls.port", 8443),
        ({"edge": {"metrics_port": 8080}}, "edge.port", "edge.metrics_port", 8080),
        ({"edge": {"metrics_port": 8000}}, "edge.metrics_port", "app.port", 8000),
        ({"app": {"port": 8443}, "edge": {"tls": {}}}, "app.port", "edge.tls.port", 8443),
        ({"cache": {"port": 9113}}, "edge.metrics_port", "cache.port", 9113),
    ],
)
def test_two_ports_alike_are_both_named(
    config: dict[str, Any], one: str, other: str, port: int
) -> None:
    assert refusal(config) == (
        f"{FILE}: `{one}` and `{other}` are both {port}; give each a port of its own, "
        f"such as {other}: {port + 1}"
    )


def test_port_of_tls_is_free_where_there_is_no_tls() -> None:
    assert stack_file.parse({"edge": {"port": 8443}}, "dev").edge.tls is None
