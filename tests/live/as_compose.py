"""Containers as Docker says they are, written down as a Compose file: what linters of others read.

Nothing is taken from the project. What ``HostConfig`` says and Compose cannot, has to be as it is
by default; otherwise nothing is written, so that no setting is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Inspected = Mapping[str, Any]
"""One container as ``docker inspect`` has it."""

_HOST: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "CapAdd": ("cap_add", list),
    "CapDrop": ("cap_drop", list),
    "CgroupParent": ("cgroup_parent", str),
    "CgroupnsMode": ("cgroup", str),
    "CpuPeriod": ("cpu_period", int),
    "CpuQuota": ("cpu_quota", int),
    "CpuShares": ("cpu_shares", int),
    "CpusetCpus": ("cpuset", str),
    "DeviceCgroupRules": ("device_cgroup_rules", list),
    "Devices": ("devices", lambda all_: [_device(one) for one in all_]),
    "Dns": ("dns", list),
    "DnsOptions": ("dns_opt", list),
    "DnsSearch": ("dns_search", list),
    "ExtraHosts": ("extra_hosts", list),
    "GroupAdd": ("group_add", list),
    "Init": ("init", bool),
    "IpcMode": ("ipc", str),
    "LogConfig": ("logging", lambda log: {"driver": log["Type"], "options": log["Config"]}),
    "Memory": ("mem_limit", int),
    "MemoryReservation": ("mem_reservation", int),
    "MemorySwap": ("memswap_limit", int),
    "NanoCpus": ("cpus", lambda billionths: billionths / 1e9),
    "OomKillDisable": ("oom_kill_disable", bool),
    "OomScoreAdj": ("oom_score_adj", int),
    "PidMode": ("pid", str),
    "PidsLimit": ("pids_limit", int),
    "PortBindings": ("ports", lambda bound: [p for port in bound.items() for p in _ports(*port)]),
    "Privileged": ("privileged", bool),
    "ReadonlyRootfs": ("read_only", bool),
    "RestartPolicy": ("restart", lambda policy: policy["Name"] or "no"),
    "Runtime": ("runtime", str),
    "SecurityOpt": ("security_opt", list),
    "ShmSize": ("shm_size", int),
    "Sysctls": ("sysctls", dict),
    "Tmpfs": ("tmpfs", lambda all_: [f"{path}:{how}" for path, how in all_.items()]),
    "UTSMode": ("uts", str),
    "Ulimits": ("ulimits", lambda all_: {u["Name"]: _ulimit(u) for u in all_}),
    "UsernsMode": ("userns_mode", str),
    "VolumesFrom": ("volumes_from", list),
}
"""A key of ``HostConfig`` → its name in a Compose file, and how that writes the value."""

_SAID_BY_OTHERS = {
    "Binds": "by Mounts, where they really are",
    "Mounts": "by Mounts, where they really are",
    "NetworkMode": "by network_mode or networks",
    "MaskedPaths": "by security_opt",
    "ReadonlyPaths": "by security_opt",
    "ConsoleSize": "a terminal's, of who started it",
}

_CONFIG = {
    "Cmd": "command",
    "Entrypoint": "entrypoint",
    "Env": "environment",
    "Image": "image",
    "Labels": "labels",
    "User": "user",
}


def compose(containers: Sequence[Inspected]) -> dict[str, Any]:
    """One service for each, by its container's name."""
    services = {c["Name"].lstrip("/"): service(c) for c in containers}
    names = {name for one in services.values() for name in one.get("networks", ())}
    return {
        "services": services,
        "networks": {name: {"external": True} for name in sorted(names)},
    }


def service(container: Inspected) -> dict[str, Any]:
    """What is set of one. Raises ``ValueError`` for what a Compose file cannot say."""
    found: dict[str, Any] = {}
    for key, value in container["HostConfig"].items():
        if key in _HOST:
            name, write = _HOST[key]
            if value:
                found[name] = write(value)
        elif value and key not in _SAID_BY_OTHERS:
            raise ValueError(f"{container['Name']}: HostConfig.{key} is {value!r}: not in Compose")
    if not container["HostConfig"].get("MaskedPaths"):
        found.setdefault("security_opt", []).append("systempaths=unconfined")
    found |= _networks(container)
    found |= {name: container["Config"][key] for key, name in _CONFIG.items()}
    found["healthcheck"] = _healthcheck(container["Config"].get("Healthcheck") or {})
    found["volumes"] = [_volume(mount) for mount in container["Mounts"]]
    # A dollar begins a variable there.
    escaped: dict[str, Any] = _escaped(found)
    return escaped


def _networks(container: Inspected) -> dict[str, Any]:
    mode = container["HostConfig"]["NetworkMode"]
    if mode in ("host", "none") or mode.startswith("container:"):
        return {"network_mode": mode}
    return {"networks": sorted(container["NetworkSettings"]["Networks"])}


def _device(given: Inspected) -> str:
    return f"{given['PathOnHost']}:{given['PathInContainer']}:{given['CgroupPermissions']}"


def _ports(port: str, bound: Sequence[Inspected] | None) -> list[str]:
    return [f"{b['HostIp'] or '0.0.0.0'}:{b['HostPort']}:{port}" for b in bound or ()]


def _ulimit(given: Inspected) -> dict[str, int]:
    return {"soft": given["Soft"], "hard": given["Hard"]}


def _healthcheck(given: Inspected) -> dict[str, Any]:
    return {"test": given["Test"]} if given.get("Test") else {"disable": True}


def _volume(mount: Inspected) -> dict[str, Any]:
    named = mount["Type"] == "volume"
    found = {
        "type": mount["Type"],
        "source": mount["Name"] if named else mount["Source"],
        "target": mount["Destination"],
        "read_only": not mount["RW"],
    }
    return found if named else {**found, "bind": {"propagation": mount["Propagation"]}}


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _escaped(below) for key, below in value.items()}
    return [_escaped(below) for below in value] if isinstance(value, list) else value
