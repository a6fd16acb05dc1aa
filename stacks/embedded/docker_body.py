"""Inputs of ``docker:index`` resources as bodies of the Docker Engine API, version 1.41.

Meanings and defaults are those of the Terraform provider underneath pulumi-docker
(kreuzwerker/terraform-provider-docker). An input not named here is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

from stacks.errors import CrmError
from stacks.pulumi_state.values import Properties

_MIB = 1024 * 1024
_AS_THEY_ARE = {
    # Inputs that the API takes under another name.
    **{"image": "Image", "command": "Cmd", "entrypoints": "Entrypoint", "user": "User"},
    **{"envs": "Env", "hostname": "Hostname"},
    **{"stopSignal": "StopSignal", "stopTimeout": "StopTimeout"},
}
_KNOWN = {
    "docker:index/network:Network": "name driver internal labels",
    "docker:index/volume:Volume": "name labels driverOpts",
    "docker:index/container:Container": f"name {' '.join(_AS_THEY_ARE)} labels restart memory"
    " memorySwap cpus readOnly tmpfs volumes networksAdvanced ports healthcheck wait waitTimeout"
    " mustRun securityOpts capabilities destroyGraceSeconds logDriver logOpts",
    "labels": "label value",
    "volumes": "volumeName containerPath readOnly",
    "networksAdvanced": "name aliases",
    "ports": "internal external ip protocol",
    "healthcheck": "tests interval timeout retries startPeriod",
    "capabilities": "drops",
}


def refuse_unknown(kind: str, name: str, inputs: Mapping[str, Any]) -> None:
    """Raises ``CrmError`` naming the first input that this engine does not know."""
    for key, value in inputs.items():
        if key not in _KNOWN[kind].split():
            only = f"only {_KNOWN[kind]}; leave it out or use --engine pulumi"
            raise CrmError(f"{name}: the embedded engine knows no {key!r} of {kind}, {only}")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and key in _KNOWN:
                refuse_unknown(key, name, item)


def labels(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The ``labels`` input as Docker writes labels."""
    return {item["label"]: item["value"] for item in inputs.get("labels", [])}


def container(inputs: Mapping[str, Any], more_labels: Mapping[str, str]) -> Properties:
    """The body of ``POST /containers/create``; networks are connected afterwards."""
    all_labels = {**labels(inputs), **more_labels}
    ports = {f"{p['internal']}/{p.get('protocol', 'tcp')}": p for p in inputs.get("ports", [])}
    swap = inputs.get("memorySwap", 0)
    host = {
        "RestartPolicy": {"Name": inputs.get("restart", "no")},
        "Memory": inputs.get("memory", 0) * _MIB,
        "MemorySwap": swap * _MIB if swap > 0 else swap,
        "NanoCpus": round(float(inputs.get("cpus", 0)) * 1e9),
        "ReadonlyRootfs": inputs.get("readOnly", False),
        "Tmpfs": inputs.get("tmpfs", {}),
        "Binds": [
            f"{v['volumeName']}:{v['containerPath']}:{'ro' if v.get('readOnly') else 'rw'}"
            for v in inputs.get("volumes", [])
        ],
        "PortBindings": {
            port: [{"HostIp": p.get("ip", ""), "HostPort": str(p.get("external", ""))}]
            for port, p in ports.items()
        },
        "SecurityOpt": inputs.get("securityOpts", []),
        "CapDrop": inputs.get("capabilities", {}).get("drops", []),
        "LogConfig": {"Type": inputs.get("logDriver", ""), "Config": inputs.get("logOpts", {})},
    }
    check = {"Healthcheck": _healthcheck(inputs["healthcheck"])} if "healthcheck" in inputs else {}
    named = {api: inputs[name] for name, api in _AS_THEY_ARE.items() if name in inputs}
    exposed: Properties = {port: {} for port in ports}
    return {**named, **check, "HostConfig": host, "Labels": all_labels, "ExposedPorts": exposed}


def _healthcheck(check: Mapping[str, Any]) -> Properties:
    keys = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "startPeriod"}
    times = {key: _nanoseconds(check.get(name, "0s")) for key, name in keys.items()}
    return {"Test": check["tests"], "Retries": check.get("retries", 0), **times}


def _nanoseconds(duration: str) -> int:
    """A Go duration such as ``1m30s``."""
    parts = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", duration)
    if not duration or parts is None:
        raise CrmError(f"{duration!r} is no duration; right would be 2s or 1m30s")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return round((hours * 3600 + minutes * 60 + seconds) * 1e9)
