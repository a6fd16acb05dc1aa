"""A database server that is killed while it writes loses nothing that it acknowledged."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.live.client import call
from tests.live.stack import Stack
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

SHARD, OTHER = "database-1", "database-2"
KILLS, WRITERS = 5, 4
READY_SECONDS = 20
"""At most; 10 on a machine that has nothing else to do."""


@contextmanager
def writers(url: str) -> Iterator[set[str]]:
    """Customers that are written all the while; yields the e-mails of those acknowledged."""
    stop, numbers, acknowledged = threading.Event(), itertools.count(), set[str]()

    def write() -> None:
        while not stop.is_set():
            email = f"k{next(numbers)}@killed.example.org"
            try:
                answer = call(f"{url}/api/v1/customers", "POST", {"name": "K", "email": email})
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 201:
                acknowledged.add(email)
            else:
                time.sleep(0.05)

    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def written(stack: Stack, shard: str) -> set[str]:
    found = stack.sql(shard, "SELECT email FROM customers WHERE email LIKE '%@killed.example.org'")
    return {email for (email,) in found}


@pytest.mark.alone
def test_server_killed_five_times_under_load_loses_nothing_acknowledged(horizontal: Stack) -> None:
    url, times = horizontal.url, []

    def has_grown(acknowledged: set[str], least: int) -> bool:
        return len(acknowledged) >= least

    def answers(path: str, status: int) -> bool:
        return call(url + path).status == status

    with writers(url) as acknowledged:
        for _ in range(KILLS):
            more = partial(has_grown, acknowledged, len(acknowledged) + 40)
            wait_until(more, "customers are written", 30)
            one = (
                f"/api/v1/customers/{horizontal.sql(SHARD, 'SELECT MAX(id) FROM customers')[0][0]}"
            )
            server = int(horizontal.container(SHARD).attrs["State"]["Pid"])
            os.kill(server, signal.SIGKILL)
            began = time.monotonic()
            wait_until(partial(answers, one, 503), "its customers are told so", 5)
            wait_until(partial(answers, one, 200), "its customers are served again")
            times.append(time.monotonic() - began)

    def serves() -> bool:
        return all(call(url + one).status == 200 for _ in range(12))

    # Each replica finds out for itself, and the tests after this one may ask any.
    wait_until(serves, "every replica serves them again")
    mine = written(horizontal, SHARD)
    print(f"{len(acknowledged)} acknowledged, ready after {[f'{t:.1f}' for t in times]} s")
    assert acknowledged <= mine | written(horizontal, OTHER)
    assert len(mine) > KILLS * 10
    assert max(times) <= READY_SECONDS
