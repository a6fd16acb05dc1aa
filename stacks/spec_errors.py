"""Turns a validation error into a sentence: which file, which key, what would be right.

Only imported when something is wrong, so that the good path pays nothing for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from msgspec import Struct, ValidationError, convert, inspect
from msgspec.structs import fields

from stacks.spec_edge import SecretReference

_AT = re.compile(
    r"^(?P<what>.*?)(?: - at (?:(?P<in_key>`key`(?: in)? )?)`\$(?P<path>.*)`)?$", re.DOTALL
)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<key>.*)`$")


def explain(message: str, config: Mapping[str, object], source: str, root: type[Struct]) -> str:
    """Say what ``message`` (msgspec's) means to the person who wrote ``source``."""
    match = _AT.match(message)
    what, path = (match["what"], match["path"] or "") if match else (message, "")
    steps = re.findall(r"[A-Za-z_]\w*|\[\d+\]|\[\.\.\.\]", path)
    in_key = bool(match and match["in_key"])
    if in_key:
        steps.append("[...]")
    steps = _with_keys(steps, config, message, root)
    kind = _at(inspect.type_info(root), steps, mapping=isinstance(_value(config, steps), Mapping))
    where = f"{source}: {_key(steps)}" if steps else source

    unknown = _UNKNOWN.match(what)
    if unknown:
        key = unknown["key"]
        names = []
        if isinstance(kind, inspect.StructType):
            names = sorted(field.encode_name for field in fields(kind.cls))
        close = get_close_matches(key, names, n=1, cutoff=0.5)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys are {', '.join(names)}"
        return _one_line(f"{source}: {_key([*steps, key])}: there is no such key; {hint}")
    missing = _MISSING.match(what)
    if missing:
        found = _at(kind, [missing["key"]])
        return f"{source}: {_key([*steps, missing['key']])}: is missing; {_right_form(found)}"
    if in_key:
        parent = _at(inspect.type_info(root), steps[:-1])
        names_of = parent.key_type if isinstance(parent, inspect.DictType) else parent
        form = _right_form(names_of)
        return _one_line(f"{where}: {steps[-1]!r} is not allowed as a name; {form}")
    if what.startswith(("Expected", "Invalid enum")):
        if isinstance(kind, inspect.StructType) and kind.cls is SecretReference:
            # The value is not repeated: it may be the secret itself, and terminals keep logs.
            return f"{where}: a secret is never written here; {_right_form(kind)}"
        given = _value(config, steps)
        shown = "this" if isinstance(given, Mapping | list) else repr(given)
        return _one_line(f"{where}: {shown} is not allowed; {_right_form(kind)}")
    return _one_line(f"{where}: {what}")


def _key(steps: list[str]) -> str:
    """``['app', 'replicas']`` → ``crm:app.replicas``, as people write it."""
    return "crm:" + ".".join(steps).replace(".[", "[")


def _with_keys(
    steps: list[str],
    config: Mapping[str, object],
    message: str,
    root: type[Struct],
) -> list[str]:
    """``steps`` with the key of each mapping that msgspec only calls ``[...]``.

    Found by asking again with one key of the mapping at a time.
    """
    while "[...]" in steps:
        at = steps.index("[...]")
        mapping = _value(config, steps[:at])
        if not isinstance(mapping, Mapping):
            break
        for key in mapping:
            try:
                convert(_replaced(config, steps[:at], {key: mapping[key]}), root)
            except ValidationError as error:
                if str(error) == message:
                    steps = [*steps[:at], str(key), *steps[at + 1 :]]
                    break
        else:
            break
    return steps


def _replaced(config: object, steps: Sequence[str], value: object) -> object:
    """``config`` with ``value`` at the end of ``steps``."""
    if not steps:
        return value
    assert isinstance(config, Mapping)
    return {**config, steps[0]: _replaced(config[steps[0]], steps[1:], value)}


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _at(kind: inspect.Type, steps: list[str], *, mapping: bool = False) -> inspect.Type:
    """The declared type at the end of ``steps``; of several the one a ``mapping`` is meant for."""
    for step in steps:
        kind = _plain(kind, keep_metadata=False, mapping=True)
        if isinstance(kind, inspect.StructType):
            named = {field.encode_name: field.type for field in kind.fields}
            if step not in named:
                return kind
            kind = named[step]
        elif isinstance(kind, inspect.VarTupleType | inspect.ListType):
            kind = kind.item_type
        elif isinstance(kind, inspect.DictType):
            kind = kind.value_type
    return _plain(kind, keep_metadata=True, mapping=mapping)


def _plain(kind: inspect.Type, *, keep_metadata: bool, mapping: bool) -> inspect.Type:
    """``kind`` without its "or nothing" and other alternatives."""
    if isinstance(kind, inspect.Metadata) and not keep_metadata:
        return _plain(kind.type, keep_metadata=False, mapping=mapping)
    if isinstance(kind, inspect.UnionType):
        real = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        parts = [member for member in real if isinstance(member, inspect.StructType)]
        chosen = (parts if mapping and parts else real)[0]
        return _plain(chosen, keep_metadata=keep_metadata, mapping=mapping)
    return kind


def _right_form(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        extra = kind.extra_json_schema or {}
        form = f"write {extra.get('description', 'another value')}"
        examples = extra.get("examples")
        return f"{form}, for example {examples[0]}" if examples else form
    if isinstance(kind, inspect.LiteralType):
        return f"write one of {', '.join(sorted(str(value) for value in kind.values))}"
    if isinstance(kind, inspect.StructType):
        if kind.cls is SecretReference:
            return "name where it is read from, such as {env: CRM_DATABASE_PASSWORD}"
        names = ", ".join(field.encode_name for field in kind.fields)
        return f"write keys under it, one a line: {names}"
    if isinstance(kind, inspect.VarTupleType):
        return f"write a list, such as [{_example(kind.item_type)}]"
    if isinstance(kind, inspect.BoolType):
        return "write true or false"
    if isinstance(kind, inspect.DictType):
        return "write names and values under it, one a line"
    return "see the defaults in stacks/spec.py and stacks/spec_*.py"


def _example(kind: inspect.Type) -> str:
    """One item of a list, as YAML."""
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra_json_schema or {})["examples"][0])
    assert isinstance(kind, inspect.StructType)
    needed = [field for field in kind.fields if field.required]
    return "{" + ", ".join(f"{f.encode_name}: {_example(f.type)}" for f in needed) + "}"


def _value(config: object, steps: list[str]) -> object:
    for step in steps:
        if isinstance(config, Mapping):
            config = config.get(step)
        elif isinstance(config, list | tuple) and step.startswith("[") and step != "[...]":
            index = int(step[1:-1])
            config = config[index] if index < len(config) else None
    return config
