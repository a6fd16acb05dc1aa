"""Load on a running stack: clients that never retry, and count everything.

A time-out, a broken connection and any status that was not asked for are failures.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.live.client import connection_to

SECONDS = 20
MOST = 500_000


@dataclass(frozen=True)
class Request:
    """One request to send; ``body`` is sent as JSON."""

    path: str
    method: str = "GET"
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """What a load came to. ``times`` says of each request when it was sent and how many seconds it
    took."""

    sent: int = 0
    failures: list[str] = field(default_factory=list)
    servers: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    times: list[tuple[float, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Request, sent: float, answer: tuple[int, str] | str) -> None:
        took = time.monotonic() - sent
        with self._lock:
            self.sent += 1
            self.times.append((sent, took))
            if isinstance(answer, str):
                self.failures.append(f"{request.method} {request.path}: {answer}")
                return
            status, server = answer
            self.statuses[status] += 1
            if 200 <= status < 300:
                self.servers[server] += 1
            else:
                self.failures.append(f"{request.method} {request.path}: {status} of {server}")

    def slowest(self, begin: float, end: float) -> float:
        """The longest that a request took which was sent between these moments."""
        return max(took for sent, took in list(self.times) if begin <= sent <= end)

    def shares(self) -> dict[str, float]:
        """Of each server, in percent of what was answered."""
        total = sum(self.servers.values())
        return {name: 100 * count / total for name, count in sorted(self.servers.items())}


Requests = Sequence[str] | Callable[[int], Request]
"""Paths to read in turn, or what says which request is the next one."""


def next_of(requests: Requests, number: int) -> Request:
    if callable(requests):
        return requests(number)
    return Request(requests[number % len(requests)])


class Client:
    """One connection, opened again where the server said that it closes it, or for every request
    unless it ``keeps`` it. An ``https`` one trusts whom ``trust`` does."""

    def __init__(self, url: str, *, keeps: bool, trust: ssl.SSLContext | None) -> None:
        self._keeps = keeps
        self._connection = connection_to(url, SECONDS, trust)

    def send(self, request: Request) -> tuple[int, str]:
        """The status and who served. Raises ``OSError`` or ``HTTPException``."""
        body = None if request.body is None else json.dumps(request.body)
        headers = {**({"Content-Type": "application/json"} if body else {}), **request.headers}
        try:
            self._connection.request(request.method, request.path, body, headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if not self._keeps:
            self._connection.close()
        return response.status, response.headers.get("X-Served-By", "")

    def close(self) -> None:
        self._connection.close()


def send(
    url: str,
    requests: Requests,
    count: int,
    *,
    clients: int = 4,
    keeps: bool = True,
    trust: ssl.SSLContext | None = None,
    pause_seconds: float = 0,
    stop: threading.Event | None = None,
    seen: Seen | None = None,
) -> Seen:
    """Send the first ``count`` of ``requests``, or until ``stop``; what came of it. A client waits
    ``pause_seconds`` between two."""
    seen = Seen() if seen is None else seen
    numbers, lock = iter(range(count)), threading.Lock()

    def work() -> None:
        client = Client(url, keeps=keeps, trust=trust)
        while stop is None or not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            request, began = next_of(requests, number), time.monotonic()
            try:
                answer: tuple[int, str] | str = client.send(request)
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            seen.add(request, began, answer)
            time.sleep(pause_seconds)
        client.close()

    workers = [threading.Thread(target=work) for _ in range(clients)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return seen


@contextmanager
def load(
    url: str,
    requests: Requests,
    *,
    clients: int = 4,
    keeps: bool = True,
    trust: ssl.SSLContext | None = None,
    pause_seconds: float = 0,
) -> Iterator[Seen]:
    """Send ``requests``, so many that they do not end before the block does."""
    stop, seen = threading.Event(), Seen()
    sender = threading.Thread(
        target=send,
        args=(url, requests, MOST),
        kwargs={
            **{"clients": clients, "keeps": keeps, "trust": trust},
            **{"pause_seconds": pause_seconds, "stop": stop, "seen": seen},
        },
    )
    sender.start()
    try:
        yield seen
    finally:
        stop.set()
        sender.join()
    assert seen.sent > 50, "the load did not come about"
