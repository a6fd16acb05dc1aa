"""Scaling, reloading, rolling out and failing replicas cost no request, behind both proxies.

What was already being carried out by a replica that is killed cannot be given to another one if it
may not be carried out twice. So while replicas are killed and stopped the load only reads.
"""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from tests.live.client import call
from tests.live.edge_stack import CHEAP, SLOW_SECONDS, Edge
from tests.live.traffic import Request, Seen, load, send
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

REQUESTS = 40_000
RELOADS = 20
READ_SECONDS = 3
WAITED_SECONDS = 0.8 * READ_SECONDS
"""Whose request takes as long waited for a replica that was silent."""
OUT_SECONDS = READ_SECONDS + 1
"""From when on nobody may be sent to one; when the last one was is said."""


def reads(number: int) -> Request:
    paths = (CHEAP, CHEAP, CHEAP, "/api/v1/customers?limit=3", CHEAP, CHEAP)
    return Request(paths[number % len(paths)])


class Mixed:
    """Reads, and every tenth request writes while ``writes`` is set."""

    def __init__(self) -> None:
        self.writes = True
        self.wrote = 0

    def __call__(self, number: int) -> Request:
        if not self.writes or number % 10:
            return reads(number)
        self.wrote += 1
        body = {"name": f"Customer {number}", "email": "c@example.org"}
        return Request("/api/v1/customers", "POST", body)


def all_answer(seen: Seen, replicas: int) -> bool:
    return {f"app-{number}" for number in range(1, replicas + 1)} <= set(seen.servers)


def test_nothing_is_lost_by_reloads_scaling_kills_and_stops(edge: Edge) -> None:
    # A replica that is silent is given up, and idempotent requests asked again, after this.
    edge.policy("algorithm: round_robin", "timeouts:", f"  read_seconds: {READ_SECONDS}")
    requests = Mixed()
    with load(edge.url, requests, clients=6) as seen:
        for _ in range(RELOADS):
            edge.reload()
            time.sleep(0.3)
        for number in (2, 6, 2, 3):
            edge.replicas(number)
            seen.servers.clear()
            wait_until(partial(all_answer, seen, number), f"{number} replicas answer")
        assert seen.failures == []
        assert requests.wrote > 100

        requests.writes = False
        time.sleep(1)
        began = edge.stack.container("app-2").attrs["State"]["StartedAt"]
        edge.kill("app-2")
        wait_until(
            lambda: edge.stack.container("app-2").attrs["State"]["StartedAt"] != began, "again"
        )
        seen.servers.clear()
        wait_until(lambda: "app-2" in seen.servers, "the killed replica is back")

        # Out within 2 s on a machine that has nothing else to do, or within the read time-out where
        # nothing but a request can tell: from then on nobody waits for it.
        with edge.stopped("app-3"):
            stopped = time.monotonic()
            time.sleep(OUT_SECONDS + 3)
            back = time.monotonic()
        time.sleep(READ_SECONDS)
        waited = [
            sent - stopped
            for sent, took in list(seen.times)
            if stopped <= sent <= back and took >= WAITED_SECONDS
        ]
        last = max(waited, default=0)
        print(f"{edge.proxy}: {len(waited)} waited for a stopped replica, sent {last:.1f} s after")
        assert last < OUT_SECONDS
        seen.servers.clear()
        wait_until(lambda: "app-3" in seen.servers, "the stopped replica is back")
        wait_until(lambda: seen.sent >= REQUESTS, f"{REQUESTS} requests", 600)
    assert seen.failures == []
    assert seen.statuses[200] + seen.statuses[201] == seen.sent >= REQUESTS


@pytest.mark.alone
def test_killed_replica_is_out_at_once(edge: Edge) -> None:
    """For as long as it is gone nobody waits for it: requests take no second more."""
    edge.policy("algorithm: round_robin", "timeouts:", f"  read_seconds: {READ_SECONDS}")
    edge.wait_for(3)
    container = edge.stack.container("app-2")
    with load(edge.url, reads, clients=4) as seen:
        time.sleep(1)
        container.kill("SIGKILL")  # By Docker: it stays away.
        time.sleep(2)
        seen.servers.clear()
        out = time.monotonic()
        time.sleep(4)
        servers, back = set(seen.servers), time.monotonic()
    container.start()
    assert servers == {"app-1", "app-3"}
    assert seen.slowest(out, back) < 1
    assert seen.failures == []
    edge.wait_for(3)


