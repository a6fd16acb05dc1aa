"""What runs in a pod, by the rules of Pod Security's level "restricted".

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import math
from typing import Any

from stacks.manifests.common import (
    PULL_SECRET_OBJECT,
    SERVICE_ACCOUNT,
    cores,
    labels,
    mebibytes,
    secret_objects,
    selector,
)
from stacks.plan import Plan
from stacks.workload import DATA_PATH, FILES_PATH, STACK_LABEL, Health, Instance, Workload

_FILE_MODE = 0o440
"""Read by the group alone, which is the pod's ``fsGroup``."""

_DISK_REQUEST_MIB, _DISK_LIMIT_MIB = 64, 256
"""Nothing writes to the node's disk but logs: five files of 10 MiB by the kubelet's default."""

_VOLUME_LABEL = "crm.volume"
"""Of pods that share a volume: which."""

_ENDPOINT_SECONDS = 5
"""How long the news that a pod goes may take to every node."""

_MARGIN_SECONDS = 5
_PROBE_SECONDS = 5

_FOLLOW_SECONDS = 150
"""Until a server that follows a changed secret has it: the kubelet looks about once a minute, and
keeps what it found for about as long."""


def template(plan: Plan, workload: Workload, instance: Instance, files: str) -> dict[str, Any]:
    """The pod of ``instance``; ``files`` is the name of the ConfigMap with its files."""
    container = _container(workload, instance)
    spec: dict[str, Any] = {
        "serviceAccountName": SERVICE_ACCOUNT,
        # Nothing in a pod talks to the API, nor finds others by environment variables.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(workload, instance),
        "containers": [container],
        "volumes": _volumes(workload, instance, files),
        "terminationGracePeriodSeconds": _grace_seconds(workload),
    }
    named = labels(plan, workload, instance)
    if instance.data is not None and instance.data.shared:
        # A volume is of one node at a time: whichever of its pods is started again goes where the
        # other is. The first one has but itself to go by, which a scheduler lets it.
        named[_VOLUME_LABEL] = instance.data.name
        whose = {STACK_LABEL: plan.stack, _VOLUME_LABEL: instance.data.name}
        term = {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": whose},
        }
        spec["affinity"] = {
            "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        }
    if plan.kubernetes.pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": PULL_SECRET_OBJECT}]
    if workload.reload is not None:
        # A refused configuration stops the roll-out here, and the old pod keeps serving.
        check = _container(workload, instance, plain=True)
        check |= {"name": "validate", "command": list(workload.reload.validate)}
        spec["initContainers"] = [check]
    if workload.run_once:
        spec["restartPolicy"] = "Never"
    else:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": place,
                # A cluster of one node, or one with a node down, must still run all of it.
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(plan, workload.name)},
            }
            for place in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ]
    return {"metadata": {"labels": named}, "spec": spec}


def _pod_security(workload: Workload, instance: Instance) -> dict[str, Any]:
    found: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": workload.uid,
        "runAsGroup": workload.uid,
        "fsGroup": workload.uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if instance.data is not None:
        # Else every start would walk through all of the data.
        found["fsGroupChangePolicy"] = "OnRootMismatch"
    if any(port.number < 1024 for port in workload.ports):
        # As Docker has it: a port below 1024 needs no capability.
        found["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return found


def _container(workload: Workload, instance: Instance, *, plain: bool = False) -> dict[str, Any]:
    """The container; ``plain`` leaves out what only a service has."""
    memory = mebibytes(workload.memory_mib)
    cpu = cores(workload.cpus)
    container: dict[str, Any] = {
        "name": workload.name,
        "image": workload.image,
        # Images are pinned, and on some nodes they are imported by hand.
        "imagePullPolicy": "IfNotPresent",
        "command": list(workload.command),
        "resources": {
            "requests": {
                "cpu": cpu,
                "memory": memory,
                "ephemeral-storage": mebibytes(_DISK_REQUEST_MIB),
            },
            "limits": {
                "cpu": cpu,
                "memory": memory,
                "ephemeral-storage": mebibytes(_DISK_LIMIT_MIB),
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
            "runAsNonRoot": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "files", "mountPath": FILES_PATH, "readOnly": True},
            *({"name": volume_name(p), "mountPath": p} for p in sorted(workload.tmpfs_mib)),
            *([{"name": "data", "mountPath": DATA_PATH}] if instance.data else []),
        ],
    }
    env = _env(workload, instance)
    if env:
        container["env"] = env
    if plain:
        return container
    if workload.ports:
        container["ports"] = [
            {"name": port.name, "containerPort": port.number, "protocol": "TCP"}
            for port in workload.ports
        ]
    if workload.health is not None:
        container |= _probes(workload.health, start_seconds(workload))
    stop = _pre_stop(workload)
    if stop:
        container["lifecycle"] = {"preStop": {"exec": {"command": ["sh", "-c", stop]}}}
    return container


def _env(workload: Workload, instance: Instance) -> list[dict[str, Any]]:
    values = {**workload.env, **instance.env}
    if workload.scale is not None:
        values.pop(workload.scale.name_env, None)
    env: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in sorted(values.items())
    ]
    if workload.scale is not None:
        own_name = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
        env.append({"name": workload.scale.name_env, "valueFrom": own_name})
    return env


