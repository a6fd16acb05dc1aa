"""Errors of app.json name the file, the key and what would be right."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crm.errors import CrmError
from crm.settings import Secrets, Settings, load, parse
from tests.app.conftest import app_file

Change = Callable[[Any], object]


def test_parse_accepts_what_the_platform_writes() -> None:
    parsed = parse(json.dumps(app_file()).encode(), "app.json")
    assert [shard.name for shard in parsed.database.shards] == ["database-1", "database-2"]
    assert parsed.server.port == 8000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda f: f["server"].update(workers=0), "app.json: server.workers: Expected `int` >= 1"),
        (lambda f: f["server"].update(workers="3"), "server.workers: Expected `int`, got `str`"),
        (lambda f: f["cache"].update(ttl_second=1), "did you mean `ttl_seconds`?"),
        (lambda f: f["cache"].update(mode="ring"), "cache.mode: Invalid enum value 'ring'"),
        (
            lambda f: f["database"]["shards"][1].update(port=70000),
            "database.shards[1].port: Expected `int` <= 65535",
        ),
        (lambda f: f["database"]["shards"].pop(), "right would be 0 to 63"),
        (lambda f: f["database"]["shards"][1].update(first_bucket=30), "without gap or overlap"),
        (lambda f: f["database"]["shards"][1].update(first_bucket=33), "next free bucket is 32"),
        (lambda f: f["database"]["shards"][1].update(name="database-1"), "one name"),
        (lambda f: f.pop("cache"), "app.json: file: Object missing required field `cache`"),
        (lambda f: f.update(edge={}), "edge"),
    ],
)
def test_parse_refuses(change: Change, expected: str) -> None:
    content = app_file()
    change(content)
    with pytest.raises(CrmError) as caught:
        parse(json.dumps(content).encode(), "app.json")
    assert expected in str(caught.value)


def test_parse_refuses_what_is_no_json() -> None:
    with pytest.raises(CrmError, match=r"app\.json: is no JSON"):
        parse(b"{", "app.json")


def test_load_without_the_file(tmp_path: Path) -> None:
    with pytest.raises(CrmError, match=r"none\.json: cannot be read"):
        load({"CRM_CONFIG": str(tmp_path / "none.json")})


def test_load_refuses_an_instance_that_would_split_a_header() -> None:
    with pytest.raises(CrmError, match="CRM_INSTANCE"):
        load({"CRM_INSTANCE": "a\r\nSet-Cookie: b"})


def test_secret_is_read_anew_each_time(settings: Settings, tmp_path: Path) -> None:
    assert settings.secrets.read("cache_password") == "canary"
    (tmp_path / "cache_password").write_text("rotated")
    assert settings.secrets.read("cache_password") == "rotated"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_secret_that_cannot_be_used_names_itself_only(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "cache_password").write_bytes(content)
    with pytest.raises(CrmError, match="secret cache_password"):
        Secrets(tmp_path).read("cache_password")
