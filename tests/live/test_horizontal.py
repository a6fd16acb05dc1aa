"""More of each: three replicas answer, two shards hold different customers, a real cluster."""

from __future__ import annotations

import pytest

from tests.live.client import call
from tests.live.stack import Stack
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

SHARDS = ("database-1", "database-2")
NODES = ("cache-1", "cache-2", "cache-3")


@pytest.fixture(scope="module")
def customers(horizontal: Stack) -> dict[str, list[int]]:
    """Customers' numbers by the shard that holds them."""
    for i in range(40):
        body = {"name": f"Customer {i}", "email": f"c{i}@example.org"}
        assert call(f"{horizontal.url}/api/v1/customers", "POST", body).status == 201
    return {
        shard: [int(row[0]) for row in horizontal.sql(shard, "SELECT id FROM customers")]
        for shard in SHARDS
    }


def test_three_replicas_answer(horizontal: Stack) -> None:
    seen = {call(f"{horizontal.url}/healthz").headers["x-served-by"] for _ in range(12)}
    assert seen == {"app-1", "app-2", "app-3"}


def test_shards_hold_different_customers(
    horizontal: Stack, customers: dict[str, list[int]]
) -> None:
    first, second = (set(customers[shard]) for shard in SHARDS)
    assert len(first) > 5
    assert len(second) > 5
    assert first.isdisjoint(second)
    servers = {horizontal.sql(shard, "SELECT @@server_uuid")[0][0] for shard in SHARDS}
    volumes = {
        mount["Name"]
        for shard in SHARDS
        for mount in horizontal.container(shard).attrs["Mounts"]
        if mount["Destination"] == "/data"
    }
    assert len(servers) == len(volumes) == 2


def test_orders_lie_with_their_customer_in_hash_partitions(
    horizontal: Stack, customers: dict[str, list[int]]
) -> None:
    for shard in SHARDS:
        customer = customers[shard][0]
        body = {"customer_id": customer, "order_date": "2026-02-03", "order_amount": "5.00"}
        assert call(f"{horizontal.url}/api/v1/orders", "POST", body).status == 201
        found = horizontal.sql(
            shard, f"SELECT COUNT(*) FROM crm_orders WHERE customer_id={customer}"
        )
        assert found == [["1"]]
        partitions = horizontal.sql(
            shard,
            "SELECT COUNT(*), MIN(PARTITION_METHOD) FROM information_schema.PARTITIONS "
            "WHERE TABLE_NAME = 'crm_orders'",
        )
        assert partitions == [["8", "HASH"]]


def test_stopping_a_shard_fails_its_customers_only(
    horizontal: Stack, customers: dict[str, list[int]]
) -> None:
    def status(customer: int) -> int:
        return call(f"{horizontal.url}/api/v1/customers/{customer}").status

    stopped = horizontal.container("database-2")
    stopped.stop()
    try:
        for customer in customers["database-1"]:
            assert status(customer) == 200
        for customer in customers["database-2"][:6]:
            assert status(customer) == 503
    finally:
        stopped.start()
    wait_until(
        lambda: all(status(customer) == 200 for customer in customers["database-2"]),
        "the shard's customers are back",
    )


def is_whole(stack: Stack) -> bool:
    """Whether every node says that all nodes and slots are there."""
    for node in NODES:
        code, text = stack.attempt(
            node,
            "sh",
            "-c",
            "REDISCLI_AUTH=$(cat /etc/crm/secrets/cache_password); export REDISCLI_AUTH; "
            "redis-cli CLUSTER INFO; redis-cli CLUSTER NODES",
        )
        if code != 0 or "cluster_state:ok" not in text or "cluster_known_nodes:3" not in text:
            return False
        if "cluster_slots_ok:16384" not in text or "noaddr" in text:
            return False
    return True


def test_cache_is_a_cluster_that_holds_keys_on_every_master(horizontal: Stack) -> None:
    wait_until(lambda: is_whole(horizontal), "the nodes have met", 30)
    for node in NODES:
        info = horizontal.redis(node, "CLUSTER", "INFO")
        assert "cluster_state:ok" in info
        assert "cluster_slots_assigned:16384" in info
        assert "cluster_known_nodes:3" in info
    for i in range(30):
        body = {"name": f"User {i}", "email": f"u{i}@example.org", "role": "sales"}
        user = call(f"{horizontal.url}/api/v1/users", "POST", body).json["id"]
        assert call(f"{horizontal.url}/api/v1/users/{user}").status == 200
    assert all(int(horizontal.redis(node, "DBSIZE")) > 0 for node in NODES)


def test_cluster_survives_every_address_changing_at_once(horizontal: Stack) -> None:
    containers = horizontal.containers()
    for node in NODES:
        containers[node].stop()
    for node in reversed(NODES):
        containers[node].start()

    wait_until(lambda: is_whole(horizontal), "the cluster is whole again", 90)
    body = {"name": "After", "email": "after@example.org", "role": "sales"}
    user = call(f"{horizontal.url}/api/v1/users", "POST", body).json["id"]
    for _ in range(6):
        assert call(f"{horizontal.url}/api/v1/users/{user}").status == 200
    ready = call(f"{horizontal.url}/readyz").json
    assert ready["cache"]["status"] == "up"
