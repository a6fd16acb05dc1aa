"""How much each shard holds: rows and bytes by partition and by bucket, for Prometheus.

Whoever reads ``/metrics`` gets what was found last, and has it looked up again where that is old,
in the shard's own threads: no request waits for it. A shard that does not answer has no sizes.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text

from crm.shards import Shard, Shards
from crm.tables import customers, orders, users

log = logging.getLogger(__name__)

# Reading the server's own statistics is cheap; counting buckets reads an index from end to end.
PARTITIONS_SECONDS = 60.0
BUCKETS_SECONDS = 600.0

PARTITIONS = text(
    "SELECT table_name, COALESCE(partition_name, ''), SUM(table_rows), "
    "SUM(data_length + index_length) FROM information_schema.partitions "
    "WHERE table_schema = DATABASE() GROUP BY 1, 2 ORDER BY 1, 2"
)

# What places a row of each table: see Shards.of.
PLACED_BY = {"customers": customers.c.id, "users": users.c.id, "crm_orders": orders.c.customer_id}

T = TypeVar("T")


class Size(NamedTuple):
    """``rows`` are InnoDB's estimate. ``partition`` is empty for a table without any."""

    table: str
    partition: str
    rows: int
    bytes: int


class Count(NamedTuple):
    table: str
    bucket: int
    rows: int


class Rarely(Generic[T]):
    """An answer of a shard, asked for again when it is ``seconds`` old, and never waited for."""

    def __init__(self, shard: Shard, ask: Callable[[Shard], list[T]], seconds: float) -> None:
        self._shard = shard
        self._ask = ask
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._asking: Future[list[T]] | None = None
        self._last: list[T] = []

    def last(self) -> list[T]:
        """What the shard said last; nothing before it has, and after it could not."""
        with self._lock:
            if self._asking is not None and self._asking.done():
                self._last, self._asking = self._answer(self._asking), None
            now = time.monotonic()
            if self._asking is None and now - self._asked >= self._seconds:
                self._asked = now
                self._asking = self._shard.threads.submit(self._ask, self._shard)
            return self._last

    def _answer(self, asked: Future[list[T]]) -> list[T]:
        error = asked.exception()
        if error is None:
            return asked.result()
        log.warning("%s: sizes are not known: %s", self._shard.name, error)
        return []


class Sizes(Collector):
    """The sizes of all shards, as metrics."""

    def __init__(self, shards: Shards) -> None:
        self._registry = CollectorRegistry()
        self._partitions = {s.name: Rarely(s, partitions, PARTITIONS_SECONDS) for s in shards}
        self._buckets = {
            shard.name: Rarely(shard, lambda s: buckets(s, shards.buckets), BUCKETS_SECONDS)
            for shard in shards
        }
        self._registry.register(self)

    def expose(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        where = ["shard", "table", "partition"]
        rows = GaugeMetricFamily("crm_partition_rows", "Rows, by InnoDB's estimate", labels=where)
        size = GaugeMetricFamily("crm_partition_bytes", "Data and indexes", labels=where)
        share = ["shard", "table", "bucket"]
        counted = GaugeMetricFamily("crm_bucket_rows", "Rows, counted", labels=share)
        part = GaugeMetricFamily("crm_bucket_bytes", "Its rows' share of the table", labels=share)
        for shard, rarely in self._partitions.items():
            table_bytes: dict[str, int] = {}
            for found in rarely.last():
                rows.add_metric([shard, found.table, found.partition], found.rows)
                size.add_metric([shard, found.table, found.partition], found.bytes)
                table_bytes[found.table] = table_bytes.get(found.table, 0) + found.bytes
            counts = self._buckets[shard].last()
            totals: dict[str, int] = {}
            for count in counts:
                totals[count.table] = totals.get(count.table, 0) + count.rows
            for count in counts:
                labels = [shard, count.table, str(count.bucket)]
                counted.add_metric(labels, count.rows)
                if count.table in table_bytes:
                    part.add_metric(
                        labels, table_bytes[count.table] * count.rows / totals[count.table]
                    )
        yield from (rows, size, counted, part)


def partitions(shard: Shard) -> list[Size]:
    with shard.begin() as transaction:
        found = transaction.look(PARTITIONS)
        return [Size(name, part, int(rows), int(size)) for name, part, rows, size in found]


def buckets(shard: Shard, of: int) -> list[Count]:
    """The server's CRC32 of a number is that of its decimal digits, as is ``ids.bucket_of``."""
    counts = []
    for table, column in PLACED_BY.items():
        bucket = func.mod(func.crc32(column), of).label("bucket")
        # Of its own each: no snapshot is held for as long as all of them take.
        with shard.begin() as transaction:
            found = transaction.look(select(bucket, func.count()).group_by(bucket))
            counts += [Count(table, int(number), int(rows)) for number, rows in found]
    return counts
