"""Property values as Pulumi sends and keeps them: plain JSON, secrets and unknowns marked.

A secret is ``{SIGNATURE: HIDDEN, "value": …}``, a value not known yet the string ``UNKNOWN``, both
as in the protocol (sdk/go/common/resource/properties.go).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

SIGNATURE = "4dabf18193072939515e22adb298388d"
HIDDEN = "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Properties = dict[str, Any]


def from_struct(struct: Struct) -> Properties:
    """A protobuf struct as plain values; numbers without a fraction become ints."""
    text = json.dumps(MessageToDict(struct))
    values: Properties = json.loads(text, parse_float=_number)
    return values


def hide(value: Any) -> Properties:
    """``value`` marked as a secret."""
    return {SIGNATURE: HIDDEN, "value": value}


def is_secret(value: Any) -> bool:
    """Whether ``value`` itself is marked as a secret."""
    return isinstance(value, dict) and value.get(SIGNATURE) == HIDDEN


def map_secrets(value: Any, change: Callable[[Properties], Any]) -> Any:
    """``value`` with every outermost secret replaced by what ``change`` makes of it."""
    if is_secret(value):
        return change(value)
    if isinstance(value, dict):
        return {key: map_secrets(item, change) for key, item in value.items()}
    return [map_secrets(item, change) for item in value] if isinstance(value, list) else value


def reveal(value: Any) -> Any:
    """``value`` with every secret in it opened."""
    return map_secrets(value, lambda secret: reveal(secret["value"]))


def has_unknown(value: Any) -> bool:
    """Whether something in ``value`` is only known after a deployment."""
    return UNKNOWN in json.dumps(value)


def hide_like(outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Properties:
    """``outputs`` with those hidden whose input holds a secret, as Pulumi does for providers that
    know no secrets."""
    result = dict(outputs)
    for key in inputs.keys() & outputs.keys():
        given, got = inputs[key], outputs[key]
        if isinstance(got, dict) and isinstance(given, dict) and not is_secret(given):
            result[key] = hide_like(got, given)
        elif reveal(given) != given and not is_secret(got):
            result[key] = hide(got)
    return result


def given(value: Any) -> Any:
    """Inputs as the program gave them: without what the CLI adds and lists in ``__defaults``."""
    if isinstance(value, dict):
        added = {"__defaults", *value.get("__defaults", [])}
        return {key: given(item) for key, item in value.items() if key not in added}
    return [given(item) for item in value] if isinstance(value, list) else value


def changed_names(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The sorted names whose values differ, secrets opened."""
    was, now = reveal(dict(old)), reveal(dict(new))
    return sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))


def _number(text: str) -> int | float:
    return int(float(text)) if float(text).is_integer() else float(text)
