"""Kubernetes' part of the embedded engine, against a real node: objects of every kind that it
knows come, change and go; what fails says why; what is killed converges."""

import base64
import json
import time
from collections.abc import Iterator

import docker
import pytest

from stacks.errors import CrmError
from stacks.targets import kubernetes_host
from stacks.targets.kubernetes_host import Object
from tests.cluster import fixture
from tests.cluster.cluster import Cluster
from tests.embedded import image
from tests.embedded.conftest import Project
from tests.embedded.names import PREFIX, STACK
from tests.embedded.test_engine import changes

cluster = fixture.cluster
IMAGE = f"{PREFIX}-pod:1"
NAMESPACE = f"crm-{STACK}"
HEAD = f'''
import hashlib, json
import pulumi

config = pulumi.Config()
LABELS = {{"crm.stack": pulumi.get_stack()}}
provider = pulumi.ProviderResource("kubernetes", "kubernetes", {{"enableServerSideApply": "true"}})


class Thing(pulumi.CustomResource):
    metadata: pulumi.Output[dict]


def thing(api, kind, name, needs=(), namespace="{NAMESPACE}", key=None, labels=LABELS, **fields):
    metadata = {{"name": name, "labels": labels}}
    if namespace:
        metadata["namespace"] = namespace
    token = f"kubernetes:{{api if '/' in api else 'core/' + api}}:{{kind}}"
    opts = pulumi.ResourceOptions(
        provider=provider, depends_on=list(needs), protect=kind == "PersistentVolumeClaim"
    )
    properties = {{"apiVersion": api, "kind": kind, "metadata": metadata, **fields}}
    return Thing(token, key or name, properties, opts)


def pod(*command, annotations=None, image="{IMAGE}", volumes=(), mounts=(), init=(), **more):
    def container(name, words, **rest):
        return {{
            "name": name, "image": image, "command": list(words), "imagePullPolicy": "IfNotPresent",
            "resources": {{"requests": {{"cpu": "5m", "memory": "8Mi"}}}},
            **({{"volumeMounts": list(mounts)}} if mounts else {{}}), **rest,
        }}
    spec = {{
        "terminationGracePeriodSeconds": 0,
        "containers": [container("main", command, **more.pop("container", {{}}))],
        **({{"initContainers": [container("before", init)]}} if init else {{}}),
        **({{"volumes": list(volumes)}} if volumes else {{}}), **more,
    }}
    metadata = {{"annotations": annotations}} if annotations else {{}}
    return {{"metadata": metadata, "spec": spec}}


def controller(kind, name, template, **spec):
    needs = spec.pop("needs", ())
    labels = {{**LABELS, "app": spec.pop("app", name)}}
    template["metadata"]["labels"] = labels
    spec |= {{"selector": {{"matchLabels": labels}}, "template": template}}
    return thing("apps/v1", kind, name, needs, spec=spec)


space = thing("v1", "Namespace", "{NAMESPACE}", namespace=None, key="space")
'''
SMALL = """
text = config.get("text") or "one"
digest = hashlib.sha256(text.encode()).hexdigest()[:8]
secret = thing("v1", "Secret", "secrets", [space], type="Opaque", stringData={
    "password": pulumi.Output.secret("canary-" + (config.get("password") or "a")), "user": "crm",
})
files = thing(
    "v1", "ConfigMap", f"files-{digest}", [space], key="files", immutable=True, data={"text": text}
)
data = thing("v1", "PersistentVolumeClaim", "data", [space], spec={
    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}},
})
account = thing("v1", "ServiceAccount", "crm", [space], automountServiceAccountToken=False)
database = controller("StatefulSet", "database", pod(
    "sleep", "1000",
    volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    mounts=[{"name": "data", "mountPath": "/data"}],
), needs=[data, account], serviceName=config.get("service") or "database", replicas=1)
app = controller("Deployment", "app", pod(
    "sleep", "1000",
    annotations={"version": secret.metadata.apply(lambda found: found.get("resourceVersion", ""))},
    volumes=[
        {"name": "files", "configMap": {"name": files.metadata.apply(lambda found: found["name"])}},
        {"name": "secrets", "secret": {"secretName": "secrets"}},
    ],
    mounts=[{"name": "files", "mountPath": "/files"}, {"name": "secrets", "mountPath": "/secrets"}],
), needs=[database], replicas=config.get_int("replicas") or 1)
service = thing("v1", "Service", "app", [app], key="app-service", spec={
    "type": "NodePort", "selector": {"app": "app"}, "ports": [{"name": "http", "port": 80}],
})
pulumi.export("uid", space.metadata.apply(lambda found: found.get("uid", "")))
"""
OTHERS = """
needs = [space]
thing("policy/v1", "PodDisruptionBudget", "budget", needs, spec={
    "maxUnavailable": 1, "selector": {"matchLabels": {"app": "app"}},
})
thing("networking.k8s.io/v1", "NetworkPolicy", "deny", needs, spec={
    "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
})
backend = {"service": {"name": "app", "port": {"number": 80}}}
paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
thing("networking.k8s.io/v1", "Ingress", "edge", needs, spec={
    "rules": [{"host": "crm.example", "http": {"paths": paths}}],
})
thing("autoscaling/v2", "HorizontalPodAutoscaler", "app", needs, key="scaler", spec={
    "minReplicas": 1, "maxReplicas": 2,
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
    "metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
})
thing("batch/v1", "CronJob", "nightly", needs, spec={
    "schedule": "0 3 * * *",
    "jobTemplate": {"spec": {"template": pod("sleep", "0", restartPolicy="Never")}},
})
job = pod("sh", "-c", config.get("job") or "exit 0", restartPolicy="Never")
digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()[:8]
thing("batch/v1", "Job", f"schema-{digest}", needs, key="schema", spec={
    "template": job, "backoffLimit": 0, "activeDeadlineSeconds": 60,
})
"""

