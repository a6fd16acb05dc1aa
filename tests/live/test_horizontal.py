"""More of each: three replicas answer, two shards hold different customers, a real cluster."""

from __future__ import annotations

import re
import time

import pytest

from tests.live import traffic
from tests.live.client import call
from tests.live.stack import Stack
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

SHARDS = ("database-1", "database-2")
REPLICAS = {"app-1", "app-2", "app-3"}
NODES = ("cache-1", "cache-2", "cache-3")


@pytest.fixture(scope="module")
def customers(horizontal: Stack) -> dict[str, list[int]]:
    """Customers' numbers by the shard that holds them."""
    for i in range(40):
        body = {"name": f"Customer {i}", "email": f"c{i}@example.org"}
        assert call(f"{horizontal.url}/api/v1/customers", "POST", body).status == 201
    # Tests before this one have made customers too, and may have deleted some since.
    mine = "SELECT id FROM customers WHERE email LIKE 'c%@example.org'"
    return {shard: [int(row[0]) for row in horizontal.sql(shard, mine)] for shard in SHARDS}


def replicas(stack: Stack) -> set[str]:
    """Those that answer."""
    return {call(f"{stack.url}/healthz").headers.get("x-served-by", "") for _ in range(12)}


def test_three_replicas_answer(horizontal: Stack) -> None:
    assert replicas(horizontal) == REPLICAS


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


READ = """\
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8000/metrics", timeout=5).read().decode())
"""


def test_sizes_are_told_by_partition_and_bucket(
    horizontal: Stack, customers: dict[str, list[int]]
) -> None:
    # Sizes are kept for a while: one that was just started has none of before there were rows.
    horizontal.container("app-1").restart()
    found: dict[str, set[tuple[str, ...]]] = {}

    def read() -> bool:
        """Whether the replica knows all; partition or bucket, shard and table of each metric."""
        code, text = horizontal.attempt("app-1", "python3", "-c", READ)
        labels = r'{\w+="(\w*)",shard="([\w-]+)",table="(\w+)"} \d'
        for name in ("partition_rows", "partition_bytes", "bucket_rows", "bucket_bytes"):
            found[name] = set(re.findall(rf"^crm_{name}{labels}", text, re.M))
        return code == 0 and all(
            {shard for _, shard, _ in series} == set(SHARDS) for series in found.values()
        )

    wait_until(read, "the replica knows the sizes of both shards")
    assert {p for p, _, table in found["partition_bytes"] if table == "crm_orders"} == {
        f"p{i}" for i in range(8)
    }
    for shard, held in zip(SHARDS, (range(32), range(32, 64)), strict=True):
        counted = {int(bucket) for bucket, name, _ in found["bucket_rows"] if name == shard}
        assert counted
        assert counted <= set(held)
    assert found["bucket_bytes"] == found["bucket_rows"]
    wait_until(lambda: replicas(horizontal) == REPLICAS, "it is given requests again")


def test_connections_under_load_stay_within_the_budget_that_is_shown(horizontal: Stack) -> None:
    said = horizontal.crm("preview")
    assert said.code == 0, said.err
    line = re.search(
        r"  connections to each shard: .* = (\d+); each allows (\d+) less (\d+)", said.out
    )
    assert line, said.out
    wanted, allowed, reserve = (int(number) for number in line.groups())
    for shard in SHARDS:
        horizontal.sql(shard, "FLUSH STATUS")
    paths = ("/api/v1/customers", "/api/v1/orders", "/customers", "/api/v1/users")
    with traffic.load(horizontal.url, paths, clients=32):
        time.sleep(8)
    for shard in SHARDS:
        ((_, peak),) = horizontal.sql(shard, "SHOW GLOBAL STATUS LIKE 'Max_used_connections'")
        print(f"{shard}: {peak} connections at most, {wanted} wanted by the replicas")
        # As many as the replicas have threads; half of the budget is for a roll-out.
        assert wanted / 4 < int(peak) <= wanted + reserve < allowed


@pytest.mark.parametrize("verb", ["preview", "up"])
def test_another_number_of_shards_is_refused_and_nothing_is_touched(
    horizontal: Stack, customers: dict[str, list[int]], verb: str
) -> None:
    there = {name: container.id for name, container in horizontal.containers().items()}
    horizontal.edit("shards: 2", "shards: 3")
    try:
        done = horizontal.crm(verb, *(["--yes"] if verb == "up" else []))
        moves = horizontal.project.crm("shards", "plan", horizontal.name)
    finally:
        horizontal.edit("shards: 3", "shards: 2")
    assert done.code == 1
    assert f"crm:database.shards: {horizontal.name} is deployed with 2; with 3, 33 of" in done.err
    assert {name: c.id for name, c in horizontal.containers().items()} == there
    assert "buckets 42–63 (22): database-2 → database-3" in moves.out
    for shard in SHARDS:
        assert call(f"{horizontal.url}/api/v1/customers/{customers[shard][0]}").status == 200


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
    wait_until(horizontal.has_cache, "the app knows that its cache is whole", 15)
