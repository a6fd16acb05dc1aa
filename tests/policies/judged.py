"""Stacks to judge: what the shipped ones register, and one that is fit for production."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from policies.model import Resource
from stacks import declared, plan, policy_gate, stack_file
from stacks.embedded.deployment import Deployment
from stacks.embedded.state import Resource as Registered
from stacks.spec import StackSpec

TODAY = date(2027, 1, 15)
TARGETS = ("docker", "kubernetes")
EDGES = {"docker": 1, "kubernetes": 2}
"""How many edges production needs: one port of a machine is one container's."""
TLS = {
    "hosts": ["crm.example.com"],
    "certificate": {"file": "/etc/ssl/crm.pem"},
    "key": {"file": "/etc/ssl/crm.key"},
}
ORDERS = {
    "partition_by": "range",
    "column": "order_date",
    "interval": "month",
    "start": "2026-01",
    "count": 24,
    "ahead": 3,
}


def production(target: str, **changes: Any) -> StackSpec:
    """The shipped stack `horizontal` as people would run it for others, with ``changes``."""
    config = stack_file.read("horizontal")
    edge = config["edge"]
    database = config["database"]
    assert isinstance(edge, dict)
    assert isinstance(database, dict)
    wanted = {
        **config,
        "target": target,
        "cost_centre": "sales-7",
        "edge": {**edge, "tls": TLS, "replicas": EDGES[target]},
        "database": {**database, "backup": {}, "orders": ORDERS},
        "policies": {"production": True},
        **changes,
    }
    return stack_file.parse(wanted, "horizontal")


def register(spec: StackSpec, stack: str = "horizontal") -> list[Registered]:
    """What the program would register of ``spec``."""
    return list(declared.resources(plan.make(stack, spec)))


def planned(spec: StackSpec, stack: str = "horizontal") -> list[Registered]:
    """What the embedded engine's plan of ``spec`` leaves, with the rules asked as it asks them."""
    state = declared.unkept(stack, [])
    deployment = Deployment(state, lambda *_: declared.Nothing(), lambda _: None, None)
    with policy_gate.judging(stack, deployment):
        declared.register(plan.make(stack, spec), deployment)
    return list(state)


@cache
def _fit(target: str) -> tuple[Resource, ...]:
    return tuple(policy_gate.plain(register(production(target))))


@dataclass
class Draft:
    """A resource that a test may change."""

    type: str
    name: str
    inputs: dict[str, Any]
    protect: bool


class Stack:
    """The resources of the stack that is fit for production, each to be changed."""

    def __init__(self, target: str) -> None:
        self.drafts = [
            Draft(r.type, r.name, copy.deepcopy(dict(r.inputs)), r.protect) for r in _fit(target)
        ]

    def __getitem__(self, called: str) -> Draft:
        """The one whose kind and name begin as ``called`` says: ``Container edge``."""
        found = [d for d in self.drafts if f"{d.type.rpartition(':')[2]} {d.name}" == called]
        named = f"{called}-"
        found = found or [
            d for d in self.drafts if f"{d.type.rpartition(':')[2]} {d.name}".startswith(named)
        ]
        assert len(found) == 1, f"{called}: {[d.name for d in found]}"
        return found[0]

    def __iter__(self) -> Iterator[Resource]:
        return (Resource(d.type, d.name, d.inputs, d.protect) for d in self.drafts)
