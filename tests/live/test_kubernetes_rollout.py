"""Roll-outs under load: the edge's files, the autoscaler's replicas, the application's image."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.live.client import call
from tests.live.kubernetes_stack import KubernetesStack, others
from tests.live.traffic import load
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

PATHS = ["/api/v1/customers?limit=5", "/static/crm.css", "/"]
TEMPLATE = "templates/nginx/nginx.conf.j2"
SERVER = "server_name _;"
SCALE = "replicas:\n      min: 1\n      max: 3\n      cpu_percent: 50\n"
STILL = {"create": 0, "update": 0, "replace": 0, "delete": 0}


# --- The application's image ---------------------------------------------------------------------


def test_new_image_rolls_out_without_a_failed_request(kubernetes: KubernetesStack) -> None:
    before = kubernetes.started()
    images = {pod["spec"]["containers"][0]["image"] for pod in kubernetes.pods("app")}
    kubernetes.project.edit("app/crm/__init__.py", "The CRM:", "The CRM, another version:")
    kubernetes.bring_images()
    with load(kubernetes.url, PATHS, clients=2, keeps=False) as seen:
        changes = kubernetes.up()
    assert seen.failures == []
    # The replicas are changed, one after the other; the schema job is another one.
    assert changes.pop("same") > 50
    assert changes == {"create": 1, "update": 2, "replace": 0, "delete": 1}
    assert images.isdisjoint(p["spec"]["containers"][0]["image"] for p in kubernetes.pods("app"))
    after = kubernetes.started()
    assert others(after, "app-") == others(before, "app-")
    assert others(after, "database-", "cache-", "edge-").keys().isdisjoint(before)


def test_broken_image_stops_and_the_old_one_serves(kubernetes: KubernetesStack) -> None:
    """One that ends as it starts: the error says so, with its own last words."""
    before = kubernetes.started()
    source = "app/crm/serve.py"
    good = (kubernetes.project.root / source).read_text(encoding="utf-8")
    broken = good.replace("def main(", 'raise SystemExit("out of order")\n\n\ndef main(', 1)
    assert broken != good
    (kubernetes.project.root / source).write_text(broken, encoding="utf-8")
    try:
        kubernetes.bring_images()
        with load(kubernetes.url, PATHS, clients=2, keeps=False) as seen:
            done = kubernetes.crm("up", "--yes")
        assert done.code == 1
        assert "out of order" in done.err
        assert "app-1" in done.err
        assert "Traceback" not in done.err
        assert seen.failures == []
        assert before.items() <= kubernetes.started().items()
    finally:
        (kubernetes.project.root / source).write_text(good, encoding="utf-8")
        kubernetes.up()
    assert others(kubernetes.started(), "app-1-") == others(before, "app-1-")


# --- The autoscaler, and nginx -------------------------------------------------------------------


@pytest.fixture(scope="module")
def scaled(kubernetes: KubernetesStack) -> Iterator[KubernetesStack]:
    """The stack behind nginx, with as many replicas as an autoscaler wants."""
    kubernetes.edit("proxy: haproxy", "proxy: nginx")
    kubernetes.edit("replicas: 2\n", SCALE)
    kubernetes.bring_images()
    try:
        kubernetes.up()
        yield kubernetes
    finally:
        kubernetes.edit(SCALE, "replicas: 2\n")
        kubernetes.edit("proxy: nginx", "proxy: haproxy")
        kubernetes.up()


def test_changed_template_rolls_the_edge_alone(scaled: KubernetesStack) -> None:
    line = "add_header X-Edge two always;"
    before = scaled.started()
    scaled.project.edit(TEMPLATE, SERVER, f"{SERVER}\n        {line}")
    with load(scaled.url, PATHS, clients=2, keeps=False) as seen:
        changes = scaled.up()
    # The files are another ConfigMap; the Deployment mounts it, and the old one goes.
    assert changes.pop("same") > 50
    assert changes == {"create": 1, "update": 1, "replace": 0, "delete": 1}
    assert seen.failures == []
    after = scaled.started()
    assert others(after, "edge-", "app-") == others(before, "edge-", "app-")
    # The autoscaler may have added replicas under the load, but none was replaced.
    assert others(before, "edge-").items() <= after.items()
    assert after.keys().isdisjoint(before.keys() - others(before, "edge-").keys())
    assert call(f"{scaled.url}/healthz").headers["x-edge"] == "two"

    # What nginx refuses does not get past the new pod, and the old one goes on.
    edge = scaled.pod("edge")["metadata"]["uid"]
    scaled.project.edit(TEMPLATE, line, "add_heder X-Edge three always;")
    try:
        with load(scaled.url, PATHS, clients=2, keeps=False) as seen:
            done = scaled.crm("up", "--yes")
        assert done.code == 1
        assert 'unknown directive "add_heder"' in done.err
        assert "nginx.conf:" in done.err
        assert "Traceback" not in done.err
        assert seen.failures == []
        assert edge in {pod["metadata"]["uid"] for pod in scaled.pods("edge")}
        assert call(f"{scaled.url}/healthz").headers["x-edge"] == "two"
    finally:
        scaled.project.edit(TEMPLATE, "add_heder X-Edge three always;", line)
        scaled.up()
    assert scaled.pod("edge")["metadata"]["uid"] == edge
    # Its files were never taken from under it.
    files = scaled.pod("edge")["spec"]["volumes"][0]["projected"]["sources"][0]["configMap"]["name"]
    assert files in scaled.objects()["ConfigMap"]


def test_autoscaler_adds_replicas_and_up_does_not_fight_it(scaled: KubernetesStack) -> None:
    def replicas() -> int:
        return len([pod for pod in scaled.pods("app") if is_ready(pod)])

    stop = threading.Event()
    failures: list[str] = []
    servers: set[str] = set()

    def work() -> None:
        while not stop.is_set():
            answer = call(f"{scaled.url}/api/v1/customers?limit=50")
            servers.add(answer.headers["x-served-by"])
            if answer.status != 200:
                failures.append(f"{answer.status}")

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        wait_until(lambda: replicas() > 1, "a second replica", 300)
        # While it is at work: neither a change to make, nor one made.
        before = scaled.started()
        changes = scaled.up()
        assert changes.pop("same") > 50
        assert changes == STILL
        assert before.items() <= scaled.started().items()
        wait_until(lambda: replicas() > 1, "the second replica stays")
        # Those that were added get their part of it.
        servers.clear()
        wait_until(lambda: len(servers) > 1, "another replica answers", 30)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []
    # It was the CPU, which the load of the tests before may have driven up already.
    said = scaled.cluster.kubectl("describe", "hpa", "app", f"--namespace={scaled.namespace}")
    assert "SuccessfulRescale" in said
    assert "cpu resource utilization (percentage of request) above target" in said
    assert len(servers) > 1
    assert servers <= {pod["metadata"]["name"] for pod in scaled.pods("app")}


def is_ready(pod: dict[str, object]) -> bool:
    status = pod["status"]
    assert isinstance(status, dict)
    return any(
        told["type"] == "Ready" and told["status"] == "True" for told in status["conditions"]
    )
