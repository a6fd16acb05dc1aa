"""Changing a running stack changes what was asked for, and nothing else; no request is lost."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise

import pytest
from docker.models.containers import Container

from tests.live import reloads
from tests.live.client import call
from tests.live.stack import Stack
from tests.live.traffic import Request, load
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

# The app asks a server that was gone once a second whether it is back.
ASKED_AGAIN = "the app knows that its database is back"

PATHS = ["/api/v1/customers?limit=5", "/static/crm.css", "/"]


def now_and_then(number: int) -> Request:
    """Every other one writes."""
    if number % 2:
        return Request(PATHS[1])
    body = {"name": "Ada", "email": "ada@example.org", "role": "sales"}
    return Request("/api/v1/users", "POST", body)


def reaches_all(stack: Stack) -> bool:
    return call(f"{stack.url}/readyz").status == 200


def started(containers: dict[str, Container]) -> dict[str, tuple[str, str]]:
    """Identity and start of each container: both stay unless it is replaced or restarted."""
    return {
        name: (str(container.id), str(container.attrs["State"]["StartedAt"]))
        for name, container in containers.items()
    }


def without_app(containers: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {name: value for name, value in containers.items() if not name.startswith("app-")}


@pytest.mark.parametrize(("shipped", "steps"), [("dev", (1, 3, 1)), ("horizontal", (3, 6, 2, 3))])
def test_scaling_touches_only_app_and_the_proxys_view_of_it(
    request: pytest.FixtureRequest, shipped: str, steps: tuple[int, ...]
) -> None:
    stack: Stack = request.getfixturevalue(shipped)
    before = started(stack.containers())
    with load(stack.url, PATHS, clients=3) as seen:
        for old, new in pairwise(steps):
            stack.edit(f"replicas: {old}", f"replicas: {new}")
            preview = stack.run("preview")["changes"]
            changes = stack.up()
            assert preview == changes
            # A container and its place in the network.
            assert changes["create"] == 2 * max(0, new - old)
            assert changes["delete"] == 2 * max(0, old - new)
            assert (changes["update"], changes["replace"]) == (1, 0)  # the proxy's files
            after = started(stack.containers())
            assert without_app(after) == without_app(before)
            kept = {f"app-{i}" for i in range(1, min(old, new) + 1)}
            assert all(after[name] == before[name] for name in kept if name in before)
            before = after
            wanted = {f"app-{i}" for i in range(1, new + 1)}
            wait_until(partial(stack.meets, wanted), "every replica answers")
    assert seen.failures == []


def test_vertical_change_replaces_that_tier_alone_and_loses_nothing(dev: Stack) -> None:
    """A quiet stack of one replica: nothing tells its proxy beforehand that the old one is gone."""
    before = started(dev.containers())
    dev.edit("memory_mib: 256", "memory_mib: 320")
    try:
        with load(dev.url, now_and_then, clients=2, keeps=False, pause_seconds=0.25) as seen:
            changes = dev.up()
            time.sleep(3)
        assert changes["replace"] == 1
        assert seen.failures == []
        after = started(dev.containers())
        assert {name for name in after if after[name] != before[name]} == {"app-1"}
        assert dev.container("app-1").attrs["HostConfig"]["Memory"] == 320 * 2**20
    finally:
        dev.edit("memory_mib: 320", "memory_mib: 256")
        dev.up()


def test_larger_database_keeps_its_rows_and_gets_a_larger_pool(dev: Stack) -> None:
    body = {"name": "Stays", "email": "stays@example.org"}
    customer = call(f"{dev.url}/api/v1/customers", "POST", body).json["id"]
    pool = int(dev.sql("database-1", "SELECT @@innodb_buffer_pool_size")[0][0])
    dev.edit("memory_mib: 640", "memory_mib: 1024")
    try:
        dev.up()
        assert int(dev.sql("database-1", "SELECT @@innodb_buffer_pool_size")[0][0]) > pool
        wait_until(lambda: reaches_all(dev), ASKED_AGAIN, 15)
        assert call(f"{dev.url}/api/v1/customers/{customer}").json["name"] == "Stays"
    finally:
        dev.edit("memory_mib: 1024", "memory_mib: 640")
        dev.up()
        wait_until(lambda: reaches_all(dev), ASKED_AGAIN, 15)


def test_changed_template_reloads_the_edge_and_loses_nothing(dev: Stack) -> None:
    template = "templates/nginx/nginx.conf.j2"
    before = started(dev.containers())
    line = "add_header X-Edge two always;"
    dev.project.edit(template, "server_name _;", f"server_name _;\n        {line}")
    try:
        with load(dev.url, PATHS) as seen:
            changes = reloads.up(dev)
        assert changes["update"] == 1
        assert changes["replace"] == changes["create"] == changes["delete"] == 0
        assert seen.failures == []
        assert started(dev.containers()) == before
        assert call(f"{dev.url}/healthz").headers["x-edge"] == "two"
    finally:
        dev.project.edit(template, f"\n        {line}", "")
        dev.up()


def test_broken_configuration_is_refused_and_the_old_one_serves(dev: Stack) -> None:
    template = "templates/nginx/nginx.conf.j2"
    before = started(dev.containers())
    dev.project.edit(template, "server_name _;", "server_nam _;")
    try:
        with load(dev.url, PATHS) as seen:
            done = dev.crm("up", "--yes")
        assert done.code == 1
        assert 'unknown directive "server_nam"' in done.err
        assert "nginx.conf:" in done.err
        assert "Traceback" not in done.err
        assert seen.failures == []
        assert started(dev.containers()) == before
    finally:
        dev.project.edit(template, "server_nam _;", "server_name _;")
    # What an update may have left half done is put in place anew, once; nothing is restarted.
    changes = dev.up()
    assert changes["create"] == changes["update"] == changes["delete"] == 0
    assert started(dev.containers()) == before
    changes = dev.up()
    assert sum(changes.values()) == changes["same"]


def test_removed_container_is_shown_as_drift_and_comes_back(dev: Stack) -> None:
    before = started(dev.containers())
    dev.container("app-1").remove(force=True)
    shown = dev.run("refresh", "--yes")
    assert any("app-1" in line and "gone" in line for line in shown["drift"]), shown
    dev.up()
    after = started(dev.containers())
    assert {name for name in after if after[name] != before.get(name)} == {"app-1"}
    assert call(f"{dev.url}/readyz").status == 200


def test_container_stopped_or_resized_by_hand_is_shown_as_drift_and_put_right(dev: Stack) -> None:
    before = started(dev.containers())
    dev.container("cache-1").stop()
    dev.container("app-1").update(mem_limit="300m", memswap_limit="300m")
    shown = dev.run("refresh", "--yes")["drift"]
    assert any("cache-1" in line and "not running" in line for line in shown), shown
    assert any("app-1" in line and f"Memory is {300 * 2**20}" in line for line in shown), shown
    assert len(shown) == 2
    changes = dev.up()
    assert changes["create"] == changes["delete"] == 0
    after = started(dev.containers())
    assert {name for name in after if after[name] != before[name]} >= {"app-1", "cache-1"}
    assert after["database-1"] == before["database-1"]
    assert dev.container("app-1").attrs["HostConfig"]["Memory"] == 256 * 2**20
    wait_until(dev.has_cache, "the app knows that its cache is back", 15)
    changes = dev.up()
    assert sum(changes.values()) == changes["same"]
