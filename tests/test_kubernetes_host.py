"""What is judged of a cluster's answers, over answers as a cluster gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.errors import CrmError
from stacks.targets import kubernetes_host, kubernetes_ready
from stacks.targets.kubernetes_host import Object
from stacks.targets.kubernetes_ready import Problem, Verdict, judge


def live(kind: str, spec: Object | None = None, **status: Any) -> Object:
    metadata = {"name": "x", "uid": "u", "generation": 2}
    return {"kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


def rolled_out(**status: Any) -> Object:
    """The status of a Deployment of two whose roll-out is done, but for ``status``."""
    counts = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "observedGeneration": 2}
    return live("Deployment", {"replicas": 2}, **{**counts, **status})


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


# --- Readiness -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "waiting"),
    [
        ({"observedGeneration": 1}, "the controller to see the change"),
        ({"updatedReplicas": 1}, "1 of 2 new pods started"),
        ({"replicas": 3}, "2 new pods to replace 1 old"),
        ({"availableReplicas": 1}, "1 of 2 pods ready"),
    ],
)
def test_deployment_is_ready_when_the_new_pods_are_and_the_old_are_gone(
    status: Object, waiting: str
) -> None:
    assert judge(rolled_out()).ready
    assert judge(rolled_out(**status)) == Verdict(waiting=waiting)


def test_deployment_that_its_controller_gave_up_has_failed() -> None:
    given_up = condition("Progressing", "False", "ProgressDeadlineExceeded")
    found = rolled_out(availableReplicas=0, conditions=[given_up])
    found["spec"]["progressDeadlineSeconds"] = 60
    assert judge(found).failed == "the roll-out did not get on for 60 s"


def test_stateful_set_is_ready_when_its_newest_revision_is() -> None:
    counts = {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1}
    same = {"currentRevision": "a", "updateRevision": "a"}
    rolling = {"currentRevision": "a", "updateRevision": "b"}
    assert judge(live("StatefulSet", {"replicas": 1}, **counts, **same)).ready
    old = live("StatefulSet", {"replicas": 1}, **{**counts, **rolling, "updatedReplicas": 0})
    assert judge(old).waiting == "0 of 1 new pods started"
    starting = live("StatefulSet", {"replicas": 1}, **{**counts, **rolling, "readyReplicas": 0})
    assert judge(starting).waiting == "0 of 1 pods ready"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (live("Job", active=1), Verdict(waiting="the job to end")),
        (live("Job", conditions=[condition("Complete")]), Verdict(True, "the job to start")),
        (
            live(
                "Job", conditions=[condition("Failed", reason="DeadlineExceeded", message="late")]
            ),
            Verdict(failed="the job failed: DeadlineExceeded: late"),
        ),
        (live("PersistentVolumeClaim", phase="Pending"), Verdict(waiting="a volume")),
        (live("PersistentVolumeClaim", phase="Bound"), Verdict(True, "a volume")),
        (live("Namespace", phase="Active"), Verdict(True, "the namespace to become active")),
        (
            live("Service", {"type": "LoadBalancer"}),
            Verdict(waiting="an address from the load balancer"),
        ),
        (live("ConfigMap"), Verdict(True)),
    ],
)
def test_each_kind_is_ready_when_it_does_its_work(found: Object, verdict: Verdict) -> None:
    assert judge(found) == verdict


def test_what_says_so_is_not_waited_for_and_may_take_as_long_as_it_says() -> None:
    claim = live("PersistentVolumeClaim", phase="Pending")
    claim["metadata"]["annotations"] = {kubernetes_ready.SKIP_AWAIT: "true"}
    assert judge(claim).ready
    assert kubernetes_ready.patience(claim) == 600
    claim["metadata"]["annotations"] = {kubernetes_ready.TIMEOUT_SECONDS: "30"}
    assert kubernetes_ready.patience(claim) == 30
    assert kubernetes_ready.patience(live("Job", {"activeDeadlineSeconds": 60})) == 75


# --- Reasons -------------------------------------------------------------------------------------


def pod(state: Object, *, init: bool = False, **status: Any) -> Object:
    container = {"name": "c", "image": "i:1", "ready": False, "state": state, **status}
    key = "initContainerStatuses" if init else "containerStatuses"
    return {
        "kind": "Pod",
        "metadata": {"name": "p"},
        "status": {"phase": "Pending", key: [container]},
    }


ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (
            pod({"waiting": {"reason": "ImagePullBackOff", "message": "no\n such  image"}}),
            Problem("image", "container c: ImagePullBackOff: no such image (image i:1)", 15),
        ),
        (
            pod({"waiting": {"reason": "InvalidImageName"}}, init=True),
            Problem("image", "container c: InvalidImageName (image i:1)", 0),
        ),
        (
            pod({"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}),
            Problem("config", "container c: CreateContainerConfigError: no secret", 15),
        ),
        (
            pod({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ENDED, restartCount=2),
            Problem("crash", "container c: ended with exit code 3, started again 2 times", 30, "c"),
        ),
        # It runs once more: that it stays is still to be seen.
        (
            pod({"running": {}}, lastState=ENDED, restartCount=1),
            Problem("crash", "container c: ended with exit code 3, started again 1 times", 30, "c"),
        ),
        (
            pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            Problem("crash", "container c: ended with exit code 137, OOMKilled", 30, "c"),
        ),
        (pod({"waiting": {"reason": "ContainerCreating"}}), None),
        (pod({"waiting": {"reason": "PodInitializing"}}), None),
    ],
)
def test_pod_says_what_is_in_its_way(found: Object, problem: Problem | None) -> None:
    assert kubernetes_ready.problem(found) == problem


def test_pod_that_fits_nowhere_says_so_and_a_ready_one_nothing() -> None:
    found = pod({"waiting": {"reason": "ContainerCreating"}})
    found["status"]["conditions"] = [condition("PodScheduled", "False", message="0/1 nodes")]
    assert kubernetes_ready.problem(found) == Problem("queue", "cannot be scheduled: 0/1 nodes", 60)
    found["status"]["conditions"] = [condition("Ready")]
    assert kubernetes_ready.problem(found) is None


def test_only_pods_of_the_newest_roll_out_count() -> None:
    def made(kind: str, name: str, owner: str, **more: Any) -> Object:
        metadata = {"name": name, "uid": name, "ownerReferences": [{"uid": owner}], **more}
        return {"kind": kind, "metadata": metadata}

    key = "deployment.kubernetes.io/revision"
    deployment = live("Deployment")
    deployment["metadata"]["annotations"] = {key: "2"}
    sets = [
        made("ReplicaSet", "old", "u", annotations={key: "1"}),
        made("ReplicaSet", "new", "u", annotations={key: "2"}),
        made("ReplicaSet", "other", "v", annotations={key: "2"}),
    ]
    pods = [made("Pod", f"{owner}-pod", owner) for owner in ("old", "new", "other")]
    found = kubernetes_ready.current_pods(deployment, pods, sets)
    assert [p["metadata"]["name"] for p in found] == ["new-pod"]


def test_warnings_are_told_newest_first_each_once() -> None:
    def event(text: str, when: str, kind: str = "Warning", uid: str = "u") -> Object:
        what = {"type": kind, "reason": "Bad", "message": text, "lastTimestamp": when}
        return {**what, "involvedObject": {"uid": uid}}

    events = [
        event("first", "2026-01-01T00:00:01Z"),
        event("last", "2026-01-01T00:00:03Z"),
        event("first", "2026-01-01T00:00:02Z"),
        event("fine", "2026-01-01T00:00:04Z", "Normal"),
        event("other", "2026-01-01T00:00:05Z", uid="v"),
    ]
    assert kubernetes_ready.warnings(events, ["u"]) == ["Bad: last", "Bad: first"]


# --- Differences ---------------------------------------------------------------------------------


def test_differences_name_the_field_and_keep_secrets() -> None:
    there = {"metadata": {"resourceVersion": "1"}, "spec": {"ports": [{"port": 80}], "a": 1}}
    wanted = {"metadata": {"resourceVersion": "2"}, "spec": {"ports": [{"port": 81}], "b": []}}
    assert kubernetes_ready.differences(there, wanted) == [
        "spec.a is 1, not None",
        "spec.b differs",
        "spec.ports[0].port is 80, not 81",
    ]
    secret = {"data": {"password": "canary"}}
    assert kubernetes_ready.differences(secret, {"data": {}}, secret=True) == [
        "data.password differs"
    ]


@pytest.mark.parametrize(
    ("kind", "path", "fixed"),
    [
        ("Deployment", "spec.selector.matchLabels.app", True),
        ("Deployment", "spec.selectors", False),
        ("Deployment", "spec.template.spec.containers[0].image", False),
        ("StatefulSet", "spec.volumeClaimTemplates[0].spec.storageClassName", True),
        ("StatefulSet", "spec.replicas", False),
        ("Job", "spec.template.spec.containers[0].image", True),
        ("PersistentVolumeClaim", "spec.resources.requests.storage", False),
        ("PersistentVolumeClaim", "spec.storageClassName", True),
        ("Service", "spec.clusterIP", True),
        ("Service", "spec.type", False),
        ("Secret", "type", True),
        ("ConfigMap", "metadata.name", True),
        ("ConfigMap", "data.text", False),
    ],
)
def test_fixed_fields_are_those_the_server_never_changes(kind: str, path: str, fixed: bool) -> None:
    assert kubernetes_ready.is_fixed({"kind": kind}, [path]) is fixed


def test_data_that_is_immutable_is_fixed() -> None:
    assert kubernetes_ready.is_fixed({"kind": "ConfigMap", "immutable": True}, ["data.text"])


@pytest.mark.parametrize(
    ("text", "number"),
    [("250m", 0.25), ("2", 2), ("3Gi", 3 * 2**30), ("5M", 5e6), ("1e3", 1000), ("8Ki", 8192)],
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: float) -> None:
    assert kubernetes_ready.quantity(text) == number


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(CrmError, match="'much' is no quantity; right would be 250m or 3Gi"):
        kubernetes_ready.quantity("much")


# --- Connecting ----------------------------------------------------------------------------------


def write_kubeconfig(path: Path, server: str) -> None:
    content = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("here", "there")
        ],
    }
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))


def test_kubeconfig_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(CrmError, match=r"no kubeconfig at .*none: set KUBECONFIG to the file"):
        kubernetes_host.connect()


def test_context_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
    with pytest.raises(CrmError, match=r"has no context 'away'; there is here, there: set"):
        kubernetes_host.connect("away")


def test_cluster_that_does_not_answer_is_told_by_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1")
    with pytest.raises(CrmError) as told:
        kubernetes_host.connect("there")
    text = "the cluster of context there does not answer at https://127.0.0.1:1 ("
    assert str(told.value).startswith(text)
    assert "\n" not in str(told.value)


def test_kubeconfig_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    (tmp_path / "config").write_text("{")
    with pytest.raises(CrmError, match=r"kubeconfig .*config cannot be used: "):
        kubernetes_host.connect()
