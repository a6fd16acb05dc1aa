"""An application whose dependencies refuse every connection: port 1 of this machine; a bucket in
memory and a keeper's volume."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from obstore.store import MemoryStore

from crm.factory import create_app
from crm.offsite_bucket import Bucket
from crm.services import Services
from crm.settings import Settings, load
from tests.app.offsite_keeper import Keeper


def app_file() -> dict[str, object]:
    """app.json as the contract shows it: two shards, one cache."""
    return {
        "stack": "test",
        "server": {"workers": 1, "threads": 2},
        "database": {
            "buckets": 64,
            "map_version": "0a1b2c3d",
            "name": "crm",
            "user": "crm_app",
            "pool_size": 2,
            "shards": [
                {
                    "name": name,
                    "host": "127.0.0.1",
                    "port": 1,
                    "first_bucket": first,
                    "last_bucket": first + 31,
                }
                for name, first in (("database-1", 0), ("database-2", 32))
            ],
        },
        "cache": {
            "mode": "single",
            "nodes": [{"host": "127.0.0.1", "port": 1}],
            "ttl_seconds": 60,
        },
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "app.json").write_text(json.dumps(app_file()))
    for name in ("database_app_password", "cache_password"):
        (tmp_path / name).write_text("canary\n")
    return load(
        {
            "CRM_CONFIG": str(tmp_path / "app.json"),
            "CRM_SECRETS": str(tmp_path),
            "CRM_INSTANCE": "app-7",
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "shared"),
        }
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    made = create_app(settings)
    yield made
    services = made.extensions["crm"]
    assert isinstance(services, Services)
    services.shards.close()
    services.cache.close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(MemoryStore(), "sales/database-1", "the bucket")


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "data")