pytestmark = pytest.mark.live


@pytest.fixture
def node(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> kubernetes_host.Cluster:
    """A connection to the cluster, which the program finds too."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    client = docker.from_env()
    image.make(client, IMAGE)
    cluster.load_images([IMAGE])
    client.images.remove(IMAGE, force=True)
    client.close()
    return kubernetes_host.connect()


@pytest.fixture
def stack(project: Project, node: kubernetes_host.Cluster) -> Iterator[Project]:
    """A project of a database with a volume, and an app with files and a secret."""
    project.program(SMALL, HEAD)
    yield project
    node.delete(reference("v1", "Namespace", NAMESPACE), propagation="Background")


def reference(api: str, kind: str, name: str) -> Object:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}}


def read(node: kubernetes_host.Cluster, api: str, kind: str, name: str) -> Object:
    found = node.read(reference(api, kind, name))
    assert found is not None
    return found


def done(answer: Object) -> list[tuple[str, str]]:
    return [(e["op"], e["name"]) for e in answer["events"] if e["status"] == "done"]


def test_stack_lives_changes_and_goes(stack: Project, node: kubernetes_host.Cluster) -> None:
    answer = stack.run("up")
    assert changes(answer) == {"create": 9}, answer["message"]
    app = read(node, "apps/v1", "Deployment", "app")
    assert app["status"]["availableReplicas"] == 1
    assert answer["outputs"]["uid"] == read(node, "v1", "Namespace", NAMESPACE)["metadata"]["uid"]
    text = json.dumps(stack.checkpoint())
    for secret in ("canary-a", base64.b64encode(b"canary-a").decode()):
        assert secret not in text + json.dumps(answer)
    assert changes(stack.run("up")) == {"same": 9}
    assert changes(stack.run("preview")) == {"same": 9}

    # A secret rolls who uses it, a file what mounts it; the old file goes last.
    stack.config("config: {crm:password: b, crm:text: two, crm:replicas: 2}")
    assert changes(stack.run("preview")) == {"update": 2, "replace": 1, "same": 6}
    answer = stack.run("up")
    assert changes(answer) == {"update": 2, "replace": 1, "same": 6}, answer["message"]
    steps = done(answer)
    assert steps.index(("replace", "files")) < steps.index(("update", "app"))
    assert steps.index(("update", "app")) < steps.index(("delete", "files"))
    assert len(node.find("v1", "ConfigMap", NAMESPACE, {"crm.stack": STACK})) == 1
    password = read(node, "v1", "Secret", "secrets")["data"]["password"]
    assert base64.b64decode(password) == b"canary-b"
    assert changes(stack.run("up")) == {"same": 9}

    # What cannot change in place goes first: two of one name cannot be.
    before = read(node, "apps/v1", "StatefulSet", "database")
    stack.config("config: {crm:password: b, crm:text: two, crm:service: other}")
    answer = stack.run("up")
    assert changes(answer) == {"replace": 1, "update": 1, "same": 7}, answer["message"]
    after = read(node, "apps/v1", "StatefulSet", "database")
    assert before["metadata"]["uid"] != after["metadata"]["uid"]

    assert changes(stack.run("destroy")) == {"delete": 6}
    assert read(node, "v1", "PersistentVolumeClaim", "data")["status"]["phase"] == "Bound"
    assert node.find("v1", "Pod", NAMESPACE) == []
    assert changes(stack.run("up"))["create"] == 6
    assert changes(stack.run("destroy", delete_data=True)) == {"delete": 9}
    assert node.namespace_labels(NAMESPACE) is None


def test_every_kind_comes_stays_and_goes(stack: Project, node: kubernetes_host.Cluster) -> None:
    stack.program(OTHERS, HEAD)
    answer = stack.run("up")
    assert changes(answer) == {"create": 8}, answer["message"]
    assert changes(stack.run("up")) == {"same": 8}
    assert stack.run("refresh")["drift"] == []
    assert changes(stack.run("destroy")) == {"delete": 8}


def test_job_that_fails_says_its_last_words(stack: Project, node: kubernetes_host.Cluster) -> None:
    stack.program(OTHERS, HEAD)
    stack.config('config: {crm:job: "echo no such table; exit 3"}')
    answer = stack.run("up")
    assert answer["result"] == "failed"
    assert answer["message"].startswith("Job schema: create failed: the job failed: Backoff")
    assert "main last said: no such table" in answer["message"]
    stack.config("config: {}")
    assert stack.run("up")["result"] == "succeeded"
    assert len(node.find("batch/v1", "Job", NAMESPACE)) == 1


def test_bad_image_stops_the_roll_out_and_the_next_up_mends(
    stack: Project, node: kubernetes_host.Cluster
) -> None:
    body = 'controller("Deployment", "app", pod("sleep", "1000", image={}), needs=[space])'
    stack.program(body.format(repr(IMAGE)), HEAD)
    assert stack.run("up")["result"] == "succeeded"
    served = read(node, "apps/v1", "Deployment", "app")["metadata"]["uid"]

    stack.program(body.format("'localhost:1/nowhere:1'"), HEAD)
    begun = time.monotonic()
    answer = stack.run("up")
    assert time.monotonic() - begun < 60
    assert answer["result"] == "failed"
    assert "Deployment app: update failed: container main: " in answer["message"]
    assert "localhost:1/nowhere:1" in answer["message"]
    told = [event["detail"] for event in answer["events"] if event["status"] == "waiting"]
    assert any(text.startswith("1 new pods to replace 1 old; container main") for text in told)
    status = read(node, "apps/v1", "Deployment", "app")["status"]
    assert status["availableReplicas"] == 1

    stack.program(body.format(repr(IMAGE)), HEAD)
    assert changes(stack.run("up")) == {"update": 1, "same": 2}
    assert read(node, "apps/v1", "Deployment", "app")["metadata"]["uid"] == served
    assert changes(stack.run("up")) == {"same": 3}


@pytest.mark.parametrize(
    ("pod", "message"),
    [
        ('pod("sh", "-c", "echo last words; exit 3")', "main last said: last words"),
        ('pod("sleep", "9", init=("sh", "-c", "echo line 7; exit 1"))', "before last said: line 7"),
        (
            'pod("sleep", "9", container={"envFrom": [{"secretRef": {"name": "no"}}]})',
            'CreateContainerConfigError: secret "no" not found',
        ),
        (
            'pod("sleep", "9", nodeSelector={"there": "none"}), progressDeadlineSeconds=6',
            "cannot be scheduled: 0/1 nodes are available",
        ),
    ],
)
def test_pod_that_does_not_get_there_says_why(
    stack: Project, node: kubernetes_host.Cluster, pod: str, message: str
) -> None:
    # Without a probe, one that has run for a while counts as ready.
    stack.program(f'controller("Deployment", "app", {pod}, needs=[space], minReadySeconds=5)', HEAD)
    answer = stack.run("up")
    assert answer["message"].startswith("Deployment app: create failed: ")
    assert message in answer["message"]
    assert any(message in line for line in node.reasons(NAMESPACE, {"app": "app"}))
    assert changes(stack.run("destroy")) == {"delete": 2}


def test_what_a_rule_or_a_quota_refuses_is_told(
    stack: Project, node: kubernetes_host.Cluster
) -> None:
    rule = ', labels={**LABELS, "pod-security.kubernetes.io/enforce": "restricted"})'
    stack.program(
        'controller("Deployment", "app", pod("sleep", "9"), needs=[space])',
        HEAD.replace(', key="space")', f', key="space"{rule}'),
    )
    answer = stack.run("up")
    assert 'violates PodSecurity "restricted' in answer["message"]


@pytest.mark.parametrize(
    "place",
    [
        "kubernetes-made-unrecorded:1",
        "kubernetes-made-unrecorded:4",
        "kubernetes-made-unrecorded:6",
        "kubernetes-applied-unawaited:7",
        "half-written:9",
    ],
)
def test_killed_first_up_converges(
    stack: Project, node: kubernetes_host.Cluster, place: str
) -> None:
    stack.run("up", kill_at=place)
    answer = stack.run("up")
    assert answer["result"] == "succeeded", answer["message"]
    assert changes(stack.run("up")) == {"same": 9}
    assert changes(stack.run("destroy", delete_data=True)) == {"delete": 9}
    assert node.namespace_labels(NAMESPACE) is None


@pytest.mark.parametrize(
    "place",
    ["kubernetes-updating:1", "kubernetes-applied-unawaited:2", "kubernetes-deleted-unrecorded:1"],
)
def test_killed_change_converges_also_when_taken_back(
    stack: Project, node: kubernetes_host.Cluster, place: str
) -> None:
    stack.run("up")
    stack.config("config: {crm:password: b, crm:text: two, crm:replicas: 2}")
    stack.run("up", kill_at=place)
    stack.config("config: {}")
    answer = stack.run("up")
    assert answer["result"] == "succeeded", answer["message"]
    assert read(node, "apps/v1", "Deployment", "app")["spec"]["replicas"] == 1
    assert len(node.find("v1", "ConfigMap", NAMESPACE, {"crm.stack": STACK})) == 1
    assert changes(stack.run("up")) == {"same": 9}


@pytest.mark.parametrize("place", ["kubernetes-deleting:3", "kubernetes-deleted-unrecorded:2"])
def test_killed_destroy_converges_either_way(
    stack: Project, node: kubernetes_host.Cluster, place: str
) -> None:
    stack.run("up")
    stack.run("destroy", kill_at=place)
    answer = stack.run("up")
    assert answer["result"] == "succeeded", answer["message"]
    assert changes(stack.run("up")) == {"same": 9}
    stack.run("destroy", kill_at=place)
    assert stack.run("destroy", delete_data=True)["result"] == "succeeded"
    assert node.namespace_labels(NAMESPACE) is None


def test_what_a_person_is_deleting_comes_anew(
    stack: Project, node: kubernetes_host.Cluster
) -> None:
    stack.run("up")
    app = reference("apps/v1", "Deployment", "app")
    held = {**app, "metadata": {**app["metadata"], "finalizers": ["crm.example/held"]}}
    node.apply(held, manager="a person")
    with pytest.raises(CrmError, match=r"not gone after 0 s: held by crm.example/held"):
        node.delete(app, seconds=0, propagation="Background")
    assert changes(stack.run("preview")) == {"create": 1, "same": 8}
    node.apply({**app, "metadata": {**app["metadata"], "finalizers": []}}, manager="a person")
    assert changes(stack.run("up"))["create"] == 1
    assert changes(stack.run("up")) == {"same": 9}


def test_drift_is_shown_then_mended(stack: Project, node: kubernetes_host.Cluster) -> None:
    stack.run("up")
    app = reference("apps/v1", "Deployment", "app")
    node.apply({**app, "spec": {"replicas": 2}}, manager="a person")
    node.delete(reference("v1", "Service", "app"))
    secret = reference("v1", "Secret", "secrets")
    node.apply({**secret, "data": {"password": "eA=="}}, manager="a person")
    drift = [
        "Deployment app: spec.replicas is 2, not 1",
        "Secret secrets: data.password differs",
        "Service app-service: gone",
    ]
    assert sorted(stack.run("refresh", preview_only=True)["drift"]) == drift
    assert sorted(stack.run("refresh")["drift"]) == drift
    answer = stack.run("up")
    assert changes(answer) == {"create": 1, "update": 2, "same": 6}, answer["message"]
    assert read(node, "apps/v1", "Deployment", "app")["spec"]["replicas"] == 1
    assert stack.run("refresh")["drift"] == []
    assert changes(stack.run("up")) == {"same": 9}


def test_what_belongs_to_others_is_left_alone(
    stack: Project, node: kubernetes_host.Cluster
) -> None:
    theirs = {**reference("v1", "Namespace", NAMESPACE), "metadata": {"name": NAMESPACE}}
    node.apply(theirs)
    answer = stack.run("up")
    assert f"{NAMESPACE} is there and not ours: if it is" in answer["message"]
    assert "labels" not in read(node, "v1", "ConfigMap", "kube-root-ca.crt")["metadata"]
    # Nor is our own, where the state knows nothing of it: it may be another machine's.
    theirs["metadata"]["labels"] = {"crm.stack": STACK}
    node.apply(theirs)
    (stack.folder / "state").rename(stack.folder / "lost")
    assert "go on where its state is" in stack.run("up")["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('thing("v1", "Pod", "x", [space])', "knows no kubernetes:core/v1:Pod, only"),
        ('thing("v1", "ConfigMap", "x", [space], datum={})', ".datum: field not declared"),
        ('thing("v1", "ConfigMap", "", [space], key="x")', "give it apiVersion, kind and"),
        (
            'pulumi.ProviderResource("kubernetes", "k", {"kubeconfig": "x"})',
            "knows no option input kubeconfig",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(stack: Project, body: str, message: str) -> None:
    stack.program(body, HEAD)
    assert message in stack.run("up")["message"]