def _volumes(workload: Workload, instance: Instance, files: str) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = [
        {
            "configMap": {
                "name": files,
                "items": [{"key": name, "path": name} for name in workload.files_of(instance)],
            }
        }
    ]
    for name, held in secret_objects(workload).items():
        items = [{"key": key, "path": f"secrets/{key}"} for key in held]
        sources.append({"secret": {"name": name, "items": items}})
    volumes: list[dict[str, Any]] = [
        {"name": "files", "projected": {"defaultMode": _FILE_MODE, "sources": sources}}
    ]
    for path, size in sorted(workload.tmpfs_mib.items()):
        volume = {"medium": "Memory", "sizeLimit": mebibytes(size)}
        volumes.append({"name": volume_name(path), "emptyDir": volume})
    if instance.data is not None:
        claim = {"claimName": f"{instance.data.name}-data"}
        volumes.append({"name": "data", "persistentVolumeClaim": claim})
    return volumes


def volume_name(path: str) -> str:
    """The name of what is mounted at ``path``: ``/run/crm`` → ``run-crm``."""
    return path.strip("/").replace("/", "-")


def start_seconds(workload: Workload) -> int:
    """How long it may take to become healthy for the first time. One with secrets may have one
    that is newer than its server knows."""
    start = workload.health.start_seconds if workload.health else 0
    return max(start, _FOLLOW_SECONDS) if workload.secrets else start


def _probes(health: Health, start: int) -> dict[str, Any]:
    """When it has started, when it gets requests, when it is restarted.

    The last is lenient: it is for what hangs, and a restart under load only makes more load. Once
    it has started it is asked less often than Docker asks: here each check is a process that the
    node's runtime has to start beside the container, for every pod there is.
    """
    ask = {"exec": {"command": list(health.command)}, "timeoutSeconds": health.timeout_seconds}
    period = max(_PROBE_SECONDS, health.interval_seconds)
    patience = health.interval_seconds * health.retries
    return {
        "startupProbe": ask
        | {
            "periodSeconds": health.interval_seconds,
            "failureThreshold": math.ceil(start / health.interval_seconds),
        },
        "readinessProbe": ask
        | {"periodSeconds": period, "failureThreshold": math.ceil(patience / period)},
        "livenessProbe": {
            "exec": {"command": list(health.alive or health.command)},
            "periodSeconds": 2 * period,
            "timeoutSeconds": max(5, health.timeout_seconds),
            "failureThreshold": max(6, health.retries),
        },
    }


def _waits_for_endpoints(workload: Workload) -> bool:
    """Whether requests still come for a while after it was told to stop."""
    return bool(workload.ports) and not workload.stop_first


def _pre_stop(workload: Workload) -> str:
    """The script that runs before the kubelet sends SIGTERM; empty where there is none."""
    steps = []
    if _waits_for_endpoints(workload):
        steps.append(f"sleep {_ENDPOINT_SECONDS}")
    if workload.stop_signal != "SIGTERM":
        # SIGTERM would cut its requests short, so it must be gone before that comes.
        name = workload.stop_signal.removeprefix("SIG")
        steps.append(f"kill -s {name} 1 && while kill -0 1; do sleep 0.2; done 2>/dev/null")
    return " && ".join(steps)


def _grace_seconds(workload: Workload) -> int:
    """All of the preStop script counts as well."""
    wait = _ENDPOINT_SECONDS if _waits_for_endpoints(workload) else 0
    return workload.stop_grace_seconds + wait + _MARGIN_SECONDS
