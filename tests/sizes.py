"""Stacks with one size too large for a machine of four CPUs, and the key that says it."""

from __future__ import annotations

from typing import Any

from stacks import plan, render, stack_file, tiers
from stacks.plan import Plan
from stacks.workload import Workload

OVERSIZED: list[tuple[dict[str, Any], str]] = [
    ({"edge": {"cpus": 8}}, "edge"),
    ({"app": {"cpus": 8, "memory_mib": 128}}, "app"),
    (
        {
            "edge": {"routes": [{"prefix": "/api/v1/orders", "service": "orders"}]},
            "services": {"orders": {"health_path": "/healthz", "cpus": 8, "memory_mib": 128}},
        },
        "services.orders",
    ),
    ({"database": {"cpus": 8}}, "database"),
    ({"database": {"backup": {"cpus": 8}}}, "database.backup"),
    (
        {
            "database": {
                "backup": {
                    "s3": {
                        "bucket": "crm-backups",
                        "access_key_id": {"env": "ID"},
                        "secret_access_key": {"env": "KEY"},
                        "cpus": 8,
                    }
                }
            }
        },
        "database.backup.s3",
    ),
    ({"cache": {"cpus": 8}}, "cache"),
]


def workloads_of(config: dict[str, Any]) -> tuple[Plan, list[Workload]]:
    """The plan of ``config`` as the stack `dev`, and what it runs."""
    made = plan.make("dev", stack_file.parse(config, "dev"))
    return made, tiers.workloads(made, render.Renderer().tree(made), "crm-app:000000000000")
