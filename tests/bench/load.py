"""A client that asks for one thing many times, over a few connections that stay open.

Each connection has one request under way at any time. Nothing is asked twice: an answer that is
late, broken off, or not a 200 raises ``CannotRunError``.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.bench.measure import CannotRunError

SECONDS = 10.0
"""How long all connections together may be silent."""


def request(host: str, path: str) -> bytes:
    """A GET as an API's client sends it."""
    lines = (f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: bench", "Accept: */*", "", "")
    return "\r\n".join(lines).encode()


def length(received: bytes) -> int | None:
    """How long the answer is that ``received`` begins with, head and body, once that is known.

    Raises ``CannotRunError`` where it is not a 200 with a length of its own.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    status = head.partition(b"\r\n")[0].split(b" ")
    if len(status) < 2 or status[0] != b"http/1.1" or status[1] != b"200":
        raise CannotRunError(f"answered {b' '.join(status).decode(errors='replace')!r}, not 200")
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise CannotRunError("answered without a Content-Length")
    return end + 4 + int(rest.partition(b"\r\n")[0])


def answer(connection: socket.socket, asked: bytes) -> bytes:
    """The whole answer to one request."""
    connection.sendall(asked)
    received, whole = b"", None
    while whole is None or len(received) < whole:
        some = connection.recv(65536)
        if not some:
            raise CannotRunError("the connection was closed before the answer was whole")
        received += some
        whole = length(received)
    return received


@contextmanager
def connections(address: str, port: int, count: int) -> Iterator[list[socket.socket]]:
    """``count`` open connections, closed afterwards."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection((address, port), SECONDS))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.append(one)
        yield made


def run(address: str, port: int, asked: bytes, requests: int, count: int) -> float:
    """Send ``asked`` ``requests`` times over ``count`` connections; seconds of the clock.

    Raises ``CannotRunError``.
    """
    try:
        with connections(address, port, count) as opened, selectors.DefaultSelector() as selector:
            start = time.perf_counter()
            _drive(selector, opened, asked, requests)
            return time.perf_counter() - start
    except OSError as error:
        raise CannotRunError(f"{address}:{port}: {error}") from None


def _drive(
    selector: selectors.BaseSelector, opened: list[socket.socket], asked: bytes, requests: int
) -> None:
    received = dict.fromkeys(opened, b"")
    sent = answered = 0
    by_number = {one.fileno(): one for one in opened}
    for one in opened[:requests]:
        selector.register(one, selectors.EVENT_READ)
        one.sendall(asked)
        sent += 1
    while answered < requests:
        ready = selector.select(SECONDS)
        if not ready:
            raise CannotRunError(f"{sent - answered} requests got no answer in {SECONDS:g} s")
        for key, _ in ready:
            one = by_number[key.fd]
            some = one.recv(65536)
            if not some:
                raise CannotRunError("a connection was closed before its answer was whole")
            received[one] += some
            whole = length(received[one])
            if whole is None or len(received[one]) < whole:
                continue
            if len(received[one]) > whole:
                raise CannotRunError("more was answered than asked")
            received[one] = b""
            answered += 1
            if sent < requests:
                one.sendall(asked)
                sent += 1
