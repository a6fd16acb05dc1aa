"""Reads ``stacks/config/Pulumi.<stack>.yaml``.

``load`` turns a stack's file into a ``StackSpec``; ``parse`` does the same for values that came
another way (the Pulumi program's own config). Unknown keys, wrong types and values out of range
are refused with the file, the key and a form that would be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert

from stacks.errors import CrmError
from stacks.paths import STACK_FILES, stack_file_name
from stacks.spec import StackSpec
from stacks.stack_names import check_name, find, names, refusal

__all__ = ["NAMESPACE", "find", "load", "names", "parse", "read", "values"]

NAMESPACE = "crm"


def load(stack: str, folder: Path = STACK_FILES, *, target: str | None = None) -> StackSpec:
    """Read the stack file of ``stack`` in ``folder``, as if it named ``target`` where one is given.

    Raises ``CrmError`` when there is no such stack, or its file is not what a stack file may be.
    """
    config = read(stack, folder)
    return parse(config if target is None else {**config, "target": target}, stack)


def read(stack: str, folder: Path = STACK_FILES) -> dict[str, object]:
    """The ``config`` values of a stack's file by their bare names, nothing checked yet."""
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
    return values(config, stack)


def values(config: Mapping[Any, object], stack: str) -> dict[str, object]:
    """The values of a Pulumi config mapping that are this project's, by their bare names.

    Values of other namespaces (``docker:host``) are providers' own and left alone. Encrypted
    values (``secure: …``, as ``pulumi config set --secret`` writes them) are left out: they are
    read at deployment, by the name a ``SecretReference`` gives.
    """
    found: dict[str, object] = {}
    for key, value in config.items():
        namespace, separator, name = str(key).partition(":")
        if not separator:
            raise refusal(stack, f"{key}: keys are written with a namespace, as in crm:{key}")
        secret = isinstance(value, dict) and set(value) == {"secure"}
        if namespace == NAMESPACE and not secret:
            found[name] = value
    return found


def parse(config: Mapping[str, object], stack: str) -> StackSpec:
    """Check ``config`` (bare key → value), the values of ``stack``, and make it a ``StackSpec``.

    Raises ``CrmError``.
    """
    check_name(stack)
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
