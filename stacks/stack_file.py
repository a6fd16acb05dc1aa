"""Reads ``stacks/config/Pulumi.<stack>.yaml``.

``load`` turns a stack's file into a ``StackSpec``; ``parse`` does the same for values that came
another way (the Pulumi program's own config). Unknown keys, wrong types and values out of range
are refused with the file, the key and a form that would be right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, ValidationError, convert

from stacks.errors import CrmError
from stacks.paths import STACK_FILES, stack_file_name
from stacks.spec import StackSpec
from stacks.spec_edge import SecretReference
from stacks.stack_names import check_name, find, names, refusal

__all__ = ["NAMESPACE", "find", "load", "names", "parse", "read", "values"]

NAMESPACE = "crm"


def load(stack: str, folder: Path = STACK_FILES, *, target: str | None = None) -> StackSpec:
    """Read the stack file of ``stack`` in ``folder``, as if it named ``target`` where one is given.

    Raises ``CrmError`` when there is no such stack, or its file is not what a stack file may be.
    """
    config = _config(stack, folder)
    asked = values(config, stack)
    if target is not None:
        asked["target"] = target
    return parse(asked, stack, encrypted=_encrypted(config))


def read(stack: str, folder: Path = STACK_FILES) -> dict[str, object]:
    """The ``config`` values of a stack's file by their bare names, nothing checked yet."""
    return values(_config(stack, folder), stack)


def _config(stack: str, folder: Path) -> dict[Any, object]:
    """What is under ``config`` in a stack's file, as it is written there."""
    import yaml

    path = find(stack, folder)
    try:
        # The C parser where PyYAML was built with it: four times faster, the same result.
        kind: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        loader = kind(path.read_text(encoding="utf-8"))
        # A day is text to us, as it is in Pulumi's config.
        dates = {"tag:yaml.org,2002:timestamp": kind.construct_yaml_str}
        loader.yaml_constructors = {**loader.yaml_constructors, **dates}
        node = loader.get_single_node()
        _refuse_twice(stack, node)
        document = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, ValueError) as error:
        raise refusal(stack, f"this is not YAML: {error}") from None
    except OSError as error:
        raise refusal(stack, f"cannot be read: {error.strerror}") from None
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise refusal(stack, "`config:` is missing; write `config:` and under it crm:app …")
    return config


def values(config: Mapping[Any, object], stack: str) -> dict[str, object]:
    """The values of a Pulumi config mapping that are this project's, by their bare names.

    Values of other namespaces (``docker:host``) are providers' own and left alone. Encrypted
    values (``secure: …``, as ``pulumi config set --secret`` writes them) are left out: they are
    read at deployment, by the name a ``SecretReference`` gives. ``parse`` is told their names.
    """
    found: dict[str, object] = {}
    for key, value in config.items():
        namespace, separator, name = str(key).partition(":")
        if not separator:
            raise refusal(stack, f"{key}: keys are written with a namespace, as in crm:{key}")
        if namespace == NAMESPACE and not _is_encrypted(value):
            found[name] = value
    return found


def _is_encrypted(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"secure"}


def _encrypted(config: Mapping[Any, object]) -> list[str]:
    """The bare names of this project's encrypted values in a Pulumi config mapping."""
    mine = f"{NAMESPACE}:"
    return [
        str(key).removeprefix(mine)
        for key, value in config.items()
        if str(key).startswith(mine) and _is_encrypted(value)
    ]


def parse(config: Mapping[str, object], stack: str, *, encrypted: Sequence[str] = ()) -> StackSpec:
    """Check ``config`` (bare key → value), the values of ``stack``, and make it a ``StackSpec``.

    ``encrypted`` are the names of values that are not in it: each has to be one that a
    ``SecretReference`` names. Raises ``CrmError``.
    """
    check_name(stack)
    for name in encrypted:
        if name in StackSpec.__struct_fields__:
            raise refusal(
                stack,
                f"{NAMESPACE}:{name}: is encrypted, and is no secret; write it as it is, after: "
                f"pulumi config rm {NAMESPACE}:{name}",
            )
    spec = _parsed(config, stack)
    named = sorted(_named(spec)) if encrypted else []
    for name in encrypted:
        if name not in named:
            from difflib import get_close_matches

            close = get_close_matches(name, [*named, *StackSpec.__struct_fields__], n=1)
            hint = f"did you mean `{close[0]}`? Else " if close else ""
            raise refusal(
                stack,
                f"{NAMESPACE}:{name}: is encrypted, and no secret is read from it; {hint}write "
                f"{{config: {name}}} where the secret is asked for, or run: "
                f"pulumi config rm {NAMESPACE}:{name}",
            )
    return spec


def _named(value: object) -> Iterator[str]:
    """The names of encrypted values that ``value``, a part of a ``StackSpec``, reads."""
    if isinstance(value, SecretReference) and isinstance(value.config, str):
        yield value.config
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _named(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _named(item)


def _parsed(config: Mapping[str, object], stack: str) -> StackSpec:
    try:
        return convert(config, StackSpec)
    except ValidationError as error:
        from stacks.spec_errors import explain

        raise CrmError(explain(str(error), config, stack_file_name(stack), StackSpec)) from None


def _refuse_twice(stack: str, node: Any) -> None:
    """YAML would take the last of two equal keys; Pulumi's own reader refuses them, and so do we.

    ``node`` is a node of PyYAML's, whose ``value`` is text, nodes, or pairs of nodes.
    """
    waiting, met = [node] if node is not None else [], set()
    while waiting:
        node = waiting.pop()
        if id(node) in met or isinstance(node.value, str):
            continue
        met.add(id(node))
        keys = set()
        for child in node.value:
            if not isinstance(child, tuple):
                waiting.append(child)
                continue
            key, value = child
            waiting.append(value)
            if str(key.value) in keys:
                line = key.start_mark.line + 1
                raise refusal(stack, f"line {line}: {key.value}: is written twice; keep one")
            keys.add(str(key.value))
