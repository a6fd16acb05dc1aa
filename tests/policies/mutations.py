"""What a mistake would make of a stack that passes: by rule, the change that the rule must see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policies.model import HIDDEN, UNKNOWN
from tests.policies.judged import Draft, Stack

Change = Callable[[Stack, Draft], None]
Mutation = tuple[str, str, Change]
"""Target, resource, change."""

DOCKER, CLUSTER = "docker", "kubernetes"
PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n"


def _at(inputs: Any, path: str) -> tuple[Any, Any]:
    *above, last = path.split("/")
    for step in above:
        inputs = inputs[int(step) if isinstance(inputs, list) else step]
    return inputs, int(last) if isinstance(inputs, list) else last


def put(path: str, value: Any) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        assert not isinstance(where, dict) or where.get(key) != value, f"{path} is so already"
        where[key] = value

    return change


def drop(path: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        del where[key]

    return change


def add(path: str, item: Any) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        where.setdefault(key, []).append(item)

    return change


def edit(path: str, old: str, new: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        where, key = _at(draft.inputs, path)
        assert old in where[key], f"{path} has no {old}"
        where[key] = where[key].replace(old, new)

    return change


def gone(stack: Stack, draft: Draft) -> None:
    stack.drafts.remove(draft)


def unprotected(_stack: Stack, draft: Draft) -> None:
    assert draft.protect
    draft.protect = False


def become(type_: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        draft.type = type_

    return change


def unlabelled(name: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        kept = [label for label in draft.inputs["labels"] if label["label"] != name]
        assert len(kept) < len(draft.inputs["labels"])
        draft.inputs["labels"] = kept

    return change


def relabelled(name: str, value: str) -> Change:
    def change(_stack: Stack, draft: Draft) -> None:
        (label,) = (label for label in draft.inputs["labels"] if label["label"] == name)
        assert label["value"] != value
        label["value"] = value

    return change


POD = "spec/template/spec"
FIRST = f"{POD}/containers/0"
SECURITY = f"{FIRST}/securityContext"
PORT = {"internal": 3306, "external": 3306, "ip": "0.0.0.0", "protocol": "tcp"}
SOCKET = "/var/run/docker.sock"

_NAMED = {"kubernetes.io/metadata.name": "monitoring"}

MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "backup_in_production": (
        (DOCKER, "Container backup-2", gone),
        (DOCKER, "Container backup-1", put("envs", ["CRM_SHARD=database-2"])),
        (DOCKER, "Container backup-1", relabelled("crm.workload", "app")),
        (CLUSTER, "StatefulSet backup-1", gone),
        (CLUSTER, "StatefulSet backup-2", put(f"{FIRST}/env", [])),
    ),
    "closed_ports": (
        (DOCKER, "Container database-1", put("ports", [PORT])),
        (DOCKER, "Container cache-2", put("ports", [{**PORT, "internal": 6379}])),
        (DOCKER, "Container app-1", put("publishAllPorts", True)),
        (CLUSTER, "Service database-1-service", put("spec/type", "LoadBalancer")),
        (CLUSTER, "Service cache-1-service", put("spec/type", "NodePort")),
        (CLUSTER, "Service database-2-service", put("spec/externalIPs", ["203.0.113.7"])),
        (CLUSTER, "StatefulSet database-1", put(f"{FIRST}/ports/0/hostPort", 3306)),
    ),
    "database_verified": (
        (DOCKER, "Files app-files", edit("files/app.json", "verify_identity", "required")),
        (DOCKER, "Files schema-files", edit("files/app.json", "verify_identity", "required")),
        (CLUSTER, "ConfigMap app-files", edit("data/app.json", "verify_identity", "required")),
    ),
    "connection_budget": (
        (DOCKER, "Files database-1-files", edit("files/my.cnf", "max_connections = ", "#")),
        (
            DOCKER,
            "Files database-2-files",
            edit("files/my.cnf", "max_connections = 1", "max_connections = 0"),
        ),
        (DOCKER, "Files app-files", edit("files/app.json", '"workers": 1', '"workers": 40')),
        (
            CLUSTER,
            "ConfigMap app-files",
            edit("data/app.json", '"pool_size": 4', '"pool_size": 99'),
        ),
        (CLUSTER, "Deployment app-2", put("spec/replicas", 90)),
    ),
    "cost_ceiling": (
        (DOCKER, "Container database-1", put("memory", 900_000)),
        (DOCKER, "Container app-1", put("cpus", "900.0")),
        (CLUSTER, "Deployment app-1", put("spec/replicas", 1000)),
        (
            CLUSTER,
            "PersistentVolumeClaim database-1-data",
            put("spec/resources/requests/storage", "90Ti"),
        ),
    ),
    "data_protected": (
        (DOCKER, "Volume database-1-data", unprotected),
        (DOCKER, "Volume database-2-data", gone),
        (DOCKER, "GeneratedSecret database_root_password", unprotected),
        (DOCKER, "Container database-1", put("volumes/1/volumeName", "crm-horizontal-tmp")),
        (DOCKER, "Container database-2", drop("volumes/1")),
        (CLUSTER, "PersistentVolumeClaim database-1-data", unprotected),
        (CLUSTER, "StatefulSet database-2", put(f"{POD}/volumes", [{"name": "d", "emptyDir": {}}])),
    ),
    "health_checks": (
        (DOCKER, "Container app-2", drop("healthcheck")),
        (DOCKER, "Container edge", put("healthcheck/tests", ["NONE"])),
        (DOCKER, "Container database-1", put("healthcheck/tests", ["CMD", "true"])),
        (CLUSTER, "Deployment app-1", drop(f"{FIRST}/readinessProbe")),
        (CLUSTER, "StatefulSet cache-3", drop(f"{FIRST}/livenessProbe")),
    ),
    "host_isolation": (
        (DOCKER, "Container edge", put("networkMode", "host")),
        (DOCKER, "Container app-1", put("pidMode", "host")),
        (DOCKER, "Container app-1", put("privileged", True)),
        (DOCKER, "Container edge", put("capabilities/adds", ["NET_ADMIN"])),
        (DOCKER, "Container cache-1", drop("capabilities")),
        (DOCKER, "Container app-3", add("volumes", {"hostPath": SOCKET, "containerPath": SOCKET})),
        (DOCKER, "Container app-3", put("mounts", [{"type": "bind", "source": "/etc"}])),
        (DOCKER, "Container app-2", put("devices", [{"hostPath": "/dev/kmsg"}])),
        (CLUSTER, "Deployment edge", put(f"{POD}/hostNetwork", True)),
        (CLUSTER, "Deployment app-1", put(f"{SECURITY}/privileged", True)),
        (CLUSTER, "StatefulSet cache-1", put(f"{SECURITY}/capabilities/add", ["SYS_ADMIN"])),
        (CLUSTER, "Deployment app-2", drop(f"{SECURITY}/capabilities")),
        (CLUSTER, "Deployment app-3", add(f"{POD}/volumes", {"hostPath": {"path": SOCKET}})),
    ),
    "known_resources": (
        (DOCKER, "Container app-1", become("docker:index/service:Service")),
        (DOCKER, "Files app-files", become("command:local:Command")),
        (CLUSTER, "Deployment app-1", become("kubernetes:apps/v1:DaemonSet")),
        (
            CLUSTER,
            "ServiceAccount service-account",
            become("kubernetes:rbac/v1:ClusterRoleBinding"),
        ),
    ),
    "limits": (
        (DOCKER, "Container app-1", drop("memory")),
        (DOCKER, "Container app-2", put("memorySwap", -1)),
        (DOCKER, "Container edge", put("cpus", "0")),
        (DOCKER, "Job schema", drop("memory_mib")),
        (DOCKER, "Container app-3", drop("logOpts")),
        (DOCKER, "Container cache-1", put("tmpfs", {"/tmp": "rw"})),
        (CLUSTER, "Deployment app-2", drop(f"{POD}/volumes/1/emptyDir/sizeLimit")),
        (CLUSTER, "Deployment app-1", drop(f"{FIRST}/resources/limits/memory")),
        (CLUSTER, "StatefulSet cache-1", drop(f"{FIRST}/resources/limits/cpu")),
        (CLUSTER, "StatefulSet database-1", put(f"{FIRST}/resources/requests/memory", "64Mi")),
        (CLUSTER, "Deployment edge", drop(f"{FIRST}/resources/requests/cpu")),
    ),
    "network_policies": (
        (CLUSTER, "NetworkPolicy deny-all", gone),
        (CLUSTER, "NetworkPolicy deny-all", put("spec/policyTypes", ["Ingress"])),
        (CLUSTER, "NetworkPolicy deny-all", put("spec/ingress", [{}])),
        (CLUSTER, "NetworkPolicy database-from-app", drop("spec/ingress/0/from")),
        (CLUSTER, "NetworkPolicy database-from-app", drop("spec/ingress/0/ports")),
        (CLUSTER, "NetworkPolicy database-from-app", put("spec/podSelector", {})),
        (
            CLUSTER,
            "NetworkPolicy database-from-app",
            drop("spec/ingress/0/from/0/podSelector/matchLabels/crm.workload"),
        ),
        (
            CLUSTER,
            "NetworkPolicy cache-from-app",
            put("spec/ingress/0/from", [{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        ),
        (
            CLUSTER,
            "NetworkPolicy database-from-app",
            add("spec/ingress/0/from", {"namespaceSelector": {}}),
        ),
        (
            CLUSTER,
            "NetworkPolicy database-from-app",
            add("spec/ingress/0/from", {"namespaceSelector": {"matchLabels": _NAMED}}),
        ),
        (
            CLUSTER,
            "NetworkPolicy app-from-edge",
            add("spec/ingress/0/from", {"namespaceSelector": {"matchLabels": {"team": "sales"}}}),
        ),
        (
            CLUSTER,
            "Deployment app-1",
            put("spec/template/metadata/labels/crm.workload", "stranger"),
        ),
    ),
    "networks_segmented": (
        (DOCKER, "Network database-network", put("internal", False)),
        (DOCKER, "Network app-network", put("driver", "host")),
        (DOCKER, "Container edge", add("networksAdvanced", {"name": "crm-horizontal-database"})),
        (DOCKER, "Container database-1", put("networksAdvanced", [])),
        (DOCKER, "Container cache-1", add("networksAdvanced", {"name": "crm-horizontal-edge"})),
        (DOCKER, "Container app-1", add("networksAdvanced", {"name": "bridge"})),
        (DOCKER, "Job schema", put("networks", ["somebody-elses"])),
    ),
    "no_plain_secrets": (
        (DOCKER, "Container app-1", add("envs", "DATABASE_PASSWORD=swordfish")),
        (DOCKER, "Container app-2", put("envs", HIDDEN)),
        (DOCKER, "Container app-3", add("envs", f"CRM_KEY={UNKNOWN}")),
        (DOCKER, "Container cache-1", add("command", "--requirepass swordfish")),
        (DOCKER, "Container edge", add("labels", {"label": "crm.note", "value": HIDDEN})),
        (DOCKER, "Files edge-files", put("files/crm.key", PRIVATE_KEY)),
        (DOCKER, "Files cache-1-files", put("files/redis.conf", "port 1\nrequirepass swordfish\n")),
        (DOCKER, "Job schema", put("env/DATABASE_URL", HIDDEN)),
        (
            CLUSTER,
            "Deployment app-1",
            add(f"{FIRST}/env", {"name": "API_TOKEN", "value": "x"}),
        ),
        (CLUSTER, "StatefulSet cache-1", put(f"{FIRST}/livenessProbe/exec/command", ["a", HIDDEN])),
        (CLUSTER, "Deployment edge", put(f"{FIRST}/args", ["--token", "--password=swordfish"])),
        (CLUSTER, "ConfigMap edge-files", put("data/crm.key", PRIVATE_KEY)),
        (CLUSTER, "Service app-1-service", put("metadata/annotations", {"note": HIDDEN})),
    ),
    "pinned_images": (
        (DOCKER, "Container edge", put("image", "haproxy:latest")),
        (DOCKER, "Container cache-1", put("image", "redis")),
        (DOCKER, "Job schema", put("image", "registry.example.com:5000/crm-app")),
        (DOCKER, "Image image-mysql", put("reference", "mysql")),
        (CLUSTER, "StatefulSet database-1", put(f"{FIRST}/image", "mysql@sha256:0123")),
        (CLUSTER, "Deployment app-1", put(f"{FIRST}/image", "crm-app:main")),
    ),
    "pod_security": (
        (CLUSTER, "Namespace namespace", put("metadata/labels", {"crm.stack": "horizontal"})),
        (CLUSTER, "Namespace namespace", gone),
        (CLUSTER, "Deployment app-1", put("metadata/namespace", "default")),
        (CLUSTER, "Deployment app-1", put(f"{POD}/automountServiceAccountToken", True)),
        (CLUSTER, "StatefulSet database-1", add(f"{POD}/volumes", {"name": "n", "nfs": {}})),
        (
            CLUSTER,
            "StatefulSet cache-1",
            put(f"{SECURITY}/seccompProfile", {"type": "Unconfined"}),
        ),
        (CLUSTER, "Deployment edge", put(f"{SECURITY}/procMount", "Unmasked")),
        (CLUSTER, "Deployment edge", put(f"{POD}/securityContext/sysctls", [{"name": "x"}])),
    ),
    "read_only_root": (
        (DOCKER, "Container app-1", put("readOnly", False)),
        (DOCKER, "Container app-2", put("securityOpts", [])),
        (DOCKER, "Container edge", add("securityOpts", "seccomp=unconfined")),
        (DOCKER, "Container edge", put("user", "0:0")),
        (DOCKER, "Container cache-1", drop("user")),
        (DOCKER, "Container app-3", drop("volumes/0/readOnly")),
        (DOCKER, "Job schema", put("uid", 0)),
        (CLUSTER, "Deployment app-1", put(f"{SECURITY}/readOnlyRootFilesystem", False)),
        (CLUSTER, "Deployment app-2", drop(f"{SECURITY}/allowPrivilegeEscalation")),
        (CLUSTER, "StatefulSet cache-1", put(f"{SECURITY}/runAsUser", 0)),
    ),
    "redundancy": (
        (CLUSTER, "PodDisruptionBudget app-disruptions", gone),
        (CLUSTER, "PodDisruptionBudget app-disruptions", put("spec/maxUnavailable", 0)),
        (
            CLUSTER,
            "PodDisruptionBudget app-disruptions",
            put("spec/selector/matchLabels/crm.workload", "edge"),
        ),
        (DOCKER, "Container app-1", lambda stack, _: gone_all_but_first(stack)),
        (CLUSTER, "Deployment app-1", lambda stack, _: gone_all_but_first(stack)),
        (CLUSTER, "Deployment edge-2", gone),
        (CLUSTER, "PodDisruptionBudget edge-disruptions", gone),
    ),
    "required_labels": (
        (DOCKER, "Container app-1", unlabelled("crm.owner")),
        (DOCKER, "Container edge", unlabelled("crm.cost_centre")),
        (DOCKER, "Volume database-1-data", unlabelled("crm.stack")),
        (DOCKER, "Network app-network", unlabelled("crm.tier")),
        (DOCKER, "Job schema", put("labels/crm.stack", "")),
        (CLUSTER, "Deployment app-1", drop("metadata/labels/crm.owner")),
        (CLUSTER, "Service app-1-service", drop("metadata/labels/crm.stack")),
        (CLUSTER, "StatefulSet cache-1", drop("spec/template/metadata/labels/crm.tier")),
    ),
    "restart_policy": (
        (DOCKER, "Container app-1", drop("restart")),
        (DOCKER, "Container edge", put("restart", "on-failure")),
        (DOCKER, "Container cache-1", put("mustRun", False)),
        (DOCKER, "Job schema", drop("timeout_seconds")),
        (CLUSTER, "Deployment app-1", put(f"{POD}/restartPolicy", "Never")),
        (CLUSTER, "Job schema", drop("spec/activeDeadlineSeconds")),
        (CLUSTER, "Job schema", drop("spec/backoffLimit")),
    ),
    "safe_names": (
        (DOCKER, "Container app-1", put("hostname", "app;reboot")),
        (DOCKER, "Container edge", put("name", "edge$(id)")),
        (DOCKER, "Volume app-files", put("name", "../etc")),
        (DOCKER, "Files app-files", put("files/..", "x")),
        (DOCKER, "Container app-2", add("envs", "A B=1")),
        (DOCKER, "Endpoint app-1-endpoint", put("host", "app 1")),
        (CLUSTER, "Deployment app-1", put("metadata/name", "app\n1")),
        (CLUSTER, "Service app-1-service", put("metadata/labels/crm.note", 'a"b')),
    ),
    "size_ceiling": (
        (DOCKER, "Container database-1", put("memory", 300_000)),
        (DOCKER, "Container database-1", put("cpus", "640.0")),
        (CLUSTER, "Deployment app-1", put("spec/replicas", 1000)),
        (
            CLUSTER,
            "PersistentVolumeClaim database-1-data",
            put("spec/resources/requests/storage", "10Ti"),
        ),
    ),
    "tls_in_production": (
        (
            DOCKER,
            "Files edge-files",
            put("files", {"haproxy.cfg": "frontend edge\n    bind :8080\n"}),
        ),
        (DOCKER, "Files edge-files", gone),
        (
            DOCKER,
            "Image image-haproxy",
            become("pulumi-python:dynamic/crm:GeneratedCertificate"),
        ),
        (
            CLUSTER,
            "ConfigMap edge-files",
            put("data", {"nginx.conf": "server {\n    listen 8080;\n}\n"}),
        ),
        (CLUSTER, "Service edge-service", become("kubernetes:networking.k8s.io/v1:Ingress")),
    ),
}


def gone_all_but_first(stack: Stack) -> None:
    """One replica of the app's is left."""
    others = {"app-2", "app-3"}
    stack.drafts = [d for d in stack.drafts if d.name not in others]
