"""What a stack means: every derived number, over the whole range a stack file may ask for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from stacks import mysql_settings, plan, shard_map, stack_file
from stacks.errors import CrmError
from stacks.plan import Plan

FILE = "stacks/config/Pulumi.dev.yaml"
SECRET = {"env": "CRM_PASSWORD"}
EXTERNAL_DATABASE = {
    "host": "db.example.com",
    "port": 3307,
    "user": "crm_app_user",
    "password": SECRET,
    "owner_password": {"file": "/run/owner"},
}
EXTERNAL_CACHE = {"host": "redis.example.com", "port": 6380, "password": SECRET}

# From the smallest a stack file may ask for to a terabyte and more: powers of two, their
# neighbours, and what lies between.
MEMORIES = sorted(
    {512, 513, 640, 768, 895, 896, 1023, 2047, 2048, 2049, 3072, 100_000, 32 * 1024 * 1024}
    | {2**power + step for power in range(10, 21) for step in (-1, 0, 1)}
    | {3 * 2**power for power in range(8, 20)}
)


def made(**config: Any) -> Plan:
    return plan.make("dev", stack_file.parse(config, "dev"))


def refusal(**config: Any) -> str:
    with pytest.raises(CrmError) as caught:
        made(**config)
    return str(caught.value)


# --- MySQL's sizes -------------------------------------------------------------------------------


def settings(memory_mib: int, **stack: str | int) -> dict[str, str]:
    return {line.name: line.value for line in mysql_settings.derive(memory_mib, 3306, stack)}


def mib(value: str) -> int:
    assert value.endswith("M")
    return int(value[:-1])


@pytest.mark.parametrize("memory", MEMORIES)
def test_pool_connections_and_temporary_tables_fit_memory(memory: int) -> None:
    line = settings(memory)
    # An idle connection holds its two network buffers of 16 KiB and what its thread touched of
    # its stack, about a quarter of a MiB:
    # https://dev.mysql.com/doc/refman/8.4/en/memory-use.html
    connections = int(line["max_connections"]) / 4
    used = mib(line["innodb_buffer_pool_size"]) + mib(line["temptable_max_ram"]) + connections
    server = 384
    assert used + server <= memory


@pytest.mark.parametrize("memory", MEMORIES)
def test_pool_is_one_the_server_does_not_round_up(memory: int) -> None:
    # https://dev.mysql.com/doc/refman/8.4/en/innodb-buffer-pool-resize.html
    line = settings(memory)
    pool, chunk = mib(line["innodb_buffer_pool_size"]), mib(line["innodb_buffer_pool_chunk_size"])
    instances = int(line["innodb_buffer_pool_instances"])
    assert pool % (chunk * instances) == 0
    assert pool // chunk <= 1000
    # More than one instance is honoured only from a gigabyte on (innodb-parameters.html).
    assert instances == 1 or pool >= 1024


@pytest.mark.parametrize("memory", MEMORIES)
def test_redo_log_is_one_the_server_takes(memory: int) -> None:
    assert 8 <= mib(settings(memory)["innodb_redo_log_capacity"]) <= 128 * 1024


@pytest.mark.parametrize(
    "name",
    ["innodb_buffer_pool_size", "innodb_redo_log_capacity", "temptable_max_ram", "max_connections"],
)
def test_more_memory_never_means_less(name: str) -> None:
    values = [int(settings(memory)[name].rstrip("M")) for memory in MEMORIES]
    assert all(a <= b for a, b in pairwise(values)), dict(zip(MEMORIES, values, strict=True))
    assert values[0] < values[-1]


def test_most_of_a_large_machine_is_pool() -> None:
    assert mib(settings(1024 * 1024)["innodb_buffer_pool_size"]) > 1024 * 1024 * 7 // 10


FORCED = sorted(
    line.name for line in mysql_settings.derive(768, 3306, {}) if line.layer == "forced"
)


@pytest.mark.parametrize("name", FORCED)
def test_forced_setting_cannot_be_overridden(name: str) -> None:
    message = refusal(database={"settings": {name: "0"}})
    assert message.startswith(f"{FILE}: crm:database.settings.{name}: cannot be set, it is always ")
    assert message.endswith("; leave it out")


def test_what_loses_acknowledged_writes_is_forced() -> None:
    # Measured: with 0, a kill -9 lost thousands of acknowledged rows.
    assert {"innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_doublewrite"} <= set(FORCED)


def test_forced_settings_come_last_because_the_last_line_counts() -> None:
    layers = [line.layer for line in mysql_settings.derive(768, 3306, {"sort_buffer_size": 1})]
    assert layers == sorted(layers, key=["derived", "stack", "forced"].index)


def test_stack_setting_replaces_the_derived_one() -> None:
    lines = mysql_settings.derive(768, 3306, {"max_connections": 77})
    assert [(s.layer, s.value) for s in lines if s.name == "max_connections"] == [("stack", "77")]
    assert mysql_settings.max_connections(lines) == 77


def test_each_setting_has_a_reason() -> None:
    assert all(line.reason for line in mysql_settings.derive(4096, 3306, {}))


@pytest.mark.parametrize("value", ["many", "0", 0, -1])
def test_connections_that_are_no_number_are_refused(value: str | int) -> None:
    message = refusal(database={"settings": {"max_connections": value}})
    assert message.startswith(f"{FILE}: crm:database.settings.max_connections: ")
    assert "write a whole number of connections, for example 200" in message


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"innodb_buffer_pool_size": "900G"},
            "innodb_buffer_pool_size: 384 MiB for the server + 921600 for the buffer pool + 32 for "
            "128 connections = 922016 MiB, but a shard has 768; write 352M or less, or raise "
            "crm:database.memory_mib",
        ),
        (
            {"innodb_buffer_pool_size": 353 * 2**20},
            "innodb_buffer_pool_size: 384 MiB for the server + 353 for the buffer pool + 32 for",
        ),
        ({"innodb_buffer_pool_size": "768m"}, "write 352M or less"),
        ({"innodb_buffer_pool_size": "1e9"}, "'1e9' is not allowed; write a size, for example 512"),
        (
            {"max_connections": 100_000},
            "max_connections: 384 MiB for the server + 288 for the buffer pool + 25000 for 100000 "
            "connections = 25672 MiB, but a shard has 768; write 384 or less, or raise "
            "crm:database.memory_mib",
        ),
        (
            {"max_connections": 2_000, "innodb_buffer_pool_size": "64M"},
            "max_connections: 384 MiB for the server + 64 for the buffer pool + 500 for 2000 "
            "connections = 948 MiB, but a shard has 768; write 1280 or less",
        ),
        (
            {"max_connections": 2_000, "innodb_buffer_pool_size": "1G"},
            "innodb_buffer_pool_size: 384 MiB for the server + 1024 for the buffer pool + 500 for "
            "2000 connections = 1908 MiB, but a shard has 768; raise crm:database.memory_mib",
        ),
    ],
)
def test_settings_that_memory_cannot_hold_are_refused_with_the_sum(
    asked: dict[str, Any], sentence: str
) -> None:
    message = refusal(database={"memory_mib": 768, "settings": asked})
    assert message.startswith(f"{FILE}: crm:database.settings.")
    assert sentence in message


@pytest.mark.parametrize(
    "asked",
    [
        {"max_connections": 384},
        {"innodb_buffer_pool_size": "352M"},
        {"innodb_buffer_pool_size": 352 * 2**20, "max_connections": 128},
        {"innodb_buffer_pool_size": "1K", "max_connections": 1_000},
    ],
)
def test_settings_that_memory_just_holds_are_taken(asked: dict[str, Any]) -> None:
    found = settings(768, **asked)
    assert {name: found[name] for name in asked} == {n: str(v) for n, v in asked.items()}


# --- Shards and slots ----------------------------------------------------------------------------


@pytest.mark.parametrize("shards", range(1, 65))
def test_shard_map_covers_every_bucket_once(shards: int) -> None:
    database = made(database={"shards": shards}).database
    held = [b for s in database.shards for b in range(s.first_bucket, s.last_bucket + 1)]
    assert held == list(range(shard_map.BUCKETS))
    sizes = [s.last_bucket - s.first_bucket + 1 for s in database.shards]
    assert max(sizes) - min(sizes) <= 1
    assert len({s.host for s in database.shards}) == shards
    assert [s.server_id for s in database.shards] == list(range(1, shards + 1))


def test_version_is_that_of_the_map_alone() -> None:
    versions = {
        shards: made(database={"shards": shards}).database.map_version for shards in range(1, 65)
    }
    assert len(set(versions.values())) == 64
    other = made(database={"shards": 2, "memory_mib": 2048, "port": 3307}).database
    assert other.map_version == versions[2]
    # Part of what servers keep: a change would have every one of them refuse the application.
    assert (versions[1], versions[2]) == ("058d60bf", "8314793c")


@pytest.mark.parametrize("masters", range(3, 101))
def test_cluster_slots_cover_every_slot_once(masters: int) -> None:
    nodes = made(cache={"mode": "cluster", "masters": masters}).cache.nodes
    assert [nodes[0].first_slot, nodes[-1].last_slot] == [0, 16383]
    assert all(a.last_slot + 1 == b.first_slot for a, b in pairwise(nodes))
    sizes = [n.last_slot - n.first_slot + 1 for n in nodes]
    assert max(sizes) - min(sizes) <= 1


def test_cluster_of_another_size_has_other_addresses() -> None:
    hosts = [
        {n.host for n in made(cache={"mode": "cluster", "masters": m}).cache.nodes} for m in (3, 4)
    ]
    assert not hosts[0] & hosts[1]


@pytest.mark.parametrize("memory", [32, 33, 64, 512, 2**20])
def test_redis_keeps_memory_back_for_itself(memory: int) -> None:
    cache = made(cache={"memory_mib": memory}).cache
    assert 0 < cache.max_memory_mib < memory


# --- Partitions ----------------------------------------------------------------------------------


def test_monthly_partitions_follow_each_other_over_a_year_end() -> None:
    orders = made(
        database={
            "orders": {
                "partition_by": "range",
                "column": "order_date",
                "interval": "month",
                "start": "2025-11",
                "count": 3,
            }
        }
    ).database.orders
    assert [(p.name, p.below) for p in orders.partitions] == [
        ("p_before", "'2025-11-01'"),
        ("p_2025_11", "'2025-12-01'"),
        ("p_2025_12", "'2026-01-01'"),
        ("p_2026_01", "'2026-02-01'"),
        ("p_future", "MAXVALUE"),
    ]


@pytest.mark.parametrize(
    ("interval", "start", "partitions"),
    [
        ("week", "2025-12-22", ["p_2025_12_22 2025-12-29", "p_2025_12_29 2026-01-05"]),
        ("day", "2024-02-28", ["p_2024_02_28 2024-02-29", "p_2024_02_29 2024-03-01"]),
    ],
)
def test_weeks_and_days_are_named_after_their_first_day(
    interval: str, start: str, partitions: list[str]
) -> None:
    orders = {"partition_by": "range", "column": "order_date", "interval": interval}
    found = made(database={"orders": {**orders, "start": start, "count": 2}}).database.orders
    said = [f"{p.name} {p.below}".replace("'", "") for p in found.partitions[1:-1]]
    assert said == partitions
    assert found.partitions[0].below == f"'{start}'"


def test_day_that_begins_no_interval_says_one_that_does() -> None:
    orders = {"partition_by": "range", "column": "order_date", "count": 4}
    week = {**orders, "interval": "week", "start": "2026-01-07"}
    assert refusal(database={"orders": week}) == (
        f"{FILE}: crm:database.orders.start: 2026-01-07 is no Monday, and weeks begin on Mondays; "
        "write 2026-01-05"
    )
    day = {**orders, "interval": "day", "start": "2026-02-30"}
    assert refusal(database={"orders": day}) == (
        f"{FILE}: crm:database.orders.start: 2026-02-30 is no day of the calendar; "
        "write one that is, for example 2026-01-05"
    )


def test_life_cycle_is_that_of_the_stack_file() -> None:
    orders = {
        "partition_by": "range",
        "column": "order_date",
        "interval": "month",
        "start": "2026-01",
        "count": 4,
        "ahead": 3,
    }
    for given, kept in (
        ({}, (3, None, "table")),
        ({"retention": 24}, (3, 24, "table")),
        ({"retention": 24, "archive": "table"}, (3, 24, "table")),
        ({"retention": 24, "archive": "file"}, (3, 24, "file")),
        ({"retention": 24, "archive": "drop"}, (3, 24, "drop")),
    ):
        (life,) = made(database={"orders": {**orders, **given}}).database.kept
        assert (life.table, life.column, life.interval) == ("crm_orders", "order_date", "month")
        assert (life.ahead, life.retention, life.archive) == kept
    assert made().database.kept == ()
    tables = {"visits": {"column": "seen_on", "interval": "day", "ahead": 7}}
    both = made(database={"orders": orders, "tables": tables}).database.kept
    assert [(life.table, life.retention) for life in both] == [
        ("crm_orders", None),
        ("visits", None),
    ]


@pytest.mark.parametrize("count", [1, 12, 1024])
def test_partitions_stay_below_what_mysql_allows_and_rise(count: int) -> None:
    orders = made(
        database={
            "orders": {
                "partition_by": "range",
                "column": "order_date",
                "interval": "month",
                "start": "1999-12",
                "count": count,
            }
        }
    ).database.orders
    bounds = [p.below for p in orders.partitions[:-1]]
    assert bounds == sorted(set(bounds))
    assert len({p.name for p in orders.partitions}) == count + 2 <= 8192


@pytest.mark.parametrize(
    ("orders", "key"),
    [
        ({}, ("id",)),
        ({"partition_by": "hash", "column": "customer_id", "count": 8}, ("id", "customer_id")),
        (
            {
                "partition_by": "range",
                "column": "order_date",
                "interval": "month",
                "start": "2025-01",
                "count": 1,
            },
            ("id", "order_date"),
        ),
        (
            {
                "partition_by": "range",
                "column": "order_date",
                "interval": "day",
                "start": "2025-01-01",
                "count": 1,
                "subpartitions": 4,
            },
            ("id", "order_date", "customer_id"),
        ),
        ({"partition_by": "key", "column": "customer_id", "count": 8}, ("id", "customer_id")),
    ],
)
def test_primary_key_holds_the_partition_column(
    orders: dict[str, Any], key: tuple[str, ...]
) -> None:
    # A key that lacks it is refused by the server: error 1503.
    assert made(database={"orders": orders}).database.orders.primary_key == key


# --- The app and its connections -----------------------------------------------------------------


def test_connection_budget_says_its_arithmetic() -> None:
    assert refusal(app={"replicas": 15}, database={"memory_mib": 768}) == (
        f"{FILE}: crm:app.replicas: 15 replicas × 1 workers × 4 connections × 2 during a roll-out "
        "= 120, but each shard allows 128 less 10 in reserve = 118; raise crm:database.memory_mib "
        "or ask for fewer replicas"
    )


def test_connection_budget_is_met_at_its_edge() -> None:
    services = made(app={"replicas": 14}, database={"memory_mib": 768}).services
    assert plan.connections_wanted(services) == 112

    assert plan.connection_budget(made(app={"replicas": 14}, database={"memory_mib": 768})) == (
        "14 replicas × 1 workers × 4 connections × 2 during a roll-out = 112; "
        "each allows 128 less 10 in reserve = 118"
    )


def test_external_database_has_its_own_connection_limit() -> None:
    external = made(app={"replicas": 100}, database={"external": EXTERNAL_DATABASE})
    assert plan.connection_budget(external).endswith("= 800; the server decides what it allows")


def test_connection_budget_counts_the_most_replicas_there_may_be() -> None:
    scaled = {"min": 2, "max": 14}
    services = made(
        target="kubernetes", app={"replicas": scaled}, database={"memory_mib": 768}
    ).services
    assert (services[0].most, plan.connections_wanted(services)) == (14, 112)
    message = refusal(
        target="kubernetes", app={"replicas": {**scaled, "max": 15}}, database={"memory_mib": 768}
    )
    assert message.startswith(f"{FILE}: crm:app.replicas.max: 15 replicas × 1 workers")


def orders(replicas: object, to: str = "docker", **service: Any) -> dict[str, Any]:
    """A stack of 7 replicas of the app and as many of the service ``orders`` as asked."""
    return {
        "target": to,
        "edge": {"routes": [{"prefix": "/api/v1/orders", "service": "orders"}]},
        "services": {"orders": {"health_path": "/healthz", "replicas": replicas, **service}},
        "app": {"replicas": 7},
        "database": {"memory_mib": 768},
    }


def test_connection_budget_counts_every_service() -> None:
    assert plan.connections_wanted(made(**orders(7)).services) == 112
    assert refusal(**orders(8)) == (
        f"{FILE}: crm:services.orders.replicas: "
        "7 replicas × 1 workers × 4 connections × 2 during a roll-out + "
        "8 replicas × 1 workers × 4 connections × 2 during a roll-out = 120, but each shard allows "
        "128 less 10 in reserve = 118; raise crm:database.memory_mib or ask for fewer replicas"
    )


def test_connection_budget_names_the_service_that_takes_most() -> None:
    assert refusal(**orders(6, cpus=2, memory_mib=512)).startswith(
        f"{FILE}: crm:services.orders.replicas: "
    )
    assert refusal(**orders({"min": 1, "max": 8}, to="kubernetes")).startswith(
        f"{FILE}: crm:services.orders.replicas.max: "
    )


# --- Kubernetes ----------------------------------------------------------------------------------


def test_namespace_is_the_stacks_own_unless_it_names_one() -> None:
    assert made().kubernetes.namespace == "crm-dev"
    assert made(kubernetes={"namespace": "sales"}).kubernetes.namespace == "sales"


def test_what_the_stack_leaves_out_is_the_clusters_to_decide() -> None:
    kubernetes = made().kubernetes
    assert kubernetes.expose == "load_balancer"
    asked = (kubernetes.context, kubernetes.node_port, kubernetes.storage_class)
    assert asked == (None, None, None)


@pytest.mark.parametrize(
    ("reference", "qualified"),
    [
        ("nginx:1.30.0", "r.example/team/nginx:1.30.0"),
        ("library/nginx:1.30.0", "r.example/team/library/nginx:1.30.0"),
        ("other.example/nginx:1", "other.example/nginx:1"),
        ("other:5000/nginx:1", "other:5000/nginx:1"),
        ("localhost/nginx:1", "localhost/nginx:1"),
    ],
)
def test_registry_is_put_before_images_that_name_none(reference: str, qualified: str) -> None:
    assert plan.qualified(reference, "r.example/team") == qualified
    assert plan.qualified(reference, None) == reference
    edge = made(images={"nginx": reference, "registry": "r.example/team"}).edge
    assert edge.image == qualified


# --- External services and secrets ---------------------------------------------------------------


def test_external_database_is_used_not_sized() -> None:
    database = made(database={"external": EXTERNAL_DATABASE}).database
    assert database.external
    assert [(s.host, s.port) for s in database.shards] == [("db.example.com", 3307)]
    assert (database.shards[0].first_bucket, database.shards[0].last_bucket) == (0, 63)
    assert (database.app_user, database.owner_user) == ("crm_app_user", "crm_owner")


def test_external_cache_is_used_not_sized() -> None:
    cache = made(cache={"external": EXTERNAL_CACHE}).cache
    assert cache.external
    assert [(n.host, n.port) for n in cache.nodes] == [("redis.example.com", 6380)]


def test_secrets_are_generated_unless_taken_from_elsewhere() -> None:
    assert made().secrets == {
        "cache_password": None,
        "database_app_password": None,
        "database_owner_password": None,
        "database_root_password": None,
    }
    given = made(secrets={"cache_password": {"env": "REDIS"}}).secrets
    assert given["cache_password"] is not None
    assert given["cache_password"].env == "REDIS"


def test_secrets_of_external_services_are_theirs_and_there_is_no_root() -> None:
    secrets = made(
        database={"external": EXTERNAL_DATABASE}, cache={"external": EXTERNAL_CACHE}
    ).secrets
    assert list(secrets) == ["cache_password", "database_app_password", "database_owner_password"]
    assert None not in secrets.values()


@pytest.mark.parametrize("name", ["database_root_password", "database_app_password"])
def test_secret_of_an_external_service_is_given_in_one_place(name: str) -> None:
    message = refusal(database={"external": EXTERNAL_DATABASE}, secrets={name: SECRET})
    assert message.startswith(f"{FILE}: crm:secrets.{name}: this stack has no such secret")
