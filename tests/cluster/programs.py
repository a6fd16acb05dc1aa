"""The node's programs: their command lines and their settings, as seen inside its namespaces.

Standard library only: the node's first process imports it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import place

HOME = "/run/cluster"
"""The cluster's folder inside; short, since the path of a socket has 107 bytes at most."""
PKI = f"{HOME}/pki"
SETTINGS = f"{HOME}/settings"
BIN = "/run/programs/bin"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"

KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet wants of the whole machine. It is shown these values and changes nothing."""


@dataclass(frozen=True)
class Program:
    """One program of the node. ``early``: it does not wait for the API server."""

    name: str
    command: tuple[str, ...]
    early: bool = False


def programs(address: str) -> tuple[Program, ...]:
    """Everything that runs on the node, in the order it is started."""

    def kubernetes(name: str, *flags: str) -> Program:
        return Program(name, (f"{BIN}/{name}", *flags))

    def clients(name: str) -> tuple[str, ...]:
        path = f"{PKI}/{name}.kubeconfig"
        flags = ("--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig")
        return tuple(f"{flag}={path}" for flag in flags)

    return (
        Program("etcd", _etcd(), early=True),
        Program("kube-apiserver", (f"{BIN}/kube-apiserver", *_apiserver(address)), early=True),
        Program("containerd", ("containerd", f"--config={SETTINGS}/containerd.toml"), early=True),
        kubernetes(
            "kube-controller-manager",
            *clients("controller-manager"),
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={PKI}/service-accounts.key",
            f"--root-ca-file={PKI}/ca.crt",
            f"--cluster-signing-cert-file={PKI}/ca.crt",
            f"--cluster-signing-key-file={PKI}/ca.key",
            # Tests wait for the autoscaler: it looks often, and believes new pods soon.
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=15s",
        ),
        kubernetes(
            "kube-scheduler",
            *clients("scheduler"),
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ),
        kubernetes(
            "kubelet",
            f"--kubeconfig={PKI}/kubelet.kubeconfig",
            f"--config={SETTINGS}/kubelet.json",
            f"--hostname-override={place.NODE}",
            f"--node-ip={address}",
            f"--node-labels=topology.kubernetes.io/zone={place.ZONE},"
            f"topology.kubernetes.io/region={place.REGION}",
            "--housekeeping-interval=5s",
        ),
        kubernetes("kube-proxy", f"--config={SETTINGS}/kube-proxy.json"),
        Program(
            "addons",
            (
                *(f"{BIN}/addons", f"--kubeconfig={PKI}/addons.kubeconfig"),
                *(f"--node={place.NODE}", f"--address={address}"),
                *("--volumes=/var/lib/volumes", f"--queue={place.QUEUE}"),
            ),
        ),
    )


def _etcd() -> tuple[str, ...]:
    # In memory: a cluster for tests outlives nothing, and does not wait for the disk.
    return (
        *("etcd", "--data-dir=/run/etcd", "--name=node-1"),
        *("--listen-client-urls=http://127.0.0.1:2379",),
        *("--advertise-client-urls=http://127.0.0.1:2379",),
        *("--listen-peer-urls=http://127.0.0.1:2380",),
        *("--initial-advertise-peer-urls=http://127.0.0.1:2380",),
        *("--initial-cluster=node-1=http://127.0.0.1:2380",),
        *("--log-level=warn", "--logger=zap"),
    )


def _apiserver(address: str) -> tuple[str, ...]:
    return (
        f"--advertise-address={address}",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={place.SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={PKI}/ca.crt",
        f"--tls-cert-file={PKI}/apiserver.crt",
        f"--tls-private-key-file={PKI}/apiserver.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        f"--kubelet-client-certificate={PKI}/apiserver-kubelet.crt",
        f"--kubelet-client-key={PKI}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={PKI}/service-accounts.pub",
        f"--service-account-signing-key-file={PKI}/service-accounts.key",
        # The aggregation layer, for metrics-server; straight to its pods, not over kube-proxy.
        "--enable-aggregator-routing=true",
        f"--proxy-client-cert-file={PKI}/front-proxy-client.crt",
        f"--proxy-client-key-file={PKI}/front-proxy-client.key",
        f"--requestheader-client-ca-file={PKI}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        "--profiling=false",
    )


def write_settings(folder: Path) -> None:
    """The settings files of all programs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "containerd.toml").write_text(CONTAINERD, encoding="utf-8")
    for name, content in {"kubelet": KUBELET, "kube-proxy": PROXY}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / "cni").mkdir(exist_ok=True)
    (folder / "cni" / "10-pods.conflist").write_text(json.dumps(CNI, indent=1), encoding="utf-8")


CONTAINERD = f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Machines without CAP_SYS_RESOURCE refuse to lower a process' oom_score_adj.
  restrict_oom_score_adj = true
  # A profile would be loaded for the whole machine.
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{SETTINGS}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""

CNI: dict[str, Any] = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            # A pair of interfaces for each pod and no bridge: what goes from pod to pod is routed,
            # and so passes the hooks where network policies are enforced.
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": place.POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}

KUBELET: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": f"{PKI}/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "cgroupDriver": "cgroupfs",
    "clusterDNS": [place.DNS_SERVICE],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
    # Images are brought, not pulled: none may be collected, and a full disk evicts nobody.
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "0%",
        "nodefs.inodesFree": "0%",
        "imagefs.available": "0%",
        "imagefs.inodesFree": "0%",
    },
    "imageGCHighThresholdPercent": 100,
    "imageGCLowThresholdPercent": 99,
    "failCgroupV1": False,
    "failSwapOn": False,
    "oomScoreAdj": 0,
    "podLogsDir": "/var/log/pods",
    "resolvConf": "",
    "tlsCertFile": f"{PKI}/kubelet-server.crt",
    "tlsPrivateKeyFile": f"{PKI}/kubelet-server.key",
    "volumePluginDir": "/var/lib/kubelet/volume-plugins",
}

PROXY: dict[str, Any] = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "clientConnection": {"kubeconfig": f"{PKI}/proxy.kubeconfig"},
    "clusterCIDR": place.POD_RANGE,
    "hostnameOverride": place.NODE,
    "mode": "iptables",
    "iptables": {"minSyncPeriod": "200ms", "syncPeriod": "30s"},
    # These belong to the whole machine.
    "conntrack": {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
    },
}
