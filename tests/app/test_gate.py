"""A gate shuts once, probes by itself, and opens again."""

import threading

import pytest

from crm.errors import DependencyError
from crm.gate import Gate


def test_gate_opens_when_the_probe_passes() -> None:
    opened = threading.Event()
    failures = [DependencyError("shard", "still starting"), IndexError("a driver's own bug")]

    def probe() -> None:
        if failures:
            raise failures.pop()

    gate = Gate("shard", probe, opened=opened.set, pause_seconds=0.01)
    gate.check()
    gate.shut("refused")
    with pytest.raises(DependencyError, match="shard: "):
        gate.check()
    assert opened.wait(5)
    gate.check()
    assert failures == []


def test_gate_probes_with_one_thread_only() -> None:
    running = threading.Semaphore(1)
    opened = threading.Event()
    alone = []

    def probe() -> None:
        alone.append(running.acquire(blocking=False))

    gate = Gate("shard", probe, opened=opened.set, pause_seconds=0.05)
    for _ in range(10):
        gate.shut("refused")
    assert opened.wait(5)
    assert alone == [True]
