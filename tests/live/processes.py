"""A command with all the processes it starts: watched, stopped, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


class EndedError(AssertionError):
    """The command ended well before it was where it was to be caught."""


class Processes:
    """A command and everything it has started, also what has left its parent."""

    def __init__(self, command: list[str], root: Path, environment: dict[str, str]) -> None:
        self._said = root.parent / "said"
        with self._said.open("w") as said:
            self.first = subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What the command has written to standard error."""
        return self._said.read_text(encoding="utf-8")

    def all(self) -> dict[int, str]:
        """The living: process id → name."""
        found: dict[int, tuple[str, int, int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                begin, _, end = path.read_text().rpartition(")")
            except (FileNotFoundError, ProcessLookupError):
                continue
            state, parent, _, session = end.split()[:4]
            if state not in "ZX":
                found[int(path.parent.name)] = (begin.partition("(")[2], int(parent), int(session))
        ours = {pid for pid, (_, _, session) in found.items() if session == self.first.pid}
        while more := {pid for pid, (_, parent, _) in found.items() if parent in ours} - ours:
            ours |= more
        return {pid: found[pid][0] for pid in ours}

    def signal(self, number: signal.Signals, name: str = "") -> None:
        """Send ``number`` to all of them, or to those called ``name``."""
        if not name:
            with suppress(ProcessLookupError):  # At once, then also to those that left the group.
                os.killpg(self.first.pid, number)
        for pid, called in self.all().items():
            if name in ("", called):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill(self) -> None:
        """Kill all of them at once, and wait until they are gone."""
        while self.all():
            self.signal(signal.SIGKILL)
            time.sleep(0.01)
        self.first.wait()


def until(
    holds: Callable[[], Any], what: str, running: Processes, *, rest_seconds: float = 0.002
) -> None:
    """Wait for ``holds``, as long as the command runs."""
    deadline = time.monotonic() + 120
    while not holds():
        if (code := running.first.poll()) is not None:
            kind = AssertionError if code else EndedError
            raise kind(f"ended before {what}: {running.said}")
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(rest_seconds)
