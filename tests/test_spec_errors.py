"""The words that refuse: which key, what is wrong, what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.refusals import FILE, refusal


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ({"ap": {}}, "crm:ap: there is no such key; did you mean `app`?"),
        ({"app": {"replica": 3}}, "crm:app.replica: there is no such key; did you mean `replicas`"),
        ({"app": {"memory": 3}}, "crm:app.memory: there is no such key; did you mean `memory_mib`"),
        ({"database": {"shard": 2}}, "crm:database.shard: there is no such key; did you mean `sha"),
        (
            {"database": {"orders": {"partition": "range"}}},
            "crm:database.orders.partition: there is no such key; did you mean `partition_by`?",
        ),
        ({"secrets": {"cache_password": {"environ": "A"}}}, "did you mean `env`?"),
        ({"app": {"zzz": 3}}, "known keys are cpus, health_path, memory_mib, port"),
    ],
)
def test_misspelled_key_gets_the_nearest_name(config: dict[str, Any], hint: str) -> None:
    message = refusal(config)
    assert message.startswith(f"{FILE}: ")
    assert hint in message


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            {"services": {"orders": {}}},
            "crm:services.orders.health_path: is missing; write a path, a slash first and none "
            "last, for example /api/v1/orders",
        ),
        (
            {"edge": {"routes": [{"service": "app"}]}},
            "crm:edge.routes[0].prefix: is missing; write a path, a slash first and none last, "
            "for example /api/v1/orders",
        ),
        (
            {"edge": {"routes": [{"prefix": "/a", "service": "app"}, {"prefix": "/b"}]}},
            "crm:edge.routes[1].service: is missing; write lower-case letters, digits and dashes, "
            "a letter first, no dash last, 31 at most, for example sales",
        ),
        (
            {"app": {"replicas": {"min": 2}}},
            "crm:app.replicas.max: is missing; write a whole number from 1 to 500, for example 3",
        ),
        (
            {"database": {"external": {"host": "h"}}},
            "crm:database.external.password: is missing; name where it is read from, such as "
            "{env: CRM_DATABASE_PASSWORD}",
        ),
        (
            {"cache": {"external": {}}},
            "crm:cache.external.host: is missing; write a host name or IPv4 address, for example "
            "db.internal.example.com",
        ),
    ],
)
def test_missing_key_is_told_what_would_be_right(config: dict[str, Any], sentence: str) -> None:
    assert refusal(config) == f"{FILE}: {sentence}"


@pytest.mark.parametrize(
    ("edge", "sentence"),
    [
        ({"weights": 3}, "edge.weights: 3 is not allowed; write a list, such as [2]"),
        (
            {"tls": {"hosts": "localhost"}},
            "edge.tls.hosts: 'localhost' is not allowed; write a list, such as [crm.example.com]",
        ),
        (
            {"routes": {"/a": "app"}},
            "edge.routes: this is not allowed; write a list, such as "
            "[{prefix: /api/v1/orders, service: sales}]",
        ),
    ],
)
def test_what_should_be_a_list_is_shown_one(edge: dict[str, Any], sentence: str) -> None:
    assert refusal({"edge": edge}) == f"{FILE}: crm:{sentence}"


@pytest.mark.parametrize(
    "config",
    [
        {"secrets": {"cache_password": "hunter2"}},
        {"secrets": {"cache_password": {"env": {"hunter2": 1}}}},
        {"secrets": {"cache_password": {"value": "hunter2"}}},
        {"secrets": {"cache_password": ["hunter2"]}},
        {"cache": {"external": {"host": "h", "password": "hunter2"}}},
        {"cache": {"password": "hunter2"}},
        {"database": {"external": {1: 2, "password": "hunter2"}}},
    ],
)
def test_password_written_into_the_file_is_refused_and_not_repeated(config: dict[str, Any]) -> None:
    assert "hunter2" not in refusal(config)


def test_wrong_name_in_a_mapping_is_named() -> None:
    message = refusal({"database": {"settings": {"sort_buffer_size": 1, "sync-binlog": 0}}})
    assert "crm:database.settings.sync-binlog: 'sync-binlog' is not allowed as a name" in message


def test_wrong_value_in_a_mapping_is_named() -> None:
    message = refusal({"database": {"settings": {"sort_buffer_size": 1, "tmp_table_size": "1 M"}}})
    assert "crm:database.settings.tmp_table_size: '1 M' is not allowed; write a plain" in message


def test_key_that_is_no_text_is_refused() -> None:
    assert f"{FILE}: crm:app.1: '1' is not allowed as a name" in refusal({"app": {1: 2}})
