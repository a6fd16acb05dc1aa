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
