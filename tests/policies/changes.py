"""What tests change of one resource of a stack that passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.policies.judged import Draft, Stack

Change = Callable[[Stack, Draft], None]


def _at(inputs: Any, path: str) -> tuple[Any, Any]:
    *above, last = path.split("/")
    for step in above:
        inputs = inputs[int(step) if isinstance(inputs, list) else step]
    return inputs, int(last) if isinstance(inputs, list) else last


def put(path: str, value: Any) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        assert not isinstance(where, dict) or where.get(key) != value, f"{path} is so already"
        where[key] = value

    return change


def drop(path: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        del where[key]

    return change


def add(path: str, item: Any) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        where.setdefault(key, []).append(item)

    return change


def edit(path: str, old: str, new: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        assert old in where[key], f"{path} has no {old}"
        where[key] = where[key].replace(old, new)

    return change


def gone(stack: Stack, draft: Draft) -> None:
    stack.drafts.remove(draft)


def unprotected(_stack: Stack, draft: Draft) -> None:
    assert draft.protect
    draft.protect = False


def become(type_: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        draft.type = type_

    return change


def let_out(workload: str) -> Change:
    """A policy that lets the workload's pods out of the stack, named as one that may be."""

    def change(_stack: Stack, draft: Draft) -> None:
        selector = draft.inputs["spec"]["podSelector"]
        assert selector["matchLabels"]["crm.workload"] == workload
        draft.inputs["metadata"]["name"] = f"{workload}-to-outside"
        draft.inputs["spec"] = {
            "podSelector": selector,
            "policyTypes": ["Egress"],
            "egress": [{}],
        }

    return change


def unlabelled(name: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        kept = [label for label in draft.inputs["labels"] if label["label"] != name]
        assert len(kept) < len(draft.inputs["labels"])
        draft.inputs["labels"] = kept

    return change


def relabelled(name: str, value: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        (label,) = (label for label in draft.inputs["labels"] if label["label"] == name)
        assert label["value"] != value
        label["value"] = value

    return change


def gone_all_but_first(stack: Stack, _draft: Draft) -> None:
    """One replica of the app's is left."""
    others = {"app-2", "app-3"}
    stack.drafts = [d for d in stack.drafts if d.name not in others]
