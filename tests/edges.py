"""Stacks that use every option of the load balancing, for those who judge what is rendered."""

from __future__ import annotations

from typing import Any

from stacks import plan, render, stack_file
from stacks.plan import Plan

SECRET = {"env": "CRM_SECRET"}
ORDERS = {"health_path": "/healthz", "replicas": 2}
TO_ORDERS = {"prefix": "/api/v1/orders", "service": "orders"}
CERTIFICATE = {"certificate": {"file": "crm.pem"}, "key": SECRET}

BOTH: dict[str, dict[str, Any]] = {
    "round_robin": {"app": {"replicas": 3}},
    "random": {"edge": {"algorithm": "random"}, "app": {"replicas": 3}},
    "least_connections": {"edge": {"algorithm": "least_connections"}, "app": {"replicas": 3}},
    "weighted": {"edge": {"algorithm": "weighted", "weights": [3, 1]}, "app": {"replicas": 2}},
    "hash-address": {"edge": {"algorithm": "consistent_hash"}, "app": {"replicas": 2}},
    "hash-header": {
        "edge": {"algorithm": "consistent_hash", "hash_header": "X-Customer-ID"},
        "app": {"replicas": 2},
    },
    "hash-cookie": {
        "edge": {"algorithm": "consistent_hash", "hash_cookie": "Session"},
        "app": {"replicas": 2},
    },
    "sticky": {"edge": {"sticky": True}, "app": {"replicas": 2}},
    "services": {
        "edge": {
            "algorithm": "least_connections",
            "routes": [
                TO_ORDERS,
                {"prefix": "/api", "service": "app", "read_seconds": 5},
                {"prefix": "/reports", "service": "long-reports", "read_seconds": 600},
            ],
        },
        "services": {
            "orders": {**ORDERS, "algorithm": "consistent_hash", "hash_cookie": "id"},
            "long-reports": {
                **ORDERS,
                "algorithm": "consistent_hash",
                "hash_header": "X-Report-ID",
            },
        },
    },
    "services-sticky-weighted": {
        "edge": {"routes": [TO_ORDERS, {"prefix": "/users", "service": "users"}]},
        "services": {
            "orders": {**ORDERS, "algorithm": "weighted", "weights": [1, 2]},
            "users": {**ORDERS, "sticky": True},
        },
    },
    "limits": {
        "edge": {
            "limits": {
                "in_flight_per_replica": 5,
                "client_requests_per_second": 20,
                "body_kib": 64,
            },
            "timeouts": {
                "connect_seconds": 2,
                "read_seconds": 10,
                "client_seconds": 20,
                "keepalive_seconds": 30,
            },
            "retries": 0,
            "metrics_port": 9200,
        }
    },
    "tls": {"edge": {"tls": {"port": 443, "hosts": ["crm.example.com", "b"], **CERTIFICATE}}},
    "tls-self-made": {"edge": {"tls": {}, "sticky": True}},
    "tls-modern-and-plain": {
        "edge": {"tls": {"profile": "modern", "redirect": False, "hsts_seconds": 60}}
    },
    "autoscaled": {
        "target": "kubernetes",
        "app": {"replicas": {"min": 2, "max": 6}},
        "edge": {"algorithm": "random", "routes": [TO_ORDERS]},
        "services": {"orders": {**ORDERS, "replicas": {"min": 1, "max": 3}}},
    },
    "kubernetes": {"target": "kubernetes", "app": {"replicas": 2}, "edge": {"cpus": 2.5}},
    # As long as names may be, and more than HAProxy takes words in one line.
    "tls-long-and-many-hosts": {
        "edge": {
            "tls": {
                "hsts_seconds": 60,
                "hosts": [
                    ".".join(["a" * 63] * 3 + ["b" * 61]),
                    *(f"crm-{number}.customer-relations.example.com" for number in range(80)),
                ],
            }
        }
    },
    "tls-sticky-and-plain": {
        "edge": {"sticky": True, "tls": {"redirect": False, "hsts_seconds": 60}}
    },
    "services-with-words-of-the-proxies": {
        "edge": {
            "tls": {"hsts_seconds": 60},
            "routes": [
                {"prefix": f"/{name}", "service": name} for name in ("metrics", "plain", "docker")
            ],
        },
        "services": {"metrics": ORDERS, "plain": ORDERS, "docker": ORDERS},
    },
    "most-replicas": {"app": {"replicas": 500}, "database": {"memory_mib": 65536}},
    "many-cpus-in-little-memory": {"edge": {"cpus": 300, "memory_mib": 32}},
}
"""What either proxy carries out."""

OWN: dict[str, dict[str, Any]] = {
    "first": {"edge": {"algorithm": "first"}, "app": {"replicas": 2}},
    "slow-start": {"edge": {"slow_start_seconds": 20}, "app": {"replicas": 2}},
    "queue": {"edge": {"limits": {"queue": 10, "queue_seconds": 3}}},
}
"""HAProxy's own."""

CONFIGURATION = {"nginx": "nginx/nginx.conf", "haproxy": "haproxy/haproxy.cfg"}
RENDERER = render.Renderer()


def made(proxy: str, config: dict[str, Any]) -> Plan:
    """The plan of ``config`` behind ``proxy``."""
    asked = {**config, "edge": {**config.get("edge", {}), "proxy": proxy}}
    return plan.make("dev", stack_file.parse(asked, "dev"))


def configuration(proxy: str, **config: Any) -> str:
    """What ``proxy`` reads for ``config``."""
    return RENDERER.tree(made(proxy, config))[CONFIGURATION[proxy]]


def shipped(stack: str) -> str:
    """What nginx would read if it were the proxy of the shipped ``stack``."""
    config = stack_file.read(stack)
    edge = config["edge"]
    assert isinstance(edge, dict)
    spec = stack_file.parse({**config, "edge": {**edge, "proxy": "nginx"}}, stack)
    return RENDERER.tree(plan.make(stack, spec))["nginx/nginx.conf"]


def section(text: str, head: str) -> list[str]:
    """The lines of the section of HAProxy's, or of the block of nginx's, that ``head`` begins."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() in (head, f"{head} {{"))
    indent = len(lines[start]) - len(lines[start].lstrip())
    found = []
    for line in lines[start + 1 :]:
        if line.strip() and not line.startswith(" " * (indent + 1)) and line[0] != ".":
            break
        found.append(line.strip())
    return found
