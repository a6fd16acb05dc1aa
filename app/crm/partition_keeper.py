"""Looks after the partitions every hour, and says at /metrics and /healthz how that goes.

It does what ``crm partitions apply`` does without ``--yes``: nothing is deleted by it.
"""

import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import MetricsHandler

from crm import partitions, settings
from crm.errors import CrmError
from crm.settings import Settings

PERIOD_SECONDS = 3600.0
RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 960.0


class Keeper:
    """The rounds of one stack and what they came to, by shard and table."""

    def __init__(self, loaded: Settings) -> None:
        self._loaded = loaded
        self._all = partitions.everywhere(loaded)
        self._due = time.monotonic()
        self._failed = 0
        self.registry = CollectorRegistry()
        self._success = Gauge(
            "crm_partitions_last_success_timestamp_seconds",
            "When all that needs no yes was done",
            ("shard", "table"),
            registry=self.registry,
        )
        self._ahead = Gauge(
            "crm_partitions_ahead",
            "Partitions that begin later, the catch-all left out",
            ("shard", "table"),
            registry=self.registry,
        )
        self._waiting = Gauge(
            "crm_partitions_waiting",
            "Steps that wait for crm partitions apply --yes",
            ("shard", "table"),
            registry=self.registry,
        )
        self._failures = Counter(
            "crm_partitions_failures",
            "Rounds that failed",
            ("shard", "table"),
            registry=self.registry,
        )
        for shard, life in self._all:
            self._failures.labels(shard.name, life.table)

    def round(self) -> float:
        """Look after every table once; returns how many seconds to wait for the next round: twice
        as long after each one that failed, up to a quarter of an hour: it may have cost much."""
        failed = False
        for shard, life in self._all:
            now, of = datetime.now(UTC), (shard.name, life.table)
            try:
                with partitions.connected(self._loaded, shard) as connection:
                    found = partitions.run(
                        connection, shard, life, now, print, apply=True, yes=False
                    )
            except CrmError as error:
                print(f"error: {error}", file=sys.stderr)
                self._failures.labels(*of).inc()
                failed = True
                continue
            self._success.labels(*of).set(now.timestamp())
            self._ahead.labels(*of).set(found.ahead)
            self._waiting.labels(*of).set(len(found.waiting))
        wait = PERIOD_SECONDS
        if failed:
            wait = min(RETRY_SECONDS * 2**self._failed, LONGEST_RETRY_SECONDS)
        self._failed = self._failed + 1 if failed else 0
        self._due = time.monotonic() + wait
        return wait

    @property
    def is_alive(self) -> bool:
        """Whether the last round ended in time. One that failed did: a restart would not help."""
        return time.monotonic() < self._due + partitions.STATEMENT_SECONDS


def serve(keeper: Keeper, port: int) -> ThreadingHTTPServer:
    """Answer /metrics and /healthz in the background."""

    class Handler(MetricsHandler):
        registry = keeper.registry

        def do_GET(self) -> None:  # noqa: N802
            if self.path != "/healthz":
                super().do_GET()
                return
            self.send_response(200 if keeper.is_alive else 503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Checks and scrapes are not worth a line each."""

    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 - as in crm.serve
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main(environ: Mapping[str, str]) -> None:
    """Go on until SIGTERM. A statement that is under way then is finished by the server."""
    loaded = settings.load(environ)
    keeper = Keeper(loaded)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    serve(keeper, loaded.file.server.port)
    while True:
        time.sleep(keeper.round())
