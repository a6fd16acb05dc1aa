"""What a review is about, and the words and sums that all of its page uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from policies.model import Finding
from stacks.prices import Prices
from stacks.reviews import effects
from stacks.reviews.blocks import code
from stacks.reviews.side import Side, Size
from stacks.reviews.steps import Step, Steps

OPS = {
    "create": ("added", "added"),
    "update": ("changed", "changed in place"),
    "replace": ("replaced", "made anew, and the old one removed"),
    "delete": ("deleted", "removed"),
}
"""What is said of steps: of all of a kind, and of each."""

Range = tuple[float, float]
"""From the fewest instances that an autoscaler leaves to the most."""


class Review(Struct, frozen=True):
    """A stack on both sides, ``None`` where it is not there, and what lies between. ``against``
    names the other side; ``notes`` are what the reader has to know of the comparison."""

    stack: str
    against: str
    before: Side | None
    after: Side | None
    steps: Steps
    prices: Prices
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What it runs on, or ran on where it is gone."""
        side = self.after or self.before
        assert side is not None
        return side.target


def pairs(review: Review) -> Iterator[tuple[str, Size | None, Size | None]]:
    """Each workload's size on both sides, from the door inwards."""
    before = {s.name: s for s in (review.before.sizes if review.before else ())}
    after = {s.name: s for s in (review.after.sizes if review.after else ())}
    for name in effects.in_order({**after, **before}):
        yield name, before.get(name), after.get(name)


def totals(review: Review) -> tuple[Range, Range]:
    """What all costs in a month, before and after."""
    both = list(pairs(review))
    return (
        cost_range(review, [was for _, was, _ in both]),
        cost_range(review, [will for _, _, will in both]),
    )


def cost_range(review: Review, sizes: Sequence[Size | None]) -> Range:
    """What those of ``sizes`` that are there cost in a month."""
    there = [size for size in sizes if size is not None]
    return (
        sum(_month(review.prices, size, size.least) for size in there),
        sum(_month(review.prices, size, size.most) for size in there),
    )


def _month(prices: Prices, size: Size, count: int) -> float:
    return prices.month(count * size.cpus, count * size.memory_mib, count * size.storage_gib)


def judged(review: Review) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """Policies' findings that are new, gone, and there on both sides."""
    before = review.before.findings if review.before else ()
    after = review.after.findings if review.after else ()
    old, fresh = set(map(_said, before)), set(map(_said, after))
    new = [finding for finding in after if _said(finding) not in old]
    gone = [finding for finding in before if _said(finding) not in fresh]
    return new, gone, [finding for finding in after if _said(finding) in old]


def _said(finding: Finding) -> tuple[str, ...]:
    """What makes it the same finding on both sides, wherever in a file it may have moved."""
    return finding.level, finding.rule, finding.resource, finding.what


def money(cost: Range) -> str:
    low, high = (f"{each:.2f}" for each in cost)
    return low if low == high else f"{low} to {high}"


def difference(old: Range, new: Range) -> str:
    low, high = (f"{b - a:+.2f}".replace("-0.00", "+0.00") for a, b in zip(old, new, strict=True))
    if low == high:
        return "0" if low == "+0.00" else low
    return f"{low} to {high}"


def many(size: Size) -> str:
    return str(size.most) if size.least == size.most else f"{size.least}–{size.most}"


def each(size: Size) -> str:
    text = f"{size.cpus:g} CPU, {size.memory_mib} MiB"
    return f"{text}, {size.storage_gib} GiB" if size.storage_gib else text


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(code, names))


def changes(steps: Steps) -> list[Step]:
    """The steps that change something, alike ones together."""
    order = list(OPS)
    found = [step for step in steps.all if step.op in OPS]
    return sorted(found, key=lambda s: (order.index(s.op), s.workload, s.kind, s.name))
