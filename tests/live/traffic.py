"""Load on a running edge: clients that keep their connections, never retry, and count everything.

A time-out, a broken connection and any status that was not asked for are failures.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SECONDS = 20


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


class Client:
    """One connection, opened again where the server said that it closes it."""

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=seconds)

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
        return response.status, response.headers.get("X-Served-By", "")

    def close(self) -> None:
        self._connection.close()


def send(
    url: str,
    requests: Callable[[int], Request],
    count: int,
    *,
    clients: int = 4,
    stop: threading.Event | None = None,
    seen: Seen | None = None,
) -> Seen:
    """Send ``requests(0)`` to ``requests(count - 1)``, or until ``stop``; what came of it."""
    seen = Seen() if seen is None else seen
    numbers, lock = iter(range(count)), threading.Lock()

    def work() -> None:
        client = Client(url)
        while stop is None or not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            request, began = requests(number), time.monotonic()
            try:
                answer: tuple[int, str] | str = client.send(request)
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            seen.add(request, began, answer)
        client.close()

    workers = [threading.Thread(target=work) for _ in range(clients)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return seen


@contextmanager
def load(
    url: str, requests: Callable[[int], Request], *, clients: int = 4, most: int = 200_000
) -> Iterator[Seen]:
    """Send ``requests`` again and again until the block ends."""
    stop, seen = threading.Event(), Seen()
    sender = threading.Thread(
        target=send,
        args=(url, requests, most),
        kwargs={"clients": clients, "stop": stop, "seen": seen},
    )
    sender.start()
    try:
        yield seen
    finally:
        stop.set()
        sender.join()
    assert seen.sent > 100, "the load did not come about"
