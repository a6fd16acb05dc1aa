"""What a stack file says to the engine: configuration and the salt of its secrets."""

import json
from pathlib import Path
from typing import Any

import yaml

from stacks.embedded.crypter import Crypter
from stacks.errors import CrmError


def read(path: Path) -> dict[str, Any]:
    """The stack file's document; raises ``CrmError`` where it is absent or no mapping."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CrmError(f"{path}: no such stack file") from None
    except yaml.YAMLError as error:
        raise CrmError(f"{path}: not YAML: {error}") from None
    if not isinstance(document, dict):
        raise CrmError(f"{path}: a stack file is a mapping with the key 'config'")
    return document


def config(document: dict[str, Any], crypter: Crypter) -> tuple[dict[str, str], list[str]]:
    """Every key as the CLI hands it to programs, nested values as JSON; and the secret keys."""
    values, secret = {}, []
    for key, value in (document.get("config") or {}).items():
        opened = _open(value, crypter)
        if opened != value:
            secret.append(key)
        values[key] = opened if isinstance(opened, str) else json.dumps(opened, default=str)
    return values, secret


def _open(value: Any, crypter: Crypter) -> Any:
    if isinstance(value, dict) and value.keys() == {"secure"}:
        return crypter.decrypt(value["secure"])
    if isinstance(value, dict):
        return {key: _open(item, crypter) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item, crypter) for item in value]
    return value
