"""What Docker says of an object, as the outputs pulumi-docker's provider would keep.

So that a stack handed to the CLI shows no change: compared with checkpoints of the CLI 3.260 and
the provider 5.1.
"""

from collections.abc import Mapping
from typing import Any

from stacks.embedded.values import Properties

_SCHEMA = '{"schema_version":"1"}'


def network(attrs: Mapping[str, Any]) -> Properties:
    """The outputs of a network from its inspection."""
    ipam = attrs["IPAM"]
    return {
        "__meta": _SCHEMA,
        "attachable": attrs["Attachable"],
        "driver": attrs["Driver"],
        "id": attrs["Id"],
        "ingress": attrs["Ingress"],
        "internal": attrs["Internal"],
        "ipamConfigs": [
            {
                "auxAddress": config.get("AuxiliaryAddresses", {}),
                "gateway": config.get("Gateway", ""),
                "ipRange": config.get("IPRange", ""),
                "subnet": config.get("Subnet", ""),
            }
            for config in ipam["Config"] or []
        ],
        "ipamDriver": ipam["Driver"],
        "ipamOptions": ipam["Options"] or None,
        "ipv6": attrs["EnableIPv6"],
        "labels": _labels(attrs["Labels"]),
        "name": attrs["Name"],
        "options": attrs["Options"] or {},
        "scope": attrs["Scope"],
    }


def volume(attrs: Mapping[str, Any]) -> Properties:
    """The outputs of a volume from its inspection."""
    return {
        "__meta": _SCHEMA,
        "cluster": None,
        "driver": attrs["Driver"],
        "driverOpts": attrs["Options"] or None,
        "id": attrs["Name"],
        "labels": _labels(attrs["Labels"]),
        "mountpoint": attrs["Mountpoint"],
        "name": attrs["Name"],
    }


def container(attrs: Mapping[str, Any], inputs: Properties) -> Properties:
    """The outputs of a container: its inputs and what Docker added."""
    return {
        **inputs,
        "id": attrs["Id"],
        "exitCode": attrs["State"]["ExitCode"],
        "hostname": attrs["Config"]["Hostname"],
    }


def container_drift(attrs: Mapping[str, Any], wanted: Properties) -> list[str]:
    """How a container differs from the body it was made from, one phrase each."""
    state = attrs["State"]
    drift = [] if state["Running"] else [f"not running (exit code {state['ExitCode']})"]
    host, config = wanted.pop("HostConfig"), wanted
    for key in ("Memory", "MemorySwap", "NanoCpus", "ReadonlyRootfs", "NetworkMode"):
        is_derived = key == "MemorySwap" and not host[key]
        if attrs["HostConfig"][key] != host[key] and not is_derived:
            drift.append(f"{key} is {attrs['HostConfig'][key]}, not {host[key]}")
    if attrs["Config"]["Image"] != config["Image"]:
        drift.append(f"Image is {attrs['Config']['Image']}, not {config['Image']}")
    if not config["Labels"].items() <= (attrs["Config"]["Labels"] or {}).items():
        drift.append("labels")
    return drift


def _labels(labels: Mapping[str, str] | None) -> list[Properties]:
    return [{"label": key, "value": value} for key, value in sorted((labels or {}).items())]
