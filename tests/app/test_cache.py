"""Cache-aside: read through, change behind, and the races and outages in between."""

import threading
import time
from collections.abc import Callable

import pytest

from crm.cache import LEASE, Cache
from crm.figures import Figures
from crm.settings import CacheSettings, NodeSettings


class Memory:
    """What Redis does for the commands the cache uses, with a switch that breaks it."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.broken = False
        self.calls = 0

    def _reach(self) -> None:
        self.calls += 1
        if self.broken:
            raise ConnectionError("refused")

    def ping(self) -> bool:
        self._reach()
        return True

    def set(
        self, key: str, value: bytes, *, ex: int, nx: bool = False, get: bool = False
    ) -> bytes | bool | None:
        self._reach()
        before = self.values.get(key)
        if before is None or not nx:
            self.values[key] = value
        return before if get else True

    def eval(self, _: str, __: int, key: str, lease: bytes, value: bytes, ___: int) -> None:
        self._reach()
        if self.values.get(key) == lease:
            self.values[key] = value

    def delete(self, key: str) -> int:
        self._reach()
        return int(self.values.pop(key, None) is not None)

    def close(self) -> None:
        pass


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def cache(memory: Memory, figures: Figures) -> Cache:
    settings = CacheSettings(mode="single", nodes=(NodeSettings("cache", 6379),), ttl_seconds=60)
    return Cache(settings, lambda: memory, figures)


def loader(*values: bytes | None) -> Callable[[], bytes | None]:
    return iter(values).__next__


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_fetch_loads_once_then_hits(cache: Cache, figures: Figures) -> None:
    load = loader(b"ada")
    assert [cache.fetch("user", load) for _ in range(3)] == [b"ada"] * 3
    found = figures.report("app-1").cache
    assert (found.hits, found.queries) == (2, 3)


def test_fetch_keeps_no_absence(cache: Cache) -> None:
    load = loader(None, b"ada")
    assert cache.fetch("user", load) is None
    assert cache.fetch("user", load) == b"ada"


def test_changing_forgets_the_old_value(cache: Cache, memory: Memory) -> None:
    cache.fetch("user", loader(b"old"))
    with cache.changing("user"):
        assert memory.values["user"].startswith(LEASE)
    assert cache.fetch("user", loader(b"new")) == b"new"


def test_changing_forgets_also_when_the_change_fails(cache: Cache, memory: Memory) -> None:
    cache.fetch("user", loader(b"old"))
    with pytest.raises(RuntimeError), cache.changing("user"):
        raise RuntimeError
    assert memory.values == {}


def test_slow_reader_cannot_bring_the_old_value_back(cache: Cache) -> None:
    def load_while_it_changes() -> bytes:
        with cache.changing("user"):
            pass
        return b"old"

    assert cache.fetch("user", load_while_it_changes) == b"old"
    assert cache.fetch("user", loader(b"new")) == b"new"


def test_reader_during_a_change_is_not_kept(cache: Cache) -> None:
    with cache.changing("user"):
        assert cache.fetch("user", loader(b"old")) == b"old"
        assert cache.fetch("user", loader(b"still old")) == b"still old"
    assert cache.fetch("user", loader(b"new")) == b"new"


def test_cache_down_reads_the_database_and_counts_misses(
    cache: Cache, memory: Memory, figures: Figures
) -> None:
    memory.broken = True
    load = loader(b"one", b"two", b"three")
    assert [cache.fetch("user", load) for _ in range(3)] == [b"one", b"two", b"three"]
    assert memory.calls == 1, "the gate keeps later requests from waiting"
    found = figures.report("app-1").cache
    assert (found.hits, found.queries) == (0, 3)


def test_change_during_an_outage_is_forgotten_when_the_cache_is_back(
    cache: Cache, memory: Memory
) -> None:
    cache.fetch("user", loader(b"old"))
    memory.broken = True
    with cache.changing("user"):
        pass
    assert memory.values["user"] == b"old"
    memory.broken = False
    wait_until(lambda: memory.values == {})
    assert cache.fetch("user", loader(b"new")) == b"new"


def test_client_that_hangs_while_it_connects_holds_up_nobody_for_long(figures: Figures) -> None:
    settings = CacheSettings(mode="single", nodes=(NodeSettings("cache", 6379),), ttl_seconds=60)
    connecting, finish = threading.Event(), threading.Event()

    def connect() -> Memory:
        connecting.set()
        finish.wait(5)
        return Memory()

    cache = Cache(settings, connect, figures)
    first = threading.Thread(target=cache.fetch, args=("user", loader(b"ada")))
    first.start()
    assert connecting.wait(5)
    started = time.perf_counter()
    assert cache.fetch("user", loader(b"ada")) == b"ada"
    assert time.perf_counter() - started < 1
    finish.set()
    first.join()
