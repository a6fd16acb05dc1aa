"""Alive, ready, degraded, stopping."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from crm.errors import DependencyError
from crm.services import Services
from crm.settings import STOPPING, Settings
from crm.shards import Shard


def test_healthz_needs_no_dependency(client: FlaskClient) -> None:
    assert client.get("/healthz").status_code == 200


def test_readyz_without_any_shard_is_503_and_says_why(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    found = response.get_json()
    assert found["status"] == "unready"
    assert sorted(found["shards"]) == ["database-1", "database-2"]
    assert "refused" in found["shards"]["database-1"]["reason"]
    assert found["cache"]["status"] == "down"


@pytest.mark.parametrize(
    ("dead", "locked", "cache_up", "status", "code"),
    [
        ((), (), True, "ready", 200),
        (("database-2",), (), True, "degraded", 200),
        ((), (), False, "degraded", 200),
        (("database-1", "database-2"), (), True, "unready", 503),
        # No password of this replica's: those that have the old one serve.
        (("database-2",), ("database-2",), True, "unready", 503),
    ],
)
def test_readyz_one_shard_is_enough(
    app: Flask,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    dead: tuple[str, ...],
    locked: tuple[str, ...],
    cache_up: bool,
    status: str,
    code: int,
) -> None:
    def check(shard: Shard) -> None:
        if shard.name in dead:
            raise DependencyError(shard.name, "stopped")

    def check_cache() -> None:
        if not cache_up:
            raise DependencyError("cache", "stopped")

    services = app.extensions["crm"]
    assert isinstance(services, Services)
    monkeypatch.setattr(Shard, "check", check)
    monkeypatch.setattr(Shard, "is_locked_out", property(lambda shard: shard.name in locked))
    monkeypatch.setattr(services.cache, "check", check_cache)
    response = client.get("/readyz")
    assert (response.get_json()["status"], response.status_code) == (status, code)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_checks_fail_once_the_replica_was_told_to_stop(
    client: FlaskClient, settings: Settings, path: str
) -> None:
    settings.shared.mkdir()
    (settings.shared / STOPPING).touch()
    response = client.get(path)
    assert response.status_code == 503
    assert response.get_json()["status"] == "stopping"


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/figures", "/static/crm.css", "/no"])
def test_stopping_app_keeps_no_connection(
    client: FlaskClient, settings: Settings, path: str
) -> None:
    with client.get(path) as before:
        assert "Connection" not in before.headers
    settings.shared.mkdir(exist_ok=True)
    (settings.shared / STOPPING).touch()
    with client.get(path) as after:
        assert after.headers["Connection"] == "close"


def test_health_checks_are_left_out_of_the_response_time(client: FlaskClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/static/crm.css", "/nothing"):
        client.get(path).close()
    assert client.get("/api/v1/figures").get_json()["response"]["count"] == 1


def test_metrics_name_the_route_and_not_the_id(client: FlaskClient) -> None:
    client.get("/api/v1/customers/12345")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'route="/api/v1/customers/<id:customer_id>"' in text
    assert "12345" not in text
