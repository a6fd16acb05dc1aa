"""Keeps requests away from a dependency that is down, until it is back."""

import logging
import threading
import time
from collections.abc import Callable

from crm.errors import DependencyError

log = logging.getLogger(__name__)


class Gate:
    """Open while a dependency answers; once shut, a thread of its own probes until it does.

    Without it each request for a dead shard would hold a server thread for a whole connect
    time-out, and the healthy shards' customers would wait behind them.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], object],
        *,
        opened: Callable[[], object] = lambda: None,
        pause_seconds: float = 1.0,
    ) -> None:
        self.name = name
        self._probe = probe
        self._opened = opened
        self._pause_seconds = pause_seconds
        self._lock = threading.Lock()
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why it is shut; None when open."""
        return self._reason

    def check(self) -> None:
        """Raise DependencyError if shut."""
        reason = self._reason
        if reason is not None:
            raise DependencyError(self.name, reason)

    def shut(self, reason: str) -> None:
        """Turn requests away from now on, and start probing."""
        with self._lock:
            already, self._reason = self._reason, reason
        if already is None:
            log.warning("%s is down: %s", self.name, reason)
            threading.Thread(target=self._recover, name=f"probe-{self.name}", daemon=True).start()

    def _recover(self) -> None:
        while True:
            time.sleep(self._pause_seconds)
            try:
                self._probe()
            except Exception as error:  # whatever a driver raises: this thread must not end
                self._reason = error.reason if isinstance(error, DependencyError) else repr(error)
            else:
                self._reason = None
                log.info("%s is back", self.name)
                self._opened()
                return
