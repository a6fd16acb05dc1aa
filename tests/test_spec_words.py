"""The words of stack files: every field, found by introspection so that no new one escapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect

from stacks import stack_file
from stacks.errors import CrmError
from stacks.spec import StackSpec
from tests.refusals import FILE, refusal


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """``("app", "port")`` and 1 → ``{"app": {"port": 1}}``; ``[]`` is a list of one."""
    for step in reversed(path):
        value = [value] if step == "[]" else {step: value}
    assert isinstance(value, dict)
    return value


def leaves(
    kind: inspect.Type, path: tuple[str, ...] = (), meta: dict[str, Any] | None = None
) -> Iterator[tuple[tuple[str, ...], inspect.Type, dict[str, Any]]]:
    """Each place of a stack file that holds one value: its path, type and description.

    A mapping's own names are given as the path ``(…, "names")`` with the type of its keys.
    """
    if isinstance(kind, inspect.Metadata):
        yield from leaves(kind.type, path, kind.extra_json_schema)
    elif isinstance(kind, inspect.UnionType):
        or_none = any(isinstance(member, inspect.NoneType) for member in kind.types)
        for member in kind.types:
            for place, found, about in leaves(member, path, meta):
                yield place, found, {**about, "or_none": or_none} if place == path else about
    elif isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from leaves(field.type, (*path, field.encode_name))
    elif isinstance(kind, inspect.VarTupleType):
        yield from leaves(kind.item_type, (*path, "[]"))
    elif isinstance(kind, inspect.DictType):
        yield from leaves(kind.key_type, (*path, "names"))
        if isinstance(kind.key_type, inspect.LiteralType):
            name = str(kind.key_type.values[0])
        else:
            assert isinstance(kind.key_type, inspect.Metadata)
            name = str((kind.key_type.extra_json_schema or {})["examples"][0])
        yield from leaves(kind.value_type, (*path, name))
    elif not isinstance(kind, inspect.NoneType):
        yield path, kind, meta or {}


LEAVES = list(leaves(inspect.type_info(StackSpec)))
STRINGS = [leaf for leaf in LEAVES if isinstance(leaf[1], inspect.StrType | inspect.LiteralType)]
NUMBERS = [leaf for leaf in LEAVES if isinstance(leaf[1], inspect.IntType | inspect.FloatType)]
SWITCHES = [path for path, kind, _ in LEAVES if isinstance(kind, inspect.BoolType)]
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
        ("edge", "routes", "[]", "prefix"),
        ("edge", "tls", "hosts", "[]"),
        ("edge", "tls", "key", "file"),
        ("edge", "limits", "queue"),
        ("services", "names"),
        ("services", "orders", "health_path"),
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
        inspect.BoolType,
    }, "a new kind of value: teach these tests how to give it a wrong one"


@pytest.mark.parametrize("owner", ["sales-", "a-", "a--"])
def test_name_that_no_label_of_kubernetes_may_have_is_refused(owner: str) -> None:
    said = refusal({"owner": owner})
    assert said.startswith(f"{FILE}: crm:owner: {owner!r} is not allowed; write lower-case ")
    assert "no dash last" in said
    with pytest.raises(CrmError, match=r"cannot be a stack's name; .* no dash last"):
        stack_file.parse({}, owner)


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
    wrongs = (right + bad, bad + right, right + bad + right)
    # A sentence has spaces, but only between its words.
    is_sentence = bad == " " and path[-1] == "reason"
    for wrong in wrongs[:2] if is_sentence else wrongs:
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
    wrongs: list[object] = [kind.ge - 1, kind.le + 1, -1, "three", "1", 1e9, True, [1]]
    if kind.ge > 0:
        wrongs.append(0)
    if not meta.get("or_none"):
        wrongs.append(None)
    if isinstance(kind, inspect.IntType):
        wrongs += [1.5, 2.0]
    for wrong in wrongs:
        message = refusal(nested(path, wrong))
        assert message.startswith(f"{FILE}: crm:{'.'.join(path).replace('.[]', '[0]')}: ")
        assert meta["description"] in message
        assert f"for example {meta['examples'][0]}" in message


@pytest.mark.parametrize("wrong", ["true", "on", 1, 0, None, [True]])
@pytest.mark.parametrize("path", SWITCHES, ids=_id)
def test_switch_that_is_neither_true_nor_false_is_refused(
    path: tuple[str, ...], wrong: object
) -> None:
    message = refusal(nested(path, wrong))
    assert message.startswith(f"{FILE}: crm:{'.'.join(path)}: ")
    assert message.endswith(" is not allowed; write true or false")


@pytest.mark.parametrize(("path", "kind", "meta"), [*STRINGS, *NUMBERS], ids=_id)
def test_example_in_a_message_is_right_itself(
    path: tuple[str, ...], kind: inspect.Type, meta: dict[str, Any]
) -> None:
    if "examples" not in meta:
        assert isinstance(kind, inspect.LiteralType | inspect.IntType)
        return
    example = meta["examples"][0]
    config = nested(path, example)
    if path[-1] == "names":
        kept = {"column": "seen_on", "interval": "day", "ahead": 1}
        values = {"services": {"health_path": "/healthz"}, "tables": kept}
        config = nested((*path[:-1], example), values.get(path[-2], 1))
    try:
        stack_file.parse(config, "dev")
    except CrmError as error:
        # Right by itself; only what must stand beside it is not there.
        assert "is not allowed" not in str(error)


@pytest.mark.parametrize(
    "path",
    ["/", "/a/", "a", "/a//b", "/a b", "/a;b", "/a{b", "/a\n", "/.", "/..", "/a/../b", "/a/."],
)
def test_path_that_the_proxies_would_take_differently_is_refused(path: str) -> None:
    # nginx looks at a path after `.` and `..` are taken out, HAProxy at what the client wrote.
    message = refusal({"app": {"health_path": path}})
    assert message.startswith(f"{FILE}: crm:app.health_path: {path!r} is not allowed; write a path")
    assert "\n" not in message


@pytest.mark.parametrize(
    "path", ["/healthz", "/api/v1/orders", "/.well-known/x", "/a..b/...", "/~me"]
)
def test_path_with_dots_in_a_name_is_taken(path: str) -> None:
    assert stack_file.parse({"app": {"health_path": path}}, "dev").app.health_path == path
