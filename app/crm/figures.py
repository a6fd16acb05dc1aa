"""What the replica measures, and the three figures made of it.

Under several workers prometheus_client keeps each process' numbers in files of
PROMETHEUS_MULTIPROC_DIR and adds them up on reading, so every worker reports the whole replica.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Average(Struct, frozen=True):
    """Mean of ``count`` observations, in seconds; None when there was none."""

    average_seconds: float | None
    count: int


class HitRatio(Struct, frozen=True):
    """hits / queries; None when there was no query."""

    ratio: float | None
    hits: int
    queries: int


class Report(Struct, frozen=True):
    """The three figures of one replica since it started.

    response: 1/N * sum of response times, health checks and metrics left out.
    queries:  1/k * sum of query times, by shard.
    tables:   the same of each table, by shard and table.
    cache:    hits / queries; a query the cache could not answer in time is no hit.
    """

    instance: str
    response: Average
    queries: dict[str, Average]
    tables: dict[str, dict[str, Average]]
    cache: HitRatio


class Figures:
    """Counters of one application. Two applications in one process keep their own."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._responses = Histogram(
            "crm_response_seconds",
            "Time to answer a request",
            ("method", "route", "status"),
            registry=self._own,
            buckets=SECONDS,
        )
        self._queries = Histogram(
            "crm_query_seconds",
            "Time of one statement on one shard",
            ("shard", "table"),
            registry=self._own,
            buckets=SECONDS,
        )
        self._cache = Counter(
            "crm_cache_queries", "Reads through the cache", ("result",), registry=self._own
        )

    def responded(self, method: str, route: str, status: int, seconds: float) -> None:
        self._responses.labels(method, route, str(status)).observe(seconds)

    @contextmanager
    def query(self, shard: str, table: str) -> Iterator[None]:
        """Time one statement, also when it fails: a time-out is a slow query."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._queries.labels(shard, table).observe(time.perf_counter() - started)

    def cache_hit(self) -> None:
        self._cache.labels("hit").inc()

    def cache_miss(self) -> None:
        self._cache.labels("miss").inc()

    def expose(self) -> bytes:
        """All counters in Prometheus' text format."""
        return generate_latest(self._whole())

    def report(self, instance: str) -> Report:
        sums: dict[tuple[str, ...], float] = {}
        for metric in self._whole().collect():
            for sample in metric.samples:
                label = sample.labels.get("shard") or sample.labels.get("result", "")
                for key in (
                    (sample.name, label),
                    (sample.name, label, sample.labels.get("table", "")),
                ):
                    sums[key] = sums.get(key, 0.0) + sample.value

        def average(name: str, *labels: str) -> Average:
            count = int(sums.get((f"{name}_count", *labels), 0))
            total = sums.get((f"{name}_sum", *labels), 0.0)
            return Average(total / count if count else None, count)

        hits = int(sums.get(("crm_cache_queries_total", "hit"), 0))
        queries = hits + int(sums.get(("crm_cache_queries_total", "miss"), 0))
        tables: dict[str, dict[str, Average]] = {}
        for name, shard, *table in sorted(sums):
            if name == "crm_query_seconds_count" and table:
                tables.setdefault(shard, {})[table[0]] = average("crm_query_seconds", shard, *table)
        return Report(
            instance=instance,
            response=average("crm_response_seconds", ""),
            queries={shard: average("crm_query_seconds", shard) for shard in tables},
            tables=tables,
            cache=HitRatio(hits / queries if queries else None, hits, queries),
        )

    def _whole(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._own
        whole = CollectorRegistry()
        collector: Any = MultiProcessCollector
        collector(whole)
        return whole
