"""``make bench``: what rendering, previewing and a no-op ``up`` cost, a request its proxy, and a
query its routing; what partitions are worth.

CPU is user and system time, of a command with all its children or of a proxy's container; every
figure is the median of interleaved pairs, so that a busy machine disturbs both sides alike. It is
no test: timings fail for reasons that are nobody's bug. Exits 1 only when something could not be
run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable

from tests.bench import charts, edge, engine, partitions, render, routing
from tests.bench.measure import CannotRunError
from tests.bench.table import Row, text

FEWEST_PAIRS = 7


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="pairs of runs (default: 9)")
    times = max(FEWEST_PAIRS, parser.parse_args().pairs)
    parts: list[Callable[[], Iterable[Row | str]]] = [
        lambda: render.rows(times),
        lambda: charts.rows(render.largest(), times),
        lambda: edge.rows(times),
        lambda: routing.rows(times),
        lambda: partitions.rows(times),
        lambda: engine.rows(FEWEST_PAIRS),
    ]
    rows: list[Row] = []
    sentences: list[str] = []
    failed = False
    for part in parts:
        try:
            for found in part():
                if isinstance(found, Row):
                    rows.append(found)
                    print(f"measured: {found.what}", file=sys.stderr)
                else:
                    sentences.append(found)
        except CannotRunError as error:
            failed = True
            sentences.append(f"could not be run: {error}")
    print(f"\nMedians of {times} interleaved pairs (engine: {FEWEST_PAIRS}).\n")
    print(text(rows))
    print("\n".join(["", *sentences]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
