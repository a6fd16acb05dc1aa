"""HTTP clients for tests: they never retry, and a time-out is a failure."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SECONDS = 15


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: tuple[tuple[str, str], ...] = ()
    """Every header as it came, one that came twice as well."""

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


def call(
    url: str,
    method: str = "GET",
    body: Any = None,
    headers: dict[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """One request on a connection of its own; ``body`` is sent as JSON. An ``https`` one trusts
    whom ``trust`` does."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.netloc, timeout=SECONDS, context=trust
        )
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        path = parts.path or "/"
        sent = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(
            method,
            f"{path}?{parts.query}" if parts.query else path,
            json.dumps(body) if body is not None else None,
            {**sent, **(headers or {})},
        )
        response = connection.getresponse()
        sent_back = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, dict(sent_back), response.read(), sent_back)
    finally:
        connection.close()


@dataclass
class Load:
    """What a load came to."""

    sent: int = 0
    failures: list[str] = field(default_factory=list)
    servers: set[str] = field(default_factory=set)


@contextmanager
def load(
    url: str,
    paths: list[str],
    threads: int = 4,
    seconds: float = 120,
    trust: ssl.SSLContext | None = None,
) -> Iterator[Load]:
    """Request ``paths`` in turn from ``threads`` clients until the block ends, or ``seconds``.

    Anything but a 2xx in time is a failure.
    """
    seen, stop, lock = Load(), threading.Event(), threading.Lock()
    until = time.monotonic() + seconds

    def work() -> None:
        turn = 0
        while not stop.is_set() and time.monotonic() < until:
            path = paths[turn % len(paths)]
            turn += 1
            try:
                answer = call(url + path, trust=trust)
                problem = "" if 200 <= answer.status < 300 else f"{path}: {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                answer, problem = None, f"{path}: {error!r}"
            with lock:
                seen.sent += 1
                if problem:
                    seen.failures.append(problem)
                if answer is not None and "x-served-by" in answer.headers:
                    seen.servers.add(answer.headers["x-served-by"])

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield seen
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert seen.sent > 50, "the load did not come about"
