"""What both engines must leave in the state for one program: the part of it that is comparable.

Run as a program it records the fixtures, with the real CLI:

    python -m tests.live.parity

It deploys every shipped stack once and destroys it again, data included.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests import project as projects
from tests import pulumi_cli

FIXTURES = Path(__file__).parent / "fixtures"
STACKS = ("dev", "horizontal", "vertical")

_SECRET = "4dabf18193072939515e22adb298388d"
_UNSET: tuple[Any, ...] = (None, "", [], {})
# What differs from run to run, or from machine to machine, whatever made it.
_REPLACED = (
    (re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?"), "<certificate>"),
    (re.compile(r"crm-local/(\w+):[0-9a-f]{12}"), r"<\1>"),
    (re.compile(r"\b(nginx|haproxy|mysql|redis):[0-9][0-9a-z.]*\b"), r"<\1>"),
    (re.compile(r"crm-app:[0-9a-f]{12}"), "<app>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"-[0-9a-f]{8}\b"), "-<hash>"),
    (re.compile(r"^[0-9a-f]{8,16}$"), "<hash>"),
)
# Made of the above; or text that a template may change without either engine knowing.
_SETS = {"labels", "networksAdvanced", "securityOpts", "volumes", "ports"}
_HASHED = {"crm.shape", "version", "files_version", "__provider"}


def normalise(state: dict[str, Any], stack: str, port: int) -> list[dict[str, Any]]:
    """The comparable part of a checkpoint, sorted by URN.

    ``stack`` (a name found nowhere else) and ``port`` are the run's own; they become ``<stack>``
    and 8080. What the provider fills in by itself is left out, of inputs and of outputs.
    """
    text = json.dumps(state["checkpoint"]["latest"]["resources"])
    text = text.replace(stack, "<stack>")
    text = re.sub(rf"\b{port}\b", "8080", text)
    return sorted((_resource(r) for r in json.loads(text)), key=lambda r: str(r["urn"]))


def _resource(resource: dict[str, Any]) -> dict[str, Any]:
    kind = str(resource["type"])
    # What a default provider is configured with is the CLI's own affair.
    given = {} if kind.startswith("pulumi:providers:") else resource
    inputs = _value(given.get("inputs") or {})
    outputs = _value(given.get("outputs") or {})
    kept = outputs if kind == "pulumi:pulumi:Stack" else _answers(inputs, outputs)
    return {
        "urn": _value(resource["urn"]),
        "type": kind,
        "custom": bool(resource.get("custom")),
        "protect": bool(resource.get("protect")),
        "parent": _value(resource.get("parent", "")),
        "dependencies": sorted(_value(d) for d in resource.get("dependencies") or ()),
        "additional_secret_outputs": resource.get("additionalSecretOutputs") or [],
        "provider": re.sub(r"::[0-9a-f-]{36}$", "", str(resource.get("provider", ""))),
        "inputs": inputs,
        "outputs": kept,
    }


def _answers(inputs: Any, outputs: Any) -> Any:
    """The part of ``outputs`` that has its like in ``inputs``."""
    if isinstance(inputs, dict) and isinstance(outputs, dict):
        return {k: _answers(inputs[k], outputs[k]) for k in sorted(inputs) if k in outputs}
    return outputs


def _value(value: Any, key: str = "") -> Any:
    if key in _HASHED:
        return "<hash>"
    if key == "files" and isinstance(value, dict):
        return dict.fromkeys(sorted(value), "<text>")
    if isinstance(value, dict):
        if _SECRET in value:
            return "<secret>"
        if value.get("label") in _HASHED:
            return {"label": value["label"], "value": "<hash>"}
        filled_in = {"__defaults", *value.get("__defaults", ())}
        found = {k: _value(v, k) for k, v in sorted(value.items()) if k not in filled_in}
        return {k: v for k, v in found.items() if v not in _UNSET}
    if isinstance(value, list):
        items = [_value(item) for item in value]
        return sorted(items, key=json.dumps) if key in _SETS else items
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        for pattern, shown in _REPLACED:
            value = pattern.sub(shown, value)
    return value


def read_state(root: Path, stack: str) -> dict[str, Any]:
    """The checkpoint of ``stack`` in the checkout ``root``; both engines keep it there."""
    path = root / ".crm" / "state" / ".pulumi" / "stacks" / "crm" / f"{stack}.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def fixture(stack: str) -> dict[str, Any]:
    """What the real CLI left for ``stack``, and which CLI that was."""
    document = json.loads((FIXTURES / f"parity-{stack}.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def secrets_in(text: str) -> list[str]:
    """Long random words in ``text`` that could be a secret's value or its cipher."""
    words = re.findall(r"[A-Za-z0-9_+/=-]{28,}", text)
    return [word for word in words if _looks_random(word)]


def _looks_random(word: str) -> bool:
    return (
        bool(re.search(r"\d", word)) and bool(re.search(r"[A-Z]", word)) and (len(set(word)) > 14)
    )


def record() -> None:
    """Deploy every shipped stack with the real CLI and write its fixture."""
    version = pulumi_cli.version()
    if version is None:
        sys.exit("error: there is no `pulumi` on PATH; fixtures come from the real CLI only")
    FIXTURES.mkdir(exist_ok=True)
    for shipped in STACKS:
        with tempfile.TemporaryDirectory() as folder:
            resources = deploy(Path(folder), shipped, "pulumi", 8080)
        document = {"cli_version": version, "stack": shipped, "resources": resources}
        path = FIXTURES / f"parity-{shipped}.json"
        path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{path.name}: {len(resources)} resources, by pulumi {version}")


def deploy(folder: Path, shipped: str, engine: str, port: int) -> list[dict[str, Any]]:
    """Deploy the stack ``shipped`` by ``engine`` under a name of its own, and destroy it again.

    Returns its normalised resources.
    """
    project = projects.copy(folder, under=(*projects.RUN_FROM, "Pulumi"))
    stack = f"parity{engine}{shipped}"
    text = project.stack_file(shipped).read_text(encoding="utf-8")
    project.write_stack(stack, text.replace("port: 8080", f"port: {port}"))
    try:
        run = project.crm("up", stack, "--engine", engine, "--yes", seconds=900)
        assert run.code == 0, run.err
        return normalise(read_state(project.root, stack), stack, port)
    finally:
        project.crm("destroy", stack, "--delete-data", "--yes", seconds=300)


if __name__ == "__main__":
    record()
