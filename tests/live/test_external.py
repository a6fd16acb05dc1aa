"""A stack that uses a MySQL and a Redis that exist already, and runs none of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from tests import project as projects
from tests.live import own
from tests.live.client import call
from tests.live.stack import Stack, prepare

pytestmark = pytest.mark.live

DATABASE = """\
  crm:database:
    shards: 1
    cpus: 1
    memory_mib: 640
"""
CACHE = """\
  crm:cache:
    mode: single
    cpus: 0.25
    memory_mib: 64
    eviction: allkeys-lru
    ttl_seconds: 300
"""


@dataclass(frozen=True)
class Outside:
    """The services that are not the stack's, and the passwords that open them."""

    mysql: own.MySQL
    redis: Container
    redis_port: int
    passwords: dict[str, str]
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"CRM_EXT_APP": self.passwords["app"]}

    @property
    def database(self) -> str:
        return (
            "  crm:database:\n    external:\n"
            f"      host: {own.gateway()}\n      port: {self.mysql.port}\n"
            "      password: {env: CRM_EXT_APP}\n"
            f"      owner_password: {{file: {self.folder / 'owner'}}}\n"
            "      ssl_mode: verify_ca\n"
            f"      ca_certificate: {{file: {self.folder / 'ca.pem'}}}\n"
        )

    @property
    def cache(self) -> str:
        return (
            "  crm:cache:\n    external:\n"
            f"      host: {own.gateway()}\n      port: {self.redis_port}\n"
            f"      password: {{file: {self.folder / 'cache'}}}\n"
        )

    def redis_says(self, *command: str) -> str:
        client = ("redis-cli", "-a", self.passwords["cache"], "--no-auth-warning")
        code, said = own.ask(self.redis, *client, *command)
        assert code == 0, said
        return said.strip()


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    passwords = {name: secrets.token_hex(12) for name in ("app", "owner", "cache")}
    folder = tmp_path_factory.mktemp("outside")
    for name in ("owner", "cache"):
        (folder / name).write_text(passwords[name] + "\n", encoding="utf-8")
    with own.mysql() as mysql, own.redis(passwords["cache"]) as (redis, port):
        (folder / "ca.pem").write_text(mysql.authority, encoding="utf-8")
        yield Outside(mysql, redis, port, passwords, folder)


@pytest.fixture(autouse=True)
def empty(outside: Outside) -> None:
    """A new, empty database with the two accounts the documentation asks for."""
    outside.mysql.sql(
        "DROP DATABASE IF EXISTS crm; CREATE DATABASE crm CHARACTER SET utf8mb4;"
        "DROP USER IF EXISTS crm_app, crm_owner;"
        f"CREATE USER crm_owner IDENTIFIED BY '{outside.passwords['owner']}';"
        "GRANT ALL ON crm.* TO crm_owner;"
        f"CREATE USER crm_app IDENTIFIED BY '{outside.passwords['app']}';"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON crm.* TO crm_app;"
    )
    assert outside.redis_says("FLUSHALL") == "OK"


def up(stack: Stack, outside: Outside) -> projects.Run:
    return stack.crm("up", "--yes", **outside.environment)


def works(stack: Stack) -> tuple[int, int]:
    """The CRM reads back what it writes, through the cache too; a customer's and a user's id."""
    assert call(f"{stack.url}/readyz").status == 200
    body = {"name": "Zoë", "email": "zoe@example.org"}
    customer = call(f"{stack.url}/api/v1/customers", "POST", body).json["id"]
    order = {"customer_id": customer, "order_date": "2026-03-31", "order_amount": "19.90"}
    made = call(f"{stack.url}/api/v1/orders", "POST", order)
    assert made.status == 201, made.body
    read = call(f"{stack.url}/api/v1/orders/{made.json['id']}").json
    assert read["order_amount"] == "19.90"
    user = call(f"{stack.url}/api/v1/users", "POST", {**body, "role": "sales"}).json["id"]
    for _ in range(2):
        assert call(f"{stack.url}/api/v1/users/{user}").json["role"] == "sales"
    return int(customer), int(user)


