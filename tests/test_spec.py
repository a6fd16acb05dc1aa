"""What a stack file may say: every default, every range, and how a wrong value is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect

from stacks import stack_file
from stacks.errors import CrmError
from stacks.spec import Autoscale, StackSpec

FILE = "stacks/config/Pulumi.dev.yaml"
SECRET = {"env": "CRM_PASSWORD"}
EXTERNAL = {"host": "db.example.com", "password": SECRET, "owner_password": SECRET}


def refusal(config: dict[str, Any]) -> str:
    with pytest.raises(CrmError) as caught:
        stack_file.parse(config, "dev")
    return str(caught.value)


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """``("app", "port")`` and 1 → ``{"app": {"port": 1}}``; ``[]`` is a list of one."""
    for step in reversed(path):
        value = [value] if step == "[]" else {step: value}
    assert isinstance(value, dict)
    return value


# --- Every field, found by introspection, so that a new one cannot escape ------------------------


def leaves(
    kind: inspect.Type, path: tuple[str, ...] = (), meta: dict[str, Any] | None = None
) -> Iterator[tuple[tuple[str, ...], inspect.Type, dict[str, Any]]]:
    """Each place of a stack file that holds one value: its path, type and description.

    A mapping's own names are given as the path ``(…, "names")`` with the type of its keys.
    """
    if isinstance(kind, inspect.Metadata):
        yield from leaves(kind.type, path, kind.extra_json_schema)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from leaves(member, path, meta)
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from leaves(field.type, (*path, field.encode_name))
    elif isinstance(kind, inspect.VarTupleType):
        yield from leaves(kind.item_type, (*path, "[]"))
    elif isinstance(kind, inspect.DictType):
        yield from leaves(kind.key_type, (*path, "names"))
        name = "max_allowed_packet"
        if isinstance(kind.key_type, inspect.LiteralType):
            name = str(kind.key_type.values[0])
        yield from leaves(kind.value_type, (*path, name))
    elif not isinstance(kind, inspect.NoneType):
        yield path, kind, meta or {}


LEAVES = list(leaves(inspect.type_info(StackSpec)))
STRINGS = [leaf for leaf in LEAVES if isinstance(leaf[1], inspect.StrType | inspect.LiteralType)]
NUMBERS = [leaf for leaf in LEAVES if isinstance(leaf[1], inspect.IntType | inspect.FloatType)]
# A MySQL setting may be any whole number: what is right is the server's to say.
BOUNDED = [leaf for leaf in NUMBERS if leaf[0][:2] != ("database", "settings")]


def _id(leaf: object) -> str | None:
    return ".".join(leaf) if isinstance(leaf, tuple) else None


def test_introspection_finds_the_fields_there_are() -> None:
    found = {path for path, _, _ in LEAVES}
    assert {
        ("owner",),
        ("images", "nginx"),
        ("edge", "weights", "[]"),
        ("app", "replicas"),
        ("app", "replicas", "min"),
        ("kubernetes", "node_port"),
        ("images", "pull_secret", "file"),
        ("database", "name"),
        ("database", "settings", "names"),
        ("database", "external", "password", "env"),
        ("cache", "external", "host"),
        ("secrets", "cache_password", "file"),
    } <= found
    assert {type(kind) for _, kind, _ in LEAVES} == {
        inspect.StrType,
        inspect.LiteralType,
        inspect.IntType,
        inspect.FloatType,
    }, "a new kind of value: teach these tests how to give it a wrong one"


@pytest.mark.parametrize("bad", ["\n", ";", "}", "{{", "{%", "`", "$", "'", '"', "\0", " ", "#"])
@pytest.mark.parametrize(("path", "kind", "meta"), STRINGS, ids=_id)
def test_text_with_a_character_that_could_leave_its_place_is_refused(
    path: tuple[str, ...], kind: inspect.Type, meta: dict[str, Any], bad: str
) -> None:
    if isinstance(kind, inspect.LiteralType):
        right = str(kind.values[0])
    else:
        # Every text in a stack file has a pattern, and an example of what would be right.
        assert isinstance(kind, inspect.StrType)
        assert kind.pattern is not None
        right = str(meta["examples"][0])
    for wrong in (right + bad, bad + right, right + bad + right):
        is_name = path[-1] == "names"
        config = nested((*path[:-1], wrong), 1) if is_name else nested(path, wrong)
        message = refusal(config)
        assert message.startswith(f"{FILE}: crm:{path[0]}")
        assert ".".join(path[:-1] if is_name else path).replace(".[]", "[0]") in message
        assert "; write " in message
        assert "\n" not in message


@pytest.mark.parametrize(("path", "kind", "meta"), BOUNDED, ids=_id)
def test_number_beyond_its_bounds_is_refused(
    path: tuple[str, ...], kind: inspect.Type, meta: dict[str, Any]
) -> None:
    assert isinstance(kind, inspect.IntType | inspect.FloatType)
    assert kind.ge is not None
    assert kind.le is not None
    wrongs: list[object] = [kind.ge - 1, kind.le + 1, 0, -1, "three", "1", 1e9, None, True, [1]]
    if isinstance(kind, inspect.IntType):
        wrongs += [1.5, 2.0]
    for wrong in wrongs:
        message = refusal(nested(path, wrong))
        assert message.startswith(f"{FILE}: crm:{'.'.join(path).replace('.[]', '[0]')}: ")
        assert meta["description"] in message
        assert f"for example {meta['examples'][0]}" in message


@pytest.mark.parametrize(("path", "kind", "meta"), [*STRINGS, *NUMBERS], ids=_id)
def test_example_in_a_message_is_right_itself(
    path: tuple[str, ...], kind: inspect.Type, meta: dict[str, Any]
) -> None:
    if "examples" not in meta:
        assert isinstance(kind, inspect.LiteralType | inspect.IntType)
        return
    example = meta["examples"][0]
    config = nested((*path[:-1], example), 1) if path[-1] == "names" else nested(path, example)
    try:
        stack_file.parse(config, "dev")
    except CrmError as error:
        # Right by itself; only what must stand beside it is not there.
        assert "is not allowed" not in str(error)


# --- What the description of this work names -----------------------------------------------------


@pytest.mark.parametrize("replicas", [0, -1, "three", 1e9, 10**9])
def test_replicas_out_of_range_names_file_key_and_form(replicas: object) -> None:
    assert refusal({"app": {"replicas": replicas}}) == (
        f"{FILE}: crm:app.replicas: {replicas!r} is not allowed; "
        "write a whole number from 1 to 500, for example 3"
    )


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
        ({"app": {"zzz": 3}}, "known keys are cpus, memory_mib, port, replicas"),
    ],
)
def test_misspelled_key_gets_the_nearest_name(config: dict[str, Any], hint: str) -> None:
    message = refusal(config)
    assert message.startswith(f"{FILE}: ")
    assert hint in message


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
        "nginx:1.28.0",
        "library/nginx:1.28.0-alpine",
        "registry.example.com:5000/team/nginx:1",
        "nginx@sha256:" + "0" * 64,
        "nginx:1.28.0@sha256:" + "0" * 64,
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
        ({"edge": {"algorithm": "weighted"}}, "`algorithm: weighted` and `weights` go together"),
        ({"edge": {"weights": [1]}}, "`algorithm: weighted` and `weights` go together"),
        (
            {"edge": {"algorithm": "weighted", "weights": [1, 2]}, "app": {"replicas": 3}},
            "`edge.weights` has 2 weights for 3 app replicas; write one per replica",
        ),
        ({"edge": {"hash_header": "X-Id"}}, "`hash_header` is for `algorithm: consistent_hash`"),
        ({"cache": {"masters": 3}}, "write `mode: cluster` and `masters: 3` or more"),
        ({"database": {"external": EXTERNAL, "shards": 2}}, "leave `shards` out"),
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


# --- Kubernetes ----------------------------------------------------------------------------------

SCALED = {"min": 2, "max": 6}


def test_autoscaler_is_asked_for_in_the_place_of_a_number() -> None:
    config = {"target": "kubernetes", "app": {"replicas": SCALED}}
    assert stack_file.parse(config, "dev").app.replicas == Autoscale(min=2, max=6, cpu_percent=70)


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
