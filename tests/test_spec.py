"""What a stack file may say, tier by tier, and how what does not fit together is refused."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import stack_file
from stacks.spec import Autoscale
from tests.refusals import EXTERNAL, FILE, SECRET, refusal

KEPT = {"column": "seen_at", "interval": "day", "ahead": 1}
RANGE: dict[str, object] = {
    "partition_by": "range",
    "column": "order_date",
    "interval": "month",
    "start": "2026-01",
    "count": 24,
}
HASH: dict[str, object] = {"partition_by": "hash", "column": "customer_id", "count": 8}

# --- What the description of this work names -----------------------------------------------------


@pytest.mark.parametrize("replicas", [0, -1, "three", 1e9, 10**9])
def test_replicas_out_of_range_names_file_key_and_form(replicas: object) -> None:
    assert refusal({"app": {"replicas": replicas}}) == (
        f"{FILE}: crm:app.replicas: {replicas!r} is not allowed; "
        "write a whole number from 1 to 500, for example 3"
    )


@pytest.mark.parametrize("port", [0, -1, 65536, 70000])
@pytest.mark.parametrize("tier", ["edge", "app", "database", "cache"])
def test_port_no_machine_has_is_refused(tier: str, port: int) -> None:
    assert f"{FILE}: crm:{tier}.port: {port} is not allowed; write a TCP port" in refusal(
        {tier: {"port": port}}
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("edge", "app"), ("edge", "database"), ("app", "cache"), ("database", "cache")],
)
def test_two_tiers_on_one_port_names_both(one: str, other: str) -> None:
    message = refusal({one: {"port": 7000}, other: {"port": 7000}})
    assert message.startswith(f"{FILE}: `{one}.port` and `{other}.port` are both 7000; ")
    assert f"such as {other}.port: 7001" in message


def test_two_tiers_on_the_last_port_are_offered_one_that_exists() -> None:
    message = refusal({"edge": {"port": 65535}, "app": {"port": 65535}})
    assert "such as app.port: 8080" in message


def test_external_services_take_no_port_of_the_stack() -> None:
    spec = stack_file.parse(
        {
            "app": {"port": 3306},
            "edge": {"port": 6379},
            "database": {"external": EXTERNAL},
            "cache": {"external": {"host": "redis.example.com", "password": SECRET}},
        },
        "dev",
    )
    assert spec.app.port == 3306


@pytest.mark.parametrize("tier", ["edge", "app", "database", "cache"])
def test_memory_above_any_machines_is_refused(tier: str) -> None:
    message = refusal({tier: {"memory_mib": 32 * 1024 * 1024 + 1}})
    assert message.startswith(f"{FILE}: crm:{tier}.memory_mib: 33554433 is not allowed; write MiB")


@pytest.mark.parametrize("masters", [1, 2])
def test_cluster_of_fewer_than_three_masters_is_refused(masters: int) -> None:
    message = refusal({"cache": {"mode": "cluster", "masters": masters}})
    assert (
        message
        == f"{FILE}: crm:cache: Redis Cluster needs `masters: 3` or more to agree on a failure"
    )


def test_cluster_bus_port_must_exist() -> None:
    message = refusal({"cache": {"mode": "cluster", "masters": 3, "port": 55536}})
    assert "`cache.port` must be 55535 or less" in message
    stack_file.parse({"cache": {"mode": "cluster", "masters": 3, "port": 55535}}, "dev")


@pytest.mark.parametrize("service", ["nginx", "haproxy", "mysql", "redis"])
@pytest.mark.parametrize(
    "image",
    [
        "{}:latest",
        "{}",
        "registry.example.com:5000/{}",
        "registry.example.com/{}:latest",
        "{}:",
        "{}:1:2",
        "{}@sha256:abc",
        "{}:latest@sha256:" + "a" * 64,
        "../{}:1",
        "UPPER/{}:1",
    ],
)
def test_image_that_is_not_pinned_is_refused(service: str, image: str) -> None:
    reference = image.format(service)
    message = refusal({"images": {service: reference}})
    assert message.startswith(f"{FILE}: crm:images.{service}: {reference!r} is not allowed; ")
    assert "never :latest" in message


@pytest.mark.parametrize(
    "image",
    [
        "nginx:1.30.0",
        "library/nginx:1.30.0-alpine",
        "registry.example.com:5000/team/nginx:1",
        "nginx@sha256:" + "0" * 64,
        "nginx:1.30.0@sha256:" + "0" * 64,
    ],
)
def test_pinned_image_is_taken(image: str) -> None:
    assert stack_file.parse({"images": {"nginx": image}}, "dev").images.nginx == image


def test_address_with_digits_of_another_script_is_refused() -> None:
    # Python's \d knows every script's digits; the kernel knows ASCII.
    assert "crm:edge.address: " in refusal({"edge": {"address": "127.0.0.\u0661"}})


# --- Values that must fit together ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"cache": {"masters": 3}}, "write `mode: cluster` and `masters: 3` or more"),
        ({"database": {"external": EXTERNAL, "shards": 2}}, "leave `shards` out"),
        (
            {"database": {"external": {**EXTERNAL, "ssl_mode": "verify_ca"}}},
            "crm:database.external: `ssl_mode: verify_ca` would take any certificate",
        ),
        (
            {
                "database": {
                    "external": {**EXTERNAL, "ssl_mode": "required", "ca_certificate": SECRET}
                }
            },
            "`ca_certificate` is not looked at with `ssl_mode: required`; write",
        ),
        (
            {
                "cache": {
                    "mode": "cluster",
                    "masters": 3,
                    "external": {"host": "h", "password": SECRET},
                }
            },
            "leave `mode` and `masters` out",
        ),
        (
            {"database": {"orders": {"partition_by": "range"}}},
            "is written {partition_by: range, column: order_date, interval: month, start: 2026-01,",
        ),
        (
            {"database": {"orders": {"partition_by": "hash", "count": 8}}},
            "is written {partition_by: hash, column: customer_id, count: 8}",
        ),
        ({"database": {"orders": {"count": 8}}}, "is written {partition_by: none}"),
        (
            {"database": {"orders": {"partition_by": "hash", "column": "order_date", "count": 8}}},
            "`partition_by: hash` goes by `column: customer_id`",
        ),
        (
            {"database": {"orders": {**HASH, "ahead": 3}}},
            "is written {partition_by: hash, column: customer_id, count: 8}",
        ),
        (
            {"database": {"orders": {**HASH, "partition_by": "key", "subpartitions": 3}}},
            "is written {partition_by: key, column: customer_id, count: 8}",
        ),
        (
            {"database": {"orders": {**RANGE, "start": "2026-01-05"}}},
            "`start` of `interval: month` is written like 2026-01",
        ),
        (
            {"database": {"orders": {**RANGE, "interval": "day"}}},
            "`start` of `interval: day` is written like 2026-01-05",
        ),
        (
            {"database": {"orders": {**RANGE, "retention": 24}}},
            "`retention` goes with `ahead`, such as ahead: 3",
        ),
        (
            {"database": {"orders": {**RANGE, "ahead": 3, "archive": "drop"}}},
            "`archive` says what becomes of what `retention` does not keep",
        ),
        (
            {"database": {"orders": {**RANGE, "count": 200, "subpartitions": 64}}},
            "202 ranges × 64 subpartitions = 12928, but MySQL allows 8192 partitions of a table",
        ),
        (
            {"database": {"orders": {**RANGE, "ahead": 8, "retention": 120, "subpartitions": 64}}},
            "132 ranges × 64 subpartitions = 8448, but MySQL allows 8192",
        ),
        (
            {"database": {"tables": {"users": {"column": "d", "interval": "day", "ahead": 1}}}},
            "crm:database: `tables.users` is the platform's own",
        ),
        (
            {"database": {"tables": {"crm_orders_archive_raw": KEPT}}},
            "`tables.crm_orders_archive_raw` has a name as archives of crm_orders have",
        ),
        (
            {"database": {"tables": {"visits": KEPT, "visits_archive": KEPT}}},
            "`tables.visits_archive` has a name as archives of visits have",
        ),
        (
            {"database": {"tables": {"visits": {"column": "d", "interval": "day"}}}},
            "crm:database.tables.visits.ahead: is missing; write intervals",
        ),
        ({"secrets": {"cache_password": {}}}, "name exactly one source"),
        ({"secrets": {"cache_password": {"env": "A", "file": "b"}}}, "name exactly one source"),
        ({"database": {"external": {"host": "h"}}}, "crm:database.external.password: is missing"),
        (
            {"kubernetes": {"node_port": 30080}},
            "crm:kubernetes: `node_port` is for `expose: node_port` only",
        ),
        (
            {"kubernetes": {"expose": "ingress"}},
            "`expose: ingress` needs the name people use, such as ingress_host: crm.example.com",
        ),
        (
            {"kubernetes": {"ingress_host": "crm.example.com"}},
            "`ingress_host` and `ingress_class` are for `expose: ingress` only",
        ),
        (
            {"kubernetes": {"expose": "node_port", "ingress_class": "nginx"}},
            "`ingress_host` and `ingress_class` are for `expose: ingress` only",
        ),
        ({"kubernetes": {"namespace": "default"}}, "`namespace: default` belongs to the cluster"),
        ({"kubernetes": {"namespace": "kube-system"}}, "belongs to the cluster; leave it out"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(config: dict[str, Any], sentence: str) -> None:
    message = refusal(config)
    assert message.startswith(f"{FILE}: ")
    assert sentence in message


@pytest.mark.parametrize(
    "name", ["information_schema", "mysql", "ndbinfo", "performance_schema", "sys"]
)
def test_database_of_the_servers_own_is_refused(name: str) -> None:
    for external in ({}, {"external": EXTERNAL}):
        said = refusal({"database": {"name": name, **external}})
        assert said.startswith(f"{FILE}: crm:database.name: {name!r} is not allowed; write lower")
        assert "not one of MySQL's own, which are information_schema, mysql, " in said


@pytest.mark.parametrize("name", ["select", "mysql_crm", "system", "key"])
def test_database_may_have_any_other_name(name: str) -> None:
    assert stack_file.parse({"database": {"name": name}}, "dev").database.name == name


# --- Kubernetes ----------------------------------------------------------------------------------

SCALED = {"min": 2, "max": 6}


def test_autoscaler_is_asked_for_in_the_place_of_a_number() -> None:
    config = {"target": "kubernetes", "app": {"replicas": SCALED}}
    assert stack_file.parse(config, "dev").app.replicas == Autoscale(min=2, max=6, cpu_percent=70)


def test_docker_has_one_edge_and_says_why() -> None:
    assert refusal({"edge": {"replicas": 2}}) == (
        f"{FILE}: `edge.replicas`: Docker offers the edge at a port of this machine, which one "
        "container holds; write replicas: 1, or target: kubernetes"
    )
    for target in ("docker", "kubernetes"):
        assert stack_file.parse({"target": target, "edge": {"replicas": 1}}, "dev")
    assert stack_file.parse({"target": "kubernetes", "edge": {"replicas": 10}}, "dev")


@pytest.mark.parametrize("replicas", [0, 11, "two", {"min": 1, "max": 2}])
def test_edges_are_one_to_ten(replicas: object) -> None:
    said = refusal({"target": "kubernetes", "edge": {"replicas": replicas}})
    assert said.startswith(f"{FILE}: crm:edge.replicas: ")
    assert "write a whole number from 1 to 10, for example 2" in said


def test_docker_has_no_autoscaler_and_says_what_to_write() -> None:
    assert refusal({"app": {"replicas": SCALED}}) == (
        f"{FILE}: `app.replicas`: Docker has no autoscaler; write a number, such as replicas: 2"
    )


@pytest.mark.parametrize("algorithm", ["weighted", "least_connections", "consistent_hash"])
def test_algorithm_that_needs_named_replicas_is_refused_with_an_autoscaler(algorithm: str) -> None:
    edge: dict[str, Any] = {"algorithm": algorithm}
    if algorithm == "weighted":
        edge["weights"] = [1, 2]
    message = refusal({"target": "kubernetes", "app": {"replicas": SCALED}, "edge": edge})
    assert message.startswith(f"{FILE}: `edge.algorithm: {algorithm}` chooses among replicas by na")
    assert message.endswith("write round_robin or random")


@pytest.mark.parametrize("algorithm", ["round_robin", "random"])
def test_algorithm_that_needs_no_names_is_taken_with_an_autoscaler(algorithm: str) -> None:
    edge = {"algorithm": algorithm}
    stack_file.parse({"target": "kubernetes", "app": {"replicas": SCALED}, "edge": edge}, "dev")


@pytest.mark.parametrize(
    ("replicas", "sentence"),
    [
        ({"min": 6, "max": 2}, "crm:app.replicas: `min` is 6 and `max` is 2; write the smaller"),
        ({"min": 2}, "crm:app.replicas.max: is missing"),
        ({"min": 2, "mix": 6}, "crm:app.replicas.mix: there is no such key; did you mean `m"),
        ({"min": 0, "max": 6}, "crm:app.replicas.min: 0 is not allowed; write a whole number from"),
        ({"min": 2, "max": 501}, "crm:app.replicas.max: 501 is not allowed; write a whole number"),
        ({**SCALED, "cpu_percent": 100}, "crm:app.replicas.cpu_percent: 100 is not allowed; write"),
        ([2, 6], "crm:app.replicas: this is not allowed; write a whole number from 1 to 500"),
    ],
)
def test_wrong_autoscaler_is_named(replicas: object, sentence: str) -> None:
    message = refusal({"target": "kubernetes", "app": {"replicas": replicas}})
    assert message.startswith(f"{FILE}: ")
    assert sentence in message


@pytest.mark.parametrize("registry", ["team", "registry", "Registry.example.com", "r.example/a//b"])
def test_registry_without_a_host_is_refused(registry: str) -> None:
    # The first part of an image's name is a registry only if it looks like a host.
    message = refusal({"images": {"registry": registry}})
    assert f"crm:images.registry: {registry!r} is not allowed; write a registry's host" in message


@pytest.mark.parametrize(
    "registry", ["registry.example.com", "localhost:5000", "localhost/a", "r:5000/team/b"]
)
def test_registry_with_a_host_is_taken(registry: str) -> None:
    assert stack_file.parse({"images": {"registry": registry}}, "dev").images.registry == registry


@pytest.mark.parametrize(
    "context",
    ["kind-crm", "arn:aws:eks:eu-west-1:1:cluster/crm", "gke_project_zone_crm", "me@crm/sales"],
)
def test_contexts_are_named_as_tools_name_them(context: str) -> None:
    spec = stack_file.parse({"kubernetes": {"context": context}}, "dev")
    assert spec.kubernetes.context == context


def test_what_is_for_a_cluster_may_stay_when_the_target_is_docker() -> None:
    kubernetes = {"expose": "node_port", "node_port": 30080, "storage_class": "fast"}
    assert stack_file.parse({"kubernetes": kubernetes}, "dev").target == "docker"


# --- Defaults ------------------------------------------------------------------------------------


def test_empty_config_is_the_smallest_stack() -> None:
    spec = stack_file.parse({}, "dev")
    assert (spec.app.replicas, spec.database.shards, spec.cache.masters) == (1, 1, 1)
    assert spec.edge.address == "127.0.0.1", "nothing is offered to the network unless asked for"


def test_spec_is_frozen() -> None:
    spec = stack_file.parse({}, "dev")
    with pytest.raises(AttributeError):
        spec.app.replicas = 2  # type: ignore[misc]  # what the test is about
