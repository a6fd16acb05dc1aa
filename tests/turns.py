"""How tests are shared out among the workers of one run, and which of them have the machine alone.

``make test`` runs two workers (pytest-xdist), for much of a live test is waiting. What shares a
stack, or a file, stays with one worker and in its order.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.shared import ORDER, needed_by


def group(item: pytest.Item) -> str:
    """What a test shares with those that must run in the same worker."""
    shared = needed_by(item)
    if shared in ("cluster", "kubernetes"):
        return "cluster"
    return shared or item.nodeid.partition("::")[0]


def in_order(items: list[pytest.Item], *, workers: bool) -> list[pytest.Item]:
    """Tests by what they share, and in their order otherwise: where there are several workers,
    the longest first, so that they end together."""
    return sorted(items, key=lambda item: ORDER.index(needed_by(item)) * (-1 if workers else 1))


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait until a test may run, ``alone`` or beside others that are not; ``folder`` is shared by
    the workers."""
    with (folder / "next").open("w") as gate, (folder / "running").open("w") as running:
        # Who waits for its turn keeps the gate, so that others do not go past it for ever.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
