"""The page: in short first, then what happens to each part, sizes, cost, policies, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stacks.reviews import diffs, effects, short
from stacks.reviews.blocks import Block, Facts, Folded, Heading, Paragraph, Table, code, plain
from stacks.reviews.effects import Effect
from stacks.reviews.model import (
    OPS,
    Review,
    changes,
    cost_range,
    count,
    difference,
    each,
    judged,
    many,
    money,
    pairs,
    totals,
)
from stacks.reviews.side import Size

_ROWS = 120


def page(review: Review) -> list[Block]:
    """All of it, the same for the same files."""
    happening = effects.of(review.steps)
    first: list[Block] = [
        Heading(1, f"What changes for {code(review.stack)}"),
        Paragraph(_about(review)),
        *(Paragraph(f"Note: {note}") for note in review.notes),
        Heading(2, "In short"),
        Facts(tuple(short.facts(review, happening))),
    ]
    if _stays(review):
        return first
    return [
        *first,
        *_parts(review, happening),
        *_sizes(review),
        *_cost(review),
        *_policies(review),
        *_resources(review),
        *_files(review),
    ]


def _stays(review: Review) -> bool:
    """Whether there is nothing more to tell."""
    if review.before is None or review.after is None or changes(review.steps):
        return False
    new, gone, _ = judged(review)
    files = diffs.changed(review.before.files, review.after.files)
    is_same = review.before.sizes == review.after.sizes
    return is_same and not (new or gone or files or review.steps.refusal)


def _about(review: Review) -> str:
    stack = code(review.stack)
    what = f"{stack} is one installation of the CRM: a load balancer, the application, its "
    what += "database and its cache. This page compares its files in this change with those of "
    what += f"{review.against}, and says what will happen when this change is deployed"
    if review.after is None:
        return f"{what}. Here it has no stack file any more."
    how = f"{what} with {code(f'crm up {review.stack}')}"
    if review.before is None:
        return f"{how}. It is new: there it has no stack file."
    return f"{how} over what the other one deployed. What really runs was not looked at."


# --- What happens to each part -------------------------------------------------------------------


def _parts(review: Review, happening: Sequence[Effect]) -> Iterator[Block]:
    yield Heading(2, "What happens to each part")
    if not happening:
        yield Paragraph("It cannot be said, since the change is refused.")
        return
    if short.refusal(review):
        yield Paragraph("Nothing, as it is refused. This is what would come of it otherwise:")
    rows = [(f"{code(e.workload)}: {e.about}", e.verdict, e.text) for e in happening]
    yield Table(("part", "it is", "that means"), tuple(rows))


def _sizes(review: Review) -> Iterator[Block]:
    yield Heading(2, "Sizes")
    rows = [
        (code(name), *_before_after(many, was, will), *_before_after(each, was, will))
        for name, was, will in pairs(review)
    ]
    head = ("part", "instances before", "after", "each before", "each after")
    yield Table(head, tuple(rows), numbers=(1, 2))


def _before_after(
    text: Callable[[Size], str], was: Size | None, will: Size | None
) -> tuple[str, str]:
    old, new = (text(size) if size else "–" for size in (was, will))
    return old, "the same" if was and will and old == new else new


# --- Cost ----------------------------------------------------------------------------------------


def _cost(review: Review) -> Iterator[Block]:
    yield Heading(2, f"Cost per month, in {review.prices.currency}")
    rows = []
    for name, was, will in pairs(review):
        old, new = cost_range(review, [was]), cost_range(review, [will])
        rows.append((code(name), money(old), money(new), difference(old, new)))
    old, new = totals(review)
    rows.append(("all", money(old), money(new), difference(old, new)))
    yield Table(("part", "before", "after", "difference"), tuple(rows), numbers=(1, 2, 3))
    about = (
        "By the prices in `stacks/prices.yaml`, which come as an example and are yours to edit: "
        "CPU and memory of what always runs, and storage as the stack file asks for it. Both sides "
        "are at the prices of this change."
    )
    if any(size.least != size.most for pair in pairs(review) for size in pair[1:] if size):
        about += " Where an autoscaler decides, from the fewest instances to the most."
    yield Paragraph(about)


# --- Policies ------------------------------------------------------------------------------------


def _policies(review: Review) -> Iterator[Block]:
    new, gone, stay = judged(review)
    if not (new or gone or stay):
        return
    yield Heading(2, "Policies")
    rows = [
        (word, f.level, code(f.rule), code(f.resource), plain(f"{f.what}; {f.fix}"))
        for word, found in (("new", new), ("there before", stay), ("gone", gone))
        for f in found
    ]
    head = ("finding", "level", "rule", "of", "what, and the way out")
    yield Table(head, tuple(rows[:_ROWS]))
    if any(f.level == "mandatory" for f in (*new, *stay)):
        yield Paragraph(f"What is mandatory stops {code('crm up')} and {code('crm check')}.")


# --- Resources and files -------------------------------------------------------------------------


def _resources(review: Review) -> Iterator[Block]:
    found = changes(review.steps)
    if not found:
        return
    yield Heading(2, f"Resources on {review.target}")
    counts = {op: sum(step.op == op for step in review.steps.all) for op in (*OPS, "same")}
    told = [f"{counts[op]} {word}" for op, (word, _) in OPS.items()]
    yield Paragraph(f"{', '.join(told)}, {counts['same']} unchanged.")
    rows = [
        (OPS[s.op][1], s.kind, code(s.name), ", ".join(map(code, s.changed[:4])) or "–")
        for s in found
    ]
    table = Table(("it is", "kind", "name", "because of"), tuple(rows[:_ROWS]))
    more = [Paragraph(f"{len(rows) - _ROWS} more are not shown.")] if len(rows) > _ROWS else []
    yield Folded("Each of them", (table, *more))


def _files(review: Review) -> Iterator[Block]:
    before = review.before.files if review.before else {}
    after = review.after.files if review.after else {}
    changed = diffs.changed(before, after)
    if not changed:
        return
    yield Heading(2, "Rendered files")
    yield Paragraph(
        "What the services will read, as it is made of the stack file and the templates. "
        f"Of {count(len({*before, *after}), 'file')}, {len(changed)} will be other than before. "
        "Long ones are shortened; to see all, compare two folders that "
        f"{code(f'crm render {review.stack} -o DIR')} wrote, one on each side."
    )
    yield from diffs.blocks(before, after)
