"""CPU and wall time of child processes, as the median of interleaved pairs."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class CannotRunError(Exception):
    """Something that was to be measured does not run: what, and what it said."""


@dataclass(frozen=True)
class Command:
    """A command, where it runs, and what happens before each of its runs, unmeasured."""

    words: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str]
    before: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Cost:
    """Seconds of processor (user and system, with all its children) and of the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Pair:
    """Medians of two commands that ran in turn; ``ratio`` is the median of each pair's own."""

    one: Cost
    other: Cost
    ratio: float


def run(command: Command) -> Cost:
    """Run once. Raises ``CannotRunError`` when the command cannot be started or fails."""
    command.before()
    words = [str(word) for word in command.words]
    start = time.perf_counter()
    try:
        child = subprocess.Popen(
            words,
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise CannotRunError(f"{words[0]}: {error.strerror}") from None
    assert child.stderr is not None
    said = child.stderr.read().decode(errors="replace").strip()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        last = said.splitlines()[-1] if said else "it said nothing"
        raise CannotRunError(f"{' '.join(words)}: exit code {child.returncode}: {last}")
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def pair(one: Command, other: Command, times: int) -> Pair:
    """Run both in turn ``times`` times, after one run of each that is not counted."""
    run(one)
    run(other)
    ones, others = [], []
    for _ in range(times):
        ones.append(run(one))
        others.append(run(other))
    return of_runs(ones, others)


def of_runs(ones: Sequence[Cost], others: Sequence[Cost]) -> Pair:
    """The medians of what ran in turn."""
    return Pair(
        _median(ones),
        _median(others),
        statistics.median(a.cpu / b.cpu for a, b in zip(ones, others, strict=True)),
    )


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.wall for cost in costs),
    )
