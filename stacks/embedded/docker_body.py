"""Inputs of ``docker:index`` resources as bodies of the Docker Engine API, version 1.41.

Meanings and defaults are those of the Terraform provider underneath pulumi-docker
(kreuzwerker/terraform-provider-docker). An input not named here is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

from stacks.embedded.values import Properties
from stacks.errors import CrmError

MIB = 1024 * 1024
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_KNOWN = {
    "docker:index/network:Network": {"name", "driver", "internal", "labels"},
    "docker:index/volume:Volume": {"name", "labels"},
    "docker:index/container:Container": {
        *("name", "image", "command", "entrypoints", "user", "envs", "hostname", "labels"),
        *("memory", "memorySwap", "cpus", "readOnly", "tmpfs", "volumes", "networksAdvanced"),
        *("ports", "healthcheck", "wait", "waitTimeout", "mustRun", "init", "securityOpts"),
        *("capabilities", "restart", "stopSignal", "stopTimeout", "destroyGraceSeconds"),
        *("logDriver", "logOpts", "networkMode"),
    },
    "labels": {"label", "value"},
    "volumes": {"volumeName", "containerPath", "readOnly"},
    "networksAdvanced": {"name", "aliases"},
    "ports": {"internal", "external", "ip", "protocol"},
    "healthcheck": {"tests", "interval", "timeout", "retries", "startPeriod"},
    "capabilities": {"drops"},
}


def refuse_unknown(kind: str, name: str, inputs: Mapping[str, Any]) -> None:
    """Raises ``CrmError`` naming the first input that this engine does not know."""
    for key, value in inputs.items():
        if key not in _KNOWN[kind]:
            known = ", ".join(sorted(_KNOWN[kind]))
            raise CrmError(
                f"{kind} of {name}: the embedded engine does not know {key!r}, only {known};"
                " leave it out or use --engine pulumi"
            )
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and key in _KNOWN:
                refuse_unknown(key, name, item)


def labels(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The ``labels`` input as Docker writes labels."""
    return {item["label"]: item["value"] for item in inputs.get("labels", [])}


def container(inputs: Mapping[str, Any], extra_labels: Mapping[str, str]) -> Properties:
    """The body of ``POST /containers/create``; networks are connected afterwards."""
    ports = {f"{p['internal']}/{p.get('protocol', 'tcp')}": p for p in inputs.get("ports", [])}
    body = {
        "Image": inputs["image"],
        "Cmd": inputs.get("command"),
        "Entrypoint": inputs.get("entrypoints"),
        "User": inputs.get("user", ""),
        "Env": inputs.get("envs", []),
        "Hostname": inputs.get("hostname", ""),
        "Labels": {**labels(inputs), **extra_labels},
        "StopSignal": inputs.get("stopSignal"),
        "StopTimeout": inputs.get("stopTimeout"),
        "ExposedPorts": {port: {} for port in ports},
        "Healthcheck": _healthcheck(inputs["healthcheck"]) if "healthcheck" in inputs else None,
        "HostConfig": {
            "NetworkMode": inputs.get("networkMode", "bridge"),
            "RestartPolicy": {"Name": inputs.get("restart", "no"), "MaximumRetryCount": 0},
            "Memory": inputs.get("memory", 0) * MIB,
            "MemorySwap": _swap(inputs.get("memorySwap", 0)),
            "NanoCpus": round(float(inputs.get("cpus", 0)) * 1e9),
            "ReadonlyRootfs": inputs.get("readOnly", False),
            "Tmpfs": inputs.get("tmpfs", {}),
            "Binds": [_bind(volume) for volume in inputs.get("volumes", [])],
            "PortBindings": {port: [_binding(p)] for port, p in ports.items()},
            "Init": inputs.get("init", False),
            "SecurityOpt": inputs.get("securityOpts", []),
            "CapDrop": inputs.get("capabilities", {}).get("drops", []),
            "LogConfig": {"Type": inputs.get("logDriver", ""), "Config": inputs.get("logOpts", {})},
        },
    }
    return {key: value for key, value in body.items() if value is not None}


def nanoseconds(duration: str) -> int:
    """A Go duration such as ``1m30s`` in nanoseconds."""
    parts = re.findall(r"([0-9.]+)(h|ms|us|ns|m|s)", duration)
    if "".join(number + unit for number, unit in parts) != duration or not parts:
        raise CrmError(f"{duration!r} is no duration; right would be 2s or 1m30s")
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1e9)


def _healthcheck(check: Mapping[str, Any]) -> Properties:
    return {
        "Test": check["tests"],
        "Interval": nanoseconds(check.get("interval", "0s")),
        "Timeout": nanoseconds(check.get("timeout", "0s")),
        "StartPeriod": nanoseconds(check.get("startPeriod", "0s")),
        "Retries": check.get("retries", 0),
    }


def _swap(mebibytes: int) -> int:
    return mebibytes * MIB if mebibytes > 0 else mebibytes


def _bind(volume: Mapping[str, Any]) -> str:
    mode = "ro" if volume.get("readOnly") else "rw"
    return f"{volume['volumeName']}:{volume['containerPath']}:{mode}"


def _binding(port: Mapping[str, Any]) -> dict[str, str]:
    return {"HostIp": port.get("ip", "0.0.0.0"), "HostPort": str(port.get("external", ""))}  # noqa: S104
