"""Property values as Pulumi sends and keeps them: plain JSON, secrets and unknowns marked.

A secret is ``{SIGNATURE: HIDDEN, "value": …}``, an unknown value the string ``UNKNOWN``; both as
in the protocol (sdk/go/common/resource/properties.go). Numbers without a fraction are ints.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

SIGNATURE = "4dabf18193072939515e22adb298388d"
HIDDEN = "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]


def from_struct(struct: Struct) -> Properties:
    """A protobuf struct as plain values."""
    return cast(Properties, _whole_numbers(MessageToDict(struct)))


def to_struct(properties: Mapping[str, Any]) -> Struct:
    """Plain values as a protobuf struct."""
    struct = Struct()
    struct.update(dict(properties))
    return struct


def hide(value: Any) -> Properties:
    """``value`` marked as a secret."""
    return {SIGNATURE: HIDDEN, "value": value}


def is_secret(value: Any) -> bool:
    """Whether ``value`` itself is marked as a secret."""
    return isinstance(value, dict) and value.get(SIGNATURE) == HIDDEN


def reveal(value: Any) -> Any:
    """``value`` with every secret in it opened."""
    return replace_secrets(value, lambda secret: reveal(secret["value"]))


def redact(value: Any) -> Any:
    """``value`` with every secret in it replaced by ``[secret]``."""
    return replace_secrets(value, lambda _secret: "[secret]")


def replace_secrets(value: Any, replacement: Callable[[Properties], Any]) -> Any:
    """``value`` with every outermost secret replaced by what ``replacement`` makes of it."""
    if is_secret(value):
        return replacement(value)
    if isinstance(value, dict):
        return {key: replace_secrets(item, replacement) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_secrets(item, replacement) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether something in ``value`` is only known after a deployment."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def hide_like(outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Properties:
    """``outputs`` with those hidden whose input of the same name holds a secret.

    Providers that are handed plain values lose the marks; Pulumi restores them the same way.
    """
    result = dict(outputs)
    for key, given in inputs.items():
        if key not in result or is_secret(result[key]):
            continue
        if isinstance(result[key], dict) and isinstance(given, dict) and not is_secret(given):
            result[key] = hide_like(result[key], given)
        elif reveal(given) != given:
            result[key] = hide(result[key])
    return result


def hide_named(outputs: Mapping[str, Any], names: list[str]) -> Properties:
    """``outputs`` with the named ones marked as secrets (``additionalSecretOutputs``)."""
    return {
        key: hide(value) if key in names and not is_secret(value) else value
        for key, value in outputs.items()
    }


def changed_names(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The sorted names whose values differ, secrets opened."""
    old, new = reveal(dict(old)), reveal(dict(new))
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
