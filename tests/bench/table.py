"""The table that the benchmark prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.measure import Pair

HEADINGS = ("what", "CPU", "wall", "against", "CPU", "figure", "bound", "verdict")


@dataclass(frozen=True)
class Row:
    """One comparison: ``figure`` in ``unit``, within ``bound`` where there is one."""

    what: str
    against: str
    pair: Pair
    figure: float
    unit: str
    bound: float | None = None

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return "–"
        return "within" if self.figure <= self.bound else "OVER"

    def cells(self) -> tuple[str, ...]:
        return (
            self.what,
            f"{self.pair.one.cpu * 1000:.0f} ms",
            f"{self.pair.one.wall * 1000:.0f} ms",
            self.against,
            f"{self.pair.other.cpu * 1000:.0f} ms",
            _number(self.figure, self.unit),
            "–" if self.bound is None else _number(self.bound, self.unit),
            self.verdict,
        )


def text(rows: Sequence[Row]) -> str:
    """``rows`` under their headings, in columns."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _number(value: float, unit: str) -> str:
    return f"{value:.2f}×" if unit == "×" else f"{value:.1f} {unit}"
