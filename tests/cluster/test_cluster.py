"""What Kubernetes promises holds on the cluster for tests, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from stacks import images
from stacks.errors import CrmError
from tests.cluster import machine, place
from tests.cluster.cluster import Cluster
from tests.cluster.objects import SERVE_NAME, SLEEP, Namespace, namespace, until

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> str:
    """The application's image, loaded into the cluster: a Python is all these tests need of it."""
    name = images.ensure(images.app_reference(), lambda _: None)
    cluster.load_images([name])
    return name


@pytest.fixture
def space(cluster: Cluster, image: str, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    name = re.sub(r"[^a-z]+", "-", request.node.name.removeprefix("test_"))[:40].strip("-")
    with namespace(cluster, name, image) as made:
        yield made


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return str(answer.read().decode())


def answers(url: str) -> bool:
    with suppress(OSError):
        read(url)
        return True
    return False


def test_node_is_ready_and_says_its_zone_and_version(cluster: Cluster) -> None:
    node = json.loads(cluster.kubectl("get", "node", place.NODE, "--output=json"))
    conditions = {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == place.ZONE
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.3"
    version = json.loads(cluster.kubectl("version", "--output=json"))
    assert version["serverVersion"]["gitVersion"] == "v1.36.3"
    assert cluster.status()[0] == f"running at {cluster.address}", cluster.status()


def test_load_images_brings_an_image_once(
    cluster: Cluster, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_import", lambda *_: pytest.fail("it is there already"))
    cluster.load_images([image])
    with pytest.raises(CrmError, match=r"image no-such:1: not on this machine"):
        cluster.load_images(["no-such:1"])


def test_pod_security_refuses_privileges_and_runs_a_restricted_pod(space: Namespace) -> None:
    careless = space.pod("careless", SLEEP, securityContext={})
    with pytest.raises(CrmError, match=r"violates PodSecurity .restricted"):
        space.apply(careless)
    space.apply(space.pod("careful", SLEEP))
    space.wait("condition=Ready", "pod/careful")
    assert space.python("careful", "import os; print(os.getuid(), os.getgid())") == "10001 10001"
    with pytest.raises(CrmError, match=r"Read-only file system"):
        space.python("careful", "open('/file', 'w')")


def test_service_account_is_known_and_may_do_nothing(space: Namespace) -> None:
    ask = """\
import ssl, urllib.request, urllib.error
base = "/var/run/secrets/kubernetes.io/serviceaccount"
context = ssl.create_default_context(cafile=base + "/ca.crt")
url = "https://kubernetes.default.svc/api/v1/namespaces/kube-system/secrets"
headers = {"Authorization": "Bearer " + open(base + "/token").read()}
request = urllib.request.Request(url, headers=headers)
try:
    print(urllib.request.urlopen(request, timeout=5, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""
    space.apply(space.pod("asks", SLEEP, automountServiceAccountToken=True))
    space.wait("condition=Ready", "pod/asks")
    said = space.python("asks", ask)
    assert said.startswith("403")
    assert f"system:serviceaccount:{space.name}:default" in said


def test_service_has_a_name_and_balances(space: Namespace) -> None:
    space.apply(
        space.workload("StatefulSet", "web", SERVE_NAME, replicas=2),
        space.service("web", clusterIP="None"),
        space.service("front", selector={"app": "web"}, ports=[{"port": 80, "targetPort": 8080}]),
        space.pod("client", SLEEP),
    )
    space.wait("condition=Ready", "pod/client", "pod/web-0", "pod/web-1")
    ask = (
        "import urllib.request as u\n"
        "for _ in range({1}): print(u.urlopen('http://{0}', timeout=5).read().decode())"
    )
    name = f"front.{space.name}.svc.cluster.local"
    until(lambda: space.python("client", ask.format("front", 1)), "the Service's name")
    both = {"web-0", "web-1"}
    until(lambda: set(space.python("client", ask.format(name, 60)).split()) == both, "both pods")
    # Each pod of a StatefulSet has a name of its own.
    for pod in ("web-0", "web-1"):
        program = ask.format(f"{pod}.web:8080", 1)
        until(partial(space.prints, "client", program, pod), pod)


def test_claim_gets_a_volume_that_outlives_its_pod(space: Namespace) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    mounted = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}

    def keeper(name: str) -> None:
        space.apply(space.pod(name, SLEEP, volumes=[volume], container=mounted))
        space.wait("condition=Ready", f"pod/{name}")

    space.apply(claim)
    keeper("first")
    space.python("first", "open('/data/kept', 'w').write('rows')")
    space.kubectl("delete", "pod", "first")
    keeper("second")
    assert space.python("second", "print(open('/data/kept').read())") == "rows"
    bound = space.get("persistentvolumeclaim", "data")
    assert (bound["status"]["phase"], bound["spec"]["storageClassName"]) == ("Bound", "local")
    folder = space.cluster.place.folder / "volumes" / bound["spec"]["volumeName"]
    assert (folder / "kept").read_text() == "rows"

    space.kubectl("delete", "pod", "second")
    space.kubectl("delete", "persistentvolumeclaim", "data")
    until(lambda: not folder.exists(), "the volume's removal")


def test_autoscaler_follows_measured_cpu(space: Namespace) -> None:
    burn = "while True: pass"
    limited = {
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "100m"}}
    }
    utilization = {"type": "Utilization", "averageUtilization": 50}
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "busy"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "minReplicas": 1,
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": utilization}}],
        },
    }
    space.apply(space.workload("Deployment", "busy", burn, container=limited), scaler)
    until(lambda: "busy-" in space.kubectl("top", "pods", "--no-headers"), "figures of the pod")
    until(
        lambda: space.get("deployment", "busy")["status"].get("readyReplicas") == 2,
        "the second replica",
    )


def test_node_port_and_load_balancer_answer_from_the_machine(space: Namespace) -> None:
    space.apply(
        space.workload("Deployment", "web", SERVE_NAME),
        space.service("web", type="NodePort"),
        space.service(
            "balanced",
            type="LoadBalancer",
            selector={"app": "web"},
            ports=[{"port": 8088, "targetPort": 8080}],
        ),
    )
    space.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    address = space.cluster.address
    port = space.get("service", "web")["spec"]["ports"][0]["nodePort"]
    until(lambda: answers(f"http://{address}:{port}"), "the NodePort")
    assert read(f"http://{address}:{port}").startswith("web-")
    until(
        lambda: (
            space.get("service", "balanced")["status"]["loadBalancer"].get("ingress")
            == [{"ip": address, "ipMode": "VIP"}]
        ),
        "the LoadBalancer's address",
    )
    until(lambda: answers(f"http://{address}:8088"), "the LoadBalancer")


def test_network_policies_are_enforced_or_said_not_to_be(space: Namespace) -> None:
    if not space.cluster.enforces_network_policies:
        warnings.warn("this kernel cannot enforce network policies", stacklevel=1)
        return
    impatient = {"options": [{"name": "timeout", "value": "1"}, {"name": "attempts", "value": "1"}]}
    space.apply(
        space.pod("server", SERVE_NAME),
        space.service("server"),
        space.pod("friend", SLEEP, dnsConfig=impatient),
        space.pod("stranger", SLEEP),
    )
    space.wait("condition=Ready", "pod/server", "pod/friend", "pod/stranger")
    ask = (
        "import urllib.request as u\n"
        "try: print(u.urlopen('http://server:8080', timeout=2).read().decode())\n"
        "except OSError as error: print(error)\n"
    )
    for pod in ("friend", "stranger"):
        until(partial(space.prints, pod, ask, "server"), f"{pod}, before any policy")

    dns = {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                },
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }
    web = {"ports": [{"port": 8080}]}
    friend, server = (
        {"podSelector": {"matchLabels": {"app": name}}} for name in ("friend", "server")
    )
    space.apply(
        policy("default-deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
        policy("dns", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [dns]}),
        policy("out", {**friend, "policyTypes": ["Egress"], "egress": [{"to": [server], **web}]}),
        policy(
            "in", {**server, "policyTypes": ["Ingress"], "ingress": [{"from": [friend], **web}]}
        ),
    )
    until(lambda: "timed out" in space.python("stranger", ask), "the stranger's exclusion")
    until(partial(space.prints, "friend", ask, "server"), "the friend's admission")
    space.kubectl("delete", "networkpolicy", "dns")
    until(lambda: "resolution" in space.python("friend", ask), "names being out of reach")


def policy(name: str, spec: dict[str, object]) -> dict[str, object]:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


# --- What it leaves ------------------------------------------------------------------------------


def trace_of(spot: place.Place) -> list[str]:
    """Whatever of a cluster the machine still shows."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found = [f"mount {line}" for line in mounts if spot.tag in line or str(spot.folder) in line]
    found += [f"process {pid}" for pid in machine.members(spot)]
    found += [f"cgroup {cgroup}" for cgroup in machine.cgroups(spot) if cgroup.exists()]
    if Path("/sys/class/net", spot.link).exists():
        found.append(f"interface {spot.link}")
    left = [path for path in spot.folder.rglob("*") if spot.logs not in (path, *path.parents)]
    return found + [f"file {path}" for path in left]


def network_namespaces(pids: set[int]) -> set[str]:
    """The network namespaces that processes are in; all processes if none are named."""
    found = set()
    for pid in pids or {int(path.name) for path in Path("/proc").glob("[0-9]*")}:
        with suppress(OSError):
            found.add(str(Path(f"/proc/{pid}/ns/net").readlink()))
    return found


def machine_settings() -> tuple[str, ...]:
    """What a cluster is tempted to change for the whole machine."""
    rules = [
        subprocess.run([f"iptables{kind}-save"], capture_output=True, text=True, check=False).stdout
        for kind in ("-legacy", "-nft")
    ]
    counted = [re.sub(r"\[\d+:\d+\]|^#.*$", "", text, flags=re.MULTILINE) for text in rules]
    names = ("vm/overcommit_memory", "kernel/panic", "net/netfilter/nf_conntrack_max")
    return (*counted, *(Path("/proc/sys", name).read_text() for name in names))


# Containers that others start meanwhile change the machine's rules too.
@pytest.mark.alone
def test_stop_leaves_nothing_even_after_a_crash(cluster: Cluster, tmp_path: Path) -> None:
    before = machine_settings()
    other = Cluster(tmp_path)
    try:
        # Beside the one that runs, which it must not disturb.
        other.start()
        assert other.address != cluster.address
        own = network_namespaces(machine.members(other.place)) - network_namespaces({os.getpid()})
        assert own
        other.kubectl("get", "--raw=/readyz")
        assert machine_settings() == before

        first = int(json.loads(other.place.record.read_text())["pid"])
        os.kill(first, signal.SIGKILL)
        until(lambda: not other.is_running(), "the end of the first process", 10)
        assert other.status() == ["stopped"]
        assert other.place.record.exists()
    finally:
        other.stop()
    assert trace_of(other.place) == []
    until(lambda: not own & network_namespaces(set()), "the end of its network namespaces", 10)
    other.stop()
    cluster.kubectl("get", "--raw=/readyz")
