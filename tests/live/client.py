"""HTTP clients for tests: they never retry, and a time-out is a failure."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
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


def connection_to(
    url: str, seconds: float, trust: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """A connection, not open yet, to the server of ``url``; an ``https`` one trusts whom ``trust``
    does."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.netloc, timeout=seconds, context=trust)
    return http.client.HTTPConnection(parts.netloc, timeout=seconds)


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
    connection = connection_to(url, SECONDS, trust)
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
