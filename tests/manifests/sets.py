"""Sets of manifests to judge: every shipped stack, and one for each thing it may ask for."""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import structs

from stacks import manifests, plan, render, stack_file, tiers
from stacks.manifests import Manifest
from stacks.plan import Plan
from stacks.workload import Workload

APP_IMAGE = "crm-app:000000000000"
SECRET = {"env": "CRM_PASSWORD"}
EXTERNAL = {
    "database": {"external": {"host": "db.example", "password": SECRET, "owner_password": SECRET}},
    "cache": {"external": {"host": "redis.example", "password": SECRET}},
}
SCALED = {"app": {"replicas": {"min": 2, "max": 6}}}

VARIANTS: dict[str, dict[str, Any]] = {
    "autoscaled": SCALED,
    "ingress": {
        "kubernetes": {
            "expose": "ingress",
            "ingress_host": "crm.example.com",
            "ingress_class": "nginx",
        }
    },
    "edges": {"edge": {"replicas": 3}},
    "node-port": {"kubernetes": {"expose": "node_port", "node_port": 30080}},
    "registry": {
        "images": {"registry": "registry.example.com:5000/team", "pull_secret": SECRET},
        "kubernetes": {"namespace": "sales-crm", "storage_class": "fast"},
    },
    "external": EXTERNAL,
    "low-port": {"edge": {"port": 80, "algorithm": "consistent_hash"}},
    "services": {
        "edge": {"routes": [{"prefix": "/api/v1/orders", "service": "orders"}]},
        "services": {"orders": {"health_path": "/healthz", "replicas": {"min": 1, "max": 3}}},
    },
    "tls": {"edge": {"tls": {"certificate": SECRET, "key": SECRET}}},
    "partitions": {
        "database": {
            "orders": {
                "partition_by": "range",
                "column": "order_date",
                "interval": "month",
                "start": "2026-01",
                "count": 24,
                "ahead": 3,
                "retention": 24,
                "archive": "file",
            }
        }
    },
    "backup": {"database": {"shards": 2, "backup": {}}},
    "offsite": {
        "database": {
            "shards": 2,
            "backup": {
                "s3": {
                    "bucket": "crm-backups",
                    "access_key_id": SECRET,
                    "secret_access_key": SECRET,
                }
            },
        }
    },
    "scheduled": {},
}
"""Beside the shipped stacks. In ``scheduled`` the schema job is one that runs every night."""

NAMES = [*stack_file.names(), *VARIANTS]


@cache
def made(name: str) -> tuple[Plan, list[Workload], list[Manifest]]:
    """The plan, the workloads and the manifests of the set called ``name``."""
    if name in VARIANTS:
        spec = stack_file.parse({"target": "kubernetes", **VARIANTS[name]}, name)
    else:
        spec = stack_file.load(name, target="kubernetes")
    planned = plan.make(name, spec)
    workloads = listed(planned)
    if name == "scheduled":
        workloads = [
            structs.replace(workload, schedule="17 3 * * *") if workload.run_once else workload
            for workload in workloads
        ]
    return planned, workloads, manifests.manifests(planned, workloads)


def listed(planned: Plan) -> list[Workload]:
    """The workloads of ``planned``."""
    return tiers.workloads(planned, render.Renderer().tree(planned), APP_IMAGE)


def parsed(**config: Any) -> tuple[Plan, list[Workload], list[Manifest]]:
    """The same for a stack ``dev`` of this config."""
    planned = plan.make("dev", stack_file.parse({"target": "kubernetes", **config}, "dev"))
    workloads = listed(planned)
    return planned, workloads, manifests.manifests(planned, workloads)


def texts(name: str) -> dict[str, str]:
    """The YAML files of the set called ``name``."""
    return manifests.documents(made(name)[2])