def test_new_version_rolls_out_and_slow_requests_finish(edge: Edge) -> None:
    edge.policy("algorithm: round_robin", "timeouts:", "  read_seconds: 30")
    edge.wait_for(3)
    before = {name: c.id for name, c in edge.stack.containers().items()}
    edge.change_app()
    slow = Seen()
    stop = threading.Event()

    def ask_slowly() -> None:
        while not stop.is_set():
            send(edge.url, lambda _: Request("/slow"), 1, clients=1, seen=slow)

    askers = [threading.Thread(target=ask_slowly) for _ in range(3)]
    with load(edge.url, Mixed(), clients=4) as seen:
        for asker in askers:
            asker.start()
        changes = edge.stack.up()
        time.sleep(1)
        stop.set()
        for asker in askers:
            asker.join()
    after = {name: c.id for name, c in edge.stack.containers().items()}
    assert changes["replace"] >= 3
    assert {name for name in after if after[name] == before[name]} == {
        *("cache-1", "database-1", "edge")
    }
    assert seen.failures == []
    assert slow.failures == []
    assert slow.sent >= 6
    assert slow.statuses == {200: slow.sent}
    assert min(took for _, took in slow.times) >= SLOW_SECONDS


def test_unhealthy_version_never_gets_a_request(edge: Edge) -> None:
    """It takes connections and would answer, but not its health checks: ``up`` says why it fails,
    and what was there goes on."""
    edge.policy("algorithm: round_robin", "timeouts:", "  read_seconds: 30")
    edge.wait_for(3)
    before = {name: c.id for name, c in edge.stack.containers().items()}
    health, web = "app/crm/health.py", "app/crm/web.py"
    checks = '@blueprint.get("/readyz")\ndef readyz() -> Response:\n'
    broken = f'{checks}    return answer({{"status": "out of order"}}, 503)\n'
    served = '"X-Served-By"] = crm.settings.instance'
    edge.stack.project.edit(health, checks, broken)
    edge.stack.project.edit(web, served, f'{served} + "-broken"')
    try:
        with load(edge.url, Mixed(), clients=4) as seen:
            done = edge.stack.crm("up", "--yes")
    finally:
        edge.stack.project.edit(health, broken, checks)
        edge.stack.project.edit(web, f'{served} + "-broken"', served)
    assert done.code == 1
    assert "app-1" in done.err
    assert "not healthy" in done.err
    assert "Traceback" not in done.err
    assert seen.failures == []
    assert set(seen.servers) == {"app-1", "app-2", "app-3"}
    edge.stack.up()
    assert {name: c.id for name, c in edge.stack.containers().items()} == before


def test_broken_configuration_is_refused_with_its_line_and_the_old_one_serves(edge: Edge) -> None:
    edge.policy("algorithm: round_robin")
    name = edge.configuration
    template = f"templates/{edge.proxy}/{name}.j2"
    # Nothing that a policy reads: what is judged here is the proxy's own word.
    right, wrong = {
        "nginx": ("keepalive_requests", "keepalive_requsts"),
        "haproxy": ("option redispatch", "option redispach"),
    }[edge.proxy]
    before = edge.stack.container("edge").id
    edge.stack.project.edit(template, right, wrong)
    try:
        with load(edge.url, Mixed(), clients=4) as seen:
            done = edge.stack.crm("up", "--yes")
    finally:
        edge.stack.project.edit(template, wrong, right)
    assert done.code == 1
    assert f"/etc/crm/{name}:" in done.err
    assert wrong.split()[-1] in done.err
    assert "Traceback" not in done.err
    assert seen.failures == []
    assert edge.stack.container("edge").id == before
    edge.stack.up()


def test_file_edited_by_hand_and_broken_does_not_stop_the_edge(edge: Edge) -> None:
    """Somebody edits what is deployed and reloads: the proxy itself refuses it and goes on."""
    edge.policy("algorithm: round_robin")
    name = edge.configuration
    edge.write_deployed(name, "nonsense here\n")
    with load(edge.url, Mixed(), clients=4) as seen:
        edge.reload()
        time.sleep(3)
        assert call(f"{edge.url}{CHEAP}").status == 200
    assert seen.failures == []
    # It is put right by what is written in the stack, once that is deployed again.
    edge.policy("algorithm: random")
    with load(edge.url, Mixed(), clients=4) as seen:
        edge.reload()
        time.sleep(2)
    assert seen.failures == []
    assert edge.stack.container("edge").attrs["RestartCount"] == 0
