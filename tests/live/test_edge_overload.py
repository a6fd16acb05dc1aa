"""Ten times what the app can answer: the edge answers the rest at once, and nothing breaks down."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.live.client import call
from tests.live.edge_stack import Edge
from tests.live.traffic import Request, send
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

PATH = "/api/v1/customers?limit=50"
SECONDS = 60
TIMES = 10


@dataclass
class Offered:
    """What came of requests that were sent when their time had come, whatever became of others.

    ``taken`` and ``refused`` are the seconds each took, by when it was sent.
    """

    taken: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Connections:
    """Connections to one address, used again and again."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._request = f"GET {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self) -> tuple[int, dict[str, str]]:
        """One request; the status and the headers."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
            await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection", "").lower() == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(first.split()[1]), headers

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def offer(url: str, rate: float, seconds: float) -> Offered:
    """Send ``rate`` requests a second, evenly, for ``seconds``, without waiting for answers."""
    offered, connections, running = Offered(), Connections(url), set()
    begun = time.monotonic()

    async def one() -> None:
        sent = time.monotonic()
        try:
            async with asyncio.timeout(15):
                status, headers = await connections.ask()
        except (OSError, TimeoutError, EOFError) as error:
            offered.failures.append(repr(error))
            return
        took = time.monotonic() - sent
        offered.statuses[status] += 1
        if status == 200:
            offered.taken.append((sent - begun, took))
        elif status in (429, 503) and "retry-after" in headers:
            offered.refused.append((sent - begun, took))
        else:
            offered.failures.append(f"{status}: {headers}")

    for number in range(int(rate * seconds)):
        wait = begun + number / rate - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one())
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    connections.close()
    return offered


def memory_mib(edge: Edge) -> float:
    """What the edge uses, its files' cache apart."""
    told: Any = edge.stack.container("edge").stats(stream=False)
    stats = told["memory_stats"]
    cache = stats["stats"].get("total_inactive_file", stats["stats"].get("inactive_file", 0))
    return float(stats["usage"] - cache) / 2**20


@pytest.mark.alone
def test_overload_is_refused_quickly_and_passes(edge: Edge) -> None:
    edge.policy("algorithm: round_robin")
    for number in range(50):
        body = {"name": f"Customer {number}", "email": "c@example.org"}
        assert call(f"{edge.url}/api/v1/customers", "POST", body).status == 201
    # The app is what has too little, not what sends the requests.
    edge.stack.edit("cpus: 0.5\n    memory_mib: 256", "cpus: 0.3\n    memory_mib: 256")
    try:
        edge.replicas(1)
        edge.wait_for(1)
        began = time.monotonic()
        alone = send(edge.url, lambda _: Request(PATH), 1_000, clients=8)
        peak = alone.sent / (time.monotonic() - began)
        assert alone.failures == []

        offered = asyncio.run(offer(edge.url, TIMES * peak, SECONDS))
        ended = time.monotonic()

        def answers() -> bool:
            began = time.monotonic()
            return call(edge.url + PATH).status == 200 and time.monotonic() - began < 1

        with ThreadPoolExecutor() as pool:
            used = pool.submit(memory_mib, edge)  # At once, but nobody waits for it.
            wait_until(lambda: all(answers() for _ in range(5)), "recovery", 30)
            recovery = time.monotonic() - ended
        assert used.result() < 64
        assert edge.stack.container("edge").attrs["RestartCount"] == 0
        assert edge.stack.container("app-1").attrs["RestartCount"] == 0
    finally:
        edge.stack.edit("cpus: 0.3\n    memory_mib: 256", "cpus: 0.5\n    memory_mib: 256")
        edge.replicas(3)
    goodput = len(offered.taken) / SECONDS
    refusals = sorted(took for _, took in offered.refused)
    said = (
        f"peak {peak:.0f}/s, goodput {goodput:.0f}/s, {offered.statuses}, "
        f"refused in {refusals[len(refusals) // 2] * 1000:.0f} ms, "
        f"99 % in {refusals[len(refusals) * 99 // 100] * 1000:.0f} ms, "
        f"recovered in {recovery:.1f} s"
    )
    print(said)
    assert offered.failures == [], said
    assert goodput >= 0.8 * peak, said
    assert refusals[len(refusals) * 99 // 100] < 3, said
    assert recovery < 5, said
