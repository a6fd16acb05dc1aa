"""What every object of a stack has: a name, labels, a place in the order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from stacks.plan import Plan
from stacks.workload import STACK_LABEL, Instance, Workload

PULL_SECRET = "registry_pull"  # noqa: S105 (a name)
"""The stack's secret that holds the registry's credentials, as in Docker's ``config.json``."""

SERVICE_ACCOUNT = "crm"
PULL_SECRET_OBJECT = "registry-pull"  # noqa: S105 (a name)
DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"


class Manifest(Struct, frozen=True, kw_only=True):
    """One Kubernetes object, and what a target has to know beside it.

    ``key`` is unique in the stack and stays when a name that ends in a hash changes. ``object`` is
    complete but for the values of ``secrets`` (the stack's names for them; Secrets alone have
    any). ``after`` are keys of what must be there before. ``rolls_on`` are keys of Secrets whose
    change replaces the pods. ``workload`` is empty for what is the whole stack's.
    """

    key: str
    object: dict[str, Any]
    after: tuple[str, ...] = ()
    workload: str = ""
    secrets: tuple[str, ...] = ()
    rolls_on: tuple[str, ...] = ()
    protect: bool = False

    @property
    def secret_keys(self) -> dict[str, str]:
        """Key in the Secret → the stack's name of the secret that is its value."""
        if self.object.get("type") == DOCKER_CONFIG:
            return dict(zip((".dockerconfigjson",), self.secrets, strict=True))
        return {name: name for name in self.secrets}


def labels(
    plan: Plan, workload: Workload | None = None, instance: Instance | None = None
) -> dict[str, str]:
    """The labels of an object and of its pods. The owner is not among them: another one must not
    restart anything."""
    found = {
        "app.kubernetes.io/name": "crm",
        "app.kubernetes.io/managed-by": "pulumi",
        STACK_LABEL: plan.stack,
    }
    if workload is not None:
        found |= {"crm.tier": workload.tier, "crm.workload": workload.name}
    if instance is not None:
        found["crm.instance"] = instance.name
    return found


def secret_objects(workload: Workload) -> dict[str, tuple[str, ...]]:
    """The Secrets of a workload: name → the stack's names of what it holds. What the workload
    follows is in one of its own."""
    kept = sorted(set(workload.secrets) - set(workload.followed))
    held = {
        f"{workload.name}-secrets": tuple(kept),
        _followed_secrets(workload): tuple(sorted(workload.followed)),
    }
    return {name: names for name, names in held.items() if names}


def rolling_secrets(workload: Workload) -> tuple[str, ...]:
    """The Secrets of a workload whose change replaces its pods."""
    return tuple(n for n in secret_objects(workload) if n != _followed_secrets(workload))


def _followed_secrets(workload: Workload) -> str:
    return f"{workload.name}-followed-secrets"


def selector(plan: Plan, workload: str, instance: str | None = None) -> dict[str, str]:
    """The labels by which the pods of a workload, or of one instance, are found."""
    found = {STACK_LABEL: plan.stack, "crm.workload": workload}
    return found | ({"crm.instance": instance} if instance else {})


def metadata(
    plan: Plan,
    name: str,
    workload: Workload | None = None,
    instance: Instance | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The metadata of an object in the stack's namespace."""
    found: dict[str, Any] = {
        "name": name,
        "namespace": plan.kubernetes.namespace,
        "labels": labels(plan, workload, instance) | plan.whose,
    }
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def claim_spec(plan: Plan, size_gib: int) -> dict[str, Any]:
    """What a claim asks for: a volume for the pods of one node, of the stack's class."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": mebibytes(size_gib * 1024)}},
    }
    if plan.kubernetes.storage_class:
        spec["storageClassName"] = plan.kubernetes.storage_class
    return spec


def short_hash(value: object) -> str:
    """Eight hex digits that change with ``value`` (what JSON can hold)."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def cores(cpus: float) -> str:
    """``0.5`` → ``"500m"``, ``2.0`` → ``"2"``: as the API writes it back."""
    milli = round(cpus * 1000)
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def mebibytes(size: int) -> str:
    """``64`` → ``"64Mi"``, ``1024`` → ``"1Gi"``: as the API writes it back."""
    for unit in ("Mi", "Gi", "Ti"):
        if size % 1024 or unit == "Ti":
            break
        size //= 1024
    return f"{size}{unit}"