OUTSIDE = {"app-outside": False}
"""What reaches a service elsewhere is apart from what the app is reached by."""


def internal(stack: Stack) -> dict[str, bool]:
    """The stack's networks, and whether each is closed to the outside."""
    client = docker.from_env()
    return {
        name.removeprefix(f"crm-{stack.name}-"): bool(client.networks.get(name).attrs["Internal"])
        for name in stack.objects()["networks"]
    }


def test_both_external(outside: Outside, tmp_path: Path) -> None:
    stack = prepare(tmp_path / "project", "dev")
    stack.edit(DATABASE, outside.database)
    stack.edit(CACHE, outside.cache)
    try:
        done = up(stack, outside)
        assert done.code == 0, done.err
        customer, user = works(stack)
        assert outside.mysql.sql(f"SELECT name FROM crm.customers WHERE id = {customer}") == [
            ["Zoë"]
        ]
        assert any(str(user) in key for key in outside.redis_says("KEYS", "*").splitlines())
        assert set(stack.containers()) == {"edge", "app-1"}
        volumes = stack.objects()["volumes"]
        assert {name.removeprefix(f"crm-{stack.name}-") for name in volumes} == {
            "app-files",
            "edge-files",
            "schema-files",
        }
        assert internal(stack) == {"edge": False, "app": True, **OUTSIDE, "schema-outside": False}
        again = up(stack, outside)
        assert again.code == 0
        assert "0 create, 0 delete, 0 replace" in again.out, again.out
        assert "0 update" in again.out
        gone = stack.crm("destroy", "--yes", **outside.environment)
        assert gone.code == 0, gone.err
        # What is not the stack's stays, and so do its rows; there is nothing else to keep.
        assert stack.objects() == {"containers": [], "networks": [], "volumes": []}
        assert outside.mysql.sql("SELECT COUNT(*) FROM crm.customers") == [["1"]]
    finally:
        stack.crm("destroy", "--yes", "--delete-data", **outside.environment)


def test_external_cache_alone(outside: Outside, tmp_path: Path) -> None:
    stack = prepare(tmp_path / "project", "dev")
    stack.edit(CACHE, outside.cache)
    try:
        done = up(stack, outside)
        assert done.code == 0, done.err
        _, user = works(stack)
        assert any(str(user) in key for key in outside.redis_says("KEYS", "*").splitlines())
        assert set(stack.containers()) == {"edge", "app-1", "database-1"}
        assert internal(stack) == {"edge": False, "app": True, **OUTSIDE, "database": True}
    finally:
        stack.crm("destroy", "--yes", "--delete-data", **outside.environment)


def test_external_database_alone(outside: Outside, tmp_path: Path) -> None:
    stack = prepare(tmp_path / "project", "dev")
    stack.edit(DATABASE, outside.database)
    try:
        done = up(stack, outside)
        assert done.code == 0, done.err
        works(stack)
        assert stack.redis("cache-1", "DBSIZE").strip() != "0"
        assert outside.redis_says("DBSIZE") == "0"
        assert set(stack.containers()) == {"edge", "app-1", "cache-1"}
        assert internal(stack) == {
            **{"edge": False, "app": True, "cache": True},
            **{**OUTSIDE, "schema-outside": False},
        }
    finally:
        stack.crm("destroy", "--yes", "--delete-data", **outside.environment)


def test_external_database_that_refuses_the_owner_fails_the_job_with_a_sentence(
    outside: Outside, tmp_path: Path
) -> None:
    stack = prepare(tmp_path / "project", "dev")
    stack.edit(DATABASE, outside.database)
    stack.edit(CACHE, outside.cache)
    outside.mysql.sql("REVOKE CREATE ON crm.* FROM crm_owner")
    try:
        done = up(stack, outside)
        assert done.code == 1
        assert "the job failed" in done.err
        assert "database-1: CREATE command denied" in done.err
        assert "Traceback" not in done.err
        assert stack.containers() == {}
        outside.mysql.sql("GRANT CREATE ON crm.* TO crm_owner")
        done = up(stack, outside)
        assert done.code == 0, done.err
        works(stack)
    finally:
        stack.crm("destroy", "--yes", "--delete-data", **outside.environment)
