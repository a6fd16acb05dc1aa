"""The real MySQL takes every statement and setting, and does what they are there for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crm import schema as job_of_the_app
from crm.errors import CrmError as JobError
from stacks import plan, render, stack_file
from stacks.plan import Plan
from tests.live import own
from tests.live.stack import Stack

pytestmark = pytest.mark.live

ORDERS: dict[str, dict[str, object]] = {
    "none": {"partition_by": "none"},
    "range": {
        "partition_by": "range",
        "column": "order_date",
        "interval": "month",
        "start": "2025-11",
        "count": 4,
    },
    "range of 1024": {
        "partition_by": "range",
        "column": "order_date",
        "interval": "month",
        "start": "1990-01",
        "count": 1022,
    },
    "range of weeks": {
        "partition_by": "range",
        "column": "order_date",
        "interval": "week",
        "start": "2026-01-05",
        "count": 4,
        "subpartitions": 3,
    },
    "hash": {"partition_by": "hash", "column": "customer_id", "count": 8},
    "key": {"partition_by": "key", "column": "customer_id", "count": 8},
}


def planned(orders: str) -> Plan:
    spec = stack_file.parse({"database": {"orders": ORDERS[orders]}}, "sql")
    return plan.make("sql", spec)


def plan_of(stack: Stack) -> Plan:
    folder = stack.project.root / "stacks" / "config"
    return plan.make(stack.name, stack_file.load(stack.name, folder))


# --- The schema, on a server of its own ----------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[own.MySQL]:
    with own.mysql() as running:
        yield running


@pytest.fixture
def schema(server: own.MySQL) -> str:
    """The name of an empty database."""
    server.sql("DROP DATABASE IF EXISTS tried; CREATE DATABASE tried CHARACTER SET utf8mb4")
    return "tried"


def partitions(server: own.MySQL, schema: str) -> list[list[str]]:
    """Name, method, expression, bound of each partition of the orders, in order."""
    return server.sql(
        "SELECT PARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, PARTITION_DESCRIPTION "
        "FROM information_schema.PARTITIONS WHERE TABLE_NAME = 'crm_orders' "
        f"AND TABLE_SCHEMA = '{schema}' ORDER BY PARTITION_ORDINAL_POSITION"
    )


def statements(orders: str) -> str:
    return render.Renderer().tree(planned(orders))["mysql/schema.sql"]


@pytest.mark.parametrize("orders", ORDERS)
def test_every_statement_is_accepted_twice_and_nothing_is_lost(
    server: own.MySQL, schema: str, orders: str
) -> None:
    for order in range(2):
        server.sql(statements(orders), schema)
        server.sql(f"INSERT INTO crm_orders VALUES ({order}, 1, '2026-01-31', 9)", schema)
    assert server.sql("SELECT COUNT(*) FROM crm_orders", schema) == [["2"]]
    tables = [name for (name,) in server.sql("SHOW TABLES", schema)]
    assert tables == ["crm_orders", "crm_shard", "customers", "users"]
    keys = server.sql(
        "SELECT COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE "
        f"TABLE_SCHEMA = '{schema}' AND TABLE_NAME = 'crm_orders' AND CONSTRAINT_NAME = 'PRIMARY' "
        "ORDER BY ORDINAL_POSITION"
    )
    assert tuple(key for (key,) in keys) == planned(orders).database.orders.primary_key
    tables_of = (
        "SELECT DISTINCT ENGINE, TABLE_COLLATION LIKE 'utf8mb4%' FROM information_schema.TABLES "
        f"WHERE TABLE_SCHEMA = '{schema}'"
    )
    assert server.sql(tables_of) == [["InnoDB", "1"]]


def test_no_partitions_where_none_are_asked_for(server: own.MySQL, schema: str) -> None:
    server.sql(statements("none"), schema)
    assert partitions(server, schema) == [["NULL"] * 4]


@pytest.mark.parametrize("orders", ["range", "range of 1024"])
def test_range_partitions_are_those_planned(server: own.MySQL, schema: str, orders: str) -> None:
    server.sql(statements(orders), schema)
    expected = [
        [partition.name, "RANGE COLUMNS", "`order_date`", partition.below]
        for partition in planned(orders).database.orders.partitions
    ]
    assert partitions(server, schema) == expected


@pytest.mark.parametrize(
    ("date", "partition"),
    [
        ("1000-01-01", "p_before"),
        ("2025-10-31", "p_before"),
        ("2025-11-01", "p_2025_11"),
        ("2025-12-31", "p_2025_12"),
        ("2026-01-01", "p_2026_01"),
        ("2026-02-28", "p_2026_02"),
        ("2026-03-01", "p_future"),
        ("9999-12-31", "p_future"),
    ],
)
def test_orders_land_in_their_month(
    server: own.MySQL, schema: str, date: str, partition: str
) -> None:
    server.sql(statements("range"), schema)
    server.sql(f"INSERT INTO crm_orders VALUES (1, 1, '{date}', 1)", schema)
    rows = "SELECT COUNT(*) FROM crm_orders"
    assert server.sql(f"{rows} PARTITION ({partition})", schema) == [["1"]]
    # A month's orders are read from its partition alone.
    explained = server.sql(f"EXPLAIN FORMAT=TRADITIONAL {rows} WHERE order_date = '{date}'", schema)
    assert explained[0][3] == partition


def test_one_customers_week_is_read_from_one_subpartition(server: own.MySQL, schema: str) -> None:
    server.sql(statements("range of weeks"), schema)
    rows = ", ".join(f"({i}, {i % 7}, '2026-01-{5 + i % 21:02}', 1)" for i in range(1, 148))
    server.sql(f"INSERT INTO crm_orders VALUES {rows}", schema)
    week = "order_date >= '2026-01-12' AND order_date < '2026-01-19'"
    for where, read in (
        (f"{week} AND customer_id = 4", ["p_2026_01_12_p_2026_01_12sp1"]),
        (week, [f"p_2026_01_12_p_2026_01_12sp{i}" for i in range(3)]),
    ):
        explained = server.sql(
            f"EXPLAIN FORMAT=TRADITIONAL SELECT * FROM crm_orders WHERE {where}", schema
        )
        assert explained[0][3].split(",") == read
    assert server.sql(f"SELECT COUNT(*) FROM crm_orders WHERE {week}", schema) == [["49"]]


def test_key_partitions_are_those_planned_and_a_customer_is_in_one(
    server: own.MySQL, schema: str
) -> None:
    server.sql(statements("key"), schema)
    assert partitions(server, schema) == [
        [f"p{i}", "KEY", "`customer_id`", "NULL"] for i in range(8)
    ]
    explained = server.sql(
        "EXPLAIN FORMAT=TRADITIONAL SELECT * FROM crm_orders WHERE customer_id = 13", schema
    )
    assert re.fullmatch(r"p[0-7]", explained[0][3])


def test_hash_partitions_are_those_planned_and_a_customer_is_in_one(
    server: own.MySQL, schema: str
) -> None:
    server.sql(statements("hash"), schema)
    assert partitions(server, schema) == [
        [f"p{i}", "HASH", "`customer_id`", "NULL"] for i in range(8)
    ]
    rows = ", ".join(f"({i}, {i % 19}, '2026-01-01', 1)" for i in range(1, 191))
    server.sql(f"INSERT INTO crm_orders VALUES {rows}", schema)
    for i in range(8):
        found = server.sql(f"SELECT DISTINCT customer_id FROM crm_orders PARTITION (p{i})", schema)
        assert sorted(int(row[0]) for row in found) == [c for c in range(19) if c % 8 == i]
    explained = server.sql(
        "EXPLAIN FORMAT=TRADITIONAL SELECT * FROM crm_orders WHERE customer_id = 13", schema
    )
    assert explained[0][3] == "p5"


def test_statement_that_is_wrong_is_refused(server: own.MySQL, schema: str) -> None:
    """That the server judges at all: the mistake the template avoids is an error."""
    wrong = statements("hash").replace("PRIMARY KEY (id, customer_id)", "PRIMARY KEY (id)")
    assert wrong != statements("hash")
    code, said = server.ask(wrong, schema)
    assert code != 0
    assert "1503" in said


# --- The schema job, on the same server ----------------------------------------------------------


@pytest.fixture
def job(server: own.MySQL, schema: str, tmp_path: Path) -> Callable[[int], None]:
    """The schema job of a stack of so many shards, all of which are that one server."""
    server.sql(
        "CREATE USER IF NOT EXISTS crm_owner@'%' IDENTIFIED BY 'canary'; "
        f"GRANT ALL ON {schema}.* TO crm_owner@'%'"
    )
    (tmp_path / "schema.sql").write_text(statements("none"))
    (tmp_path / "database_owner_password").write_text("canary")

    def run(shards: int) -> None:
        spec = stack_file.parse({"database": {"shards": shards, "name": schema}}, "sql")
        told = json.loads(render.Renderer().tree(plan.make("sql", spec))["app/job.json"])
        for shard in told["database"]["shards"]:
            shard |= {"host": own.gateway(), "port": server.port}
        told["database"]["ssl_mode"] = "verify_ca"
        (tmp_path / told["database"]["ca"]).write_text(server.authority)
        (tmp_path / "app.json").write_text(json.dumps(told))
        job_of_the_app.main(
            {"CRM_CONFIG": str(tmp_path / "app.json"), "CRM_SECRETS": str(tmp_path)}
        )

    return run


def stored(server: own.MySQL, schema: str) -> list[list[str]]:
    return server.sql(
        "SELECT name, buckets, first_bucket, last_bucket, map_version FROM crm_shard", schema
    )


def test_job_gives_a_server_of_an_earlier_release_its_version(
    server: own.MySQL, schema: str, job: Callable[[int], None]
) -> None:
    job(1)
    version = plan.make("sql", stack_file.parse({}, "sql")).database.map_version
    identity = [["database-1", "64", "0", "63", version]]
    assert stored(server, schema) == identity
    server.sql("ALTER TABLE crm_shard DROP map_version", schema)
    server.sql("INSERT INTO customers (id, name, email) VALUES (1, 'A', 'a@b')", schema)
    for _ in range(2):
        job(1)
        assert stored(server, schema) == identity


def test_job_refuses_another_map_over_rows_and_changes_nothing(
    server: own.MySQL, schema: str, job: Callable[[int], None]
) -> None:
    job(1)
    before = stored(server, schema)
    server.sql("INSERT INTO users (id, name, email, role) VALUES (1, 'A', 'a@b', 'r')", schema)
    with pytest.raises(JobError, match=r"^database-1: this server holds rows .* 0 to 63 of 64"):
        job(2)
    assert stored(server, schema) == before
    # Buckets are compared, and so is the map that they are of.
    server.sql("UPDATE crm_shard SET map_version = '00000000'", schema)
    with pytest.raises(JobError, match="map 00000000"):
        job(1)
    server.sql("DELETE FROM users", schema)
    job(1)
    assert stored(server, schema) == before


def test_job_finds_out_two_shards_that_are_one_server(job: Callable[[int], None]) -> None:
    with pytest.raises(JobError, match="do two shards name one server"):
        job(2)


# --- What runs in the stacks ---------------------------------------------------------------------

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
VARIABLES = {"default_time_zone": "time_zone"}
"""Settings whose variable has another name."""
SWITCHES = {"ON": "1", "OFF": "0", "TRUE": "1", "FALSE": "0", "YES": "1", "NO": "0"}


def normal(value: str) -> str:
    """``64M`` and ``67108864``, ``ON`` and ``1``, any order of modes: one form each."""
    size = re.fullmatch(r"(\d+)([KMG])", value)
    if size:
        return str(int(size[1]) * UNITS[size[2]])
    if re.fullmatch(r"/.*/", value):
        return value.rstrip("/")
    if "," in value:
        return ",".join(sorted(value.split(",")))
    return SWITCHES.get(value.upper(), value)


def test_normal_keeps_apart_what_differs() -> None:
    assert normal("64M") == normal("67108864") != normal("64K")
    assert normal("ON") == "1" != normal("off")
    assert normal("B,A") == normal("A,B") != normal("A,C")


def test_every_setting_is_in_force(any_stack: Stack) -> None:
    database = plan_of(any_stack).database
    layers = {setting.layer for setting in database.settings}
    assert layers == {"derived", "forced"}
    for shard in database.shards:
        # A server without the X plugin has no such variable: its state says the same.
        plugin = (
            "SELECT 'mysqlx', IF(PLUGIN_STATUS = 'ACTIVE', 'ON', 'OFF') "
            "FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'mysqlx'"
        )
        rows = any_stack.sql(shard.name, f"SHOW GLOBAL VARIABLES; {plugin}")
        variables = {row[0]: normal(row[1]) for row in rows}
        wanted = {setting.name: normal(setting.value) for setting in database.settings}
        found = {
            name: variables.get(VARIABLES.get(name, name), "no such variable") for name in wanted
        }
        assert found == wanted, shard.name
        assert variables["server_id"] == str(shard.server_id)


def test_settings_of_the_stack_file_are_in_force(dev: Stack) -> None:
    line = "    memory_mib: 640\n"
    given = f"{line}    settings:\n      long_query_time: 3\n      max_connections: 77\n"
    dev.edit(line, given)
    try:
        dev.up()
        asked = "SELECT @@global.long_query_time, @@global.max_connections"
        assert dev.sql("database-1", asked) == [["3.000000", "77"]]
    finally:
        dev.edit(given, line)
        dev.up()


def test_server_keeps_to_its_memory(docker_stack: Stack) -> None:
    # Temporary tables and sorts, of several sessions at once, beside a pool that is as it is.
    heavy = (
        "SET SESSION cte_max_recursion_depth = 200000; WITH RECURSIVE numbers (i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < 200000) "
        "SELECT COUNT(DISTINCT SHA2(i, 256)) FROM numbers"
    )
    client = f'mysql --defaults-file=/run/crm/client.cnf -NBe "{heavy}" crm'
    # Several times: what they have together is at its limit at some moments only.
    sessions = f"for n in 1 2 3 4 5; do for i in 1 2 3 4 5 6; do {client} & done; wait; done"
    # Version 1 of control groups has the count in one file, version 2 in the other.
    killed = "cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>&1"
    for shard in plan_of(docker_stack).database.shards:
        # Other tests have killed servers; this one asks after those that nobody killed.
        restarts = docker_stack.container(shard.name).attrs["RestartCount"]
        answers = docker_stack.execute(shard.name, "sh", "-c", sessions).split()
        assert answers == ["200000"] * 30
        counted = docker_stack.execute(shard.name, "sh", "-c", f"{killed} || true")
        assert re.findall(r"^oom_kill (\d+)$", counted, re.MULTILINE) == ["0"]
        state = docker_stack.container(shard.name).attrs
        assert state["State"]["OOMKilled"] is False
        assert state["RestartCount"] == restarts


def test_server_warns_of_nothing_in_its_settings(docker_stack: Stack) -> None:
    for shard in plan_of(docker_stack).database.shards:
        log = docker_stack.container(shard.name).logs().decode()
        assert "ready for connections" in log
        lines = [line for line in log.splitlines() if "[ERROR]" in line or "deprecated" in line]
        assert lines == [], shard.name


# --- Accounts ------------------------------------------------------------------------------------


def as_account(stack: Stack, user: str, statement: str) -> tuple[int, str]:
    """Exit code and output of ``statement`` as ``user`` over TCP, as the app connects."""
    secret = f"/etc/crm/secrets/database_{user.removeprefix('crm_')}_password"
    script = f'MYSQL_PWD=$(cat {secret}) exec mysql -h127.0.0.1 -u{user} -NB -e "$0" crm'
    return own.ask(stack.container("database-1"), "sh", "-c", script, statement)


def test_grants_are_exactly_those_meant(any_stack: Stack) -> None:
    for shard in plan_of(any_stack).database.shards:
        accounts = any_stack.sql(
            shard.name, "SELECT user, host FROM mysql.user WHERE user NOT LIKE 'mysql.%' ORDER BY 1"
        )
        assert accounts == [["crm_app", "%"], ["crm_owner", "%"], ["root", "localhost"]]
        for user, right in (
            ("crm_app", "SELECT, INSERT, UPDATE, DELETE"),
            ("crm_owner", "ALL PRIVILEGES"),
        ):
            assert any_stack.sql(shard.name, f"SHOW GRANTS FOR {user}") == [
                [f"GRANT USAGE ON *.* TO `{user}`@`%`"],
                [f"GRANT {right} ON `crm`.* TO `{user}`@`%`"],
            ]


def test_app_account_reads_and_writes_rows(dev: Stack) -> None:
    code, said = as_account(
        dev,
        "crm_app",
        "START TRANSACTION; INSERT INTO users VALUES (7, 'n', 'e', 'r', NOW()); "
        "UPDATE users SET name = 'm' WHERE id = 7; SELECT name FROM users WHERE id = 7; "
        "DELETE FROM users WHERE id = 7; ROLLBACK",
    )
    assert (code, said) == (0, "m\n")


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("crm_app", "CREATE TABLE t (i INT)"),
        ("crm_app", "DROP TABLE users"),
        ("crm_app", "ALTER TABLE users ADD COLUMN x INT"),
        ("crm_app", "TRUNCATE users"),
        ("crm_app", "CREATE DATABASE other"),
        ("crm_app", "SELECT * FROM mysql.user"),
        ("crm_app", "CREATE USER x"),
        ("crm_app", "SET GLOBAL max_connections = 1"),
        ("crm_app", "GRANT SELECT ON crm.* TO crm_owner"),
        ("crm_app", "SELECT 1 INTO OUTFILE '/tmp/x'"),
        ("crm_owner", "SELECT * FROM mysql.user"),
        ("crm_owner", "CREATE DATABASE other"),
        ("crm_owner", "CREATE USER x"),
        ("crm_owner", "SET GLOBAL max_connections = 1"),
        ("crm_owner", "SELECT 1 INTO OUTFILE '/tmp/x'"),
    ],
)
def test_account_may_do_no_more(dev: Stack, user: str, statement: str) -> None:
    code, said = as_account(dev, user, statement)
    assert code == 1
    # Denied for want of a privilege, and not because the statement is wrong.
    assert re.search(r"ERROR (1044|1045|1142|1227|1290)\b", said), said


def test_owner_account_makes_and_drops_tables(dev: Stack) -> None:
    assert as_account(dev, "crm_owner", "CREATE TABLE t (i INT); DROP TABLE t") == (0, "")


def test_root_comes_in_by_socket_alone(dev: Stack) -> None:
    assert as_account(dev, "crm_root", "SELECT 1")[0] == 1
    secret = "MYSQL_PWD=$(cat /etc/crm/secrets/database_root_password)"
    for host in ("127.0.0.1", "database-1"):
        script = f"{secret} exec mysql -h{host} -uroot -e 'SELECT 1'"
        code, said = own.ask(dev.container("database-1"), "sh", "-c", script)
        assert code == 1, host
        assert "ERROR 1045" in said or "ERROR 1130" in said, said
    assert dev.sql("database-1", "SELECT CURRENT_USER()") == [["root@localhost"]]


def test_files_of_the_server_are_its_own_alone(dev: Stack) -> None:
    listed = dev.execute("database-1", "sh", "-c", "cd /etc/crm/secrets && stat -c '%a %u %n' *")
    assert sorted(listed.splitlines()) == [
        *(f"400 10002 database_{name}_password" for name in ("app", "owner", "root")),
        *(f"400 10002 database_tls_{name}" for name in ("ca", "certificate", "key")),
    ]
    made = dev.execute("database-1", "sh", "-c", "cd /run/crm && stat -c '%a %n' *.sql *.cnf")
    assert made.splitlines() == ["600 accounts.sql", "600 client.cnf"]
