"""The page: in short first, then what happens to each part, sizes, cost, policies, files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from policies.model import Finding
from stacks import shard_map
from stacks.reviews import diffs, effects
from stacks.reviews.blocks import Block, Facts, Folded, Heading, Paragraph, Table, code, plain
from stacks.reviews.effects import Effect
from stacks.reviews.prices import Prices
from stacks.reviews.side import Side, Size
from stacks.reviews.steps import Step, Steps

_ROWS = 120
_OPS = {
    "create": ("added", "added"),
    "update": ("changed", "changed in place"),
    "replace": ("replaced", "made anew, and the old one removed"),
    "delete": ("deleted", "removed"),
}


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


def page(review: Review) -> list[Block]:
    """All of it, the same for the same files."""
    happening = effects.of(review.steps)
    return [
        Heading(1, f"What changes for {code(review.stack)}"),
        Paragraph(_about(review)),
        *(Paragraph(f"Note: {note}") for note in review.notes),
        Heading(2, "In short"),
        Facts(tuple(_short(review, happening))),
        *_parts(review, happening),
        *_sizes(review),
        *_cost(review),
        *_policies(review),
        *_resources(review),
        *_files(review),
    ]


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
    return f"{how} over what the other one deployed. Nothing was asked of what really runs."


# --- In short ------------------------------------------------------------------------------------


def _short(review: Review, happening: Sequence[Effect]) -> Iterator[tuple[str, str]]:
    refusal = _refusal(review)
    if refusal:
        yield "Cannot be deployed", f"{code('crm up')} will refuse it. {refusal}"
    yield "What changes", _what(review)
    if review.before and review.after and not refusal:
        yield "What runs", _runs(happening)
        yield "Interruption", _interruption(happening)
    yield "Data", _data(review, happening)
    yield "Cost", _cost_short(review)
    yield "Policies", _policies_short(review)


def _refusal(review: Review) -> str:
    before, after = review.before, review.after
    if after is None:
        return ""
    if before is not None and (reason := _misfit(before, after) or plain(review.steps.refusal)):
        return reason
    bad = sum(finding.level == "mandatory" for finding in after.findings)
    return (
        f"Policies do not allow it: {_count(bad, 'mandatory finding')}, see below." if bad else ""
    )


def _misfit(before: Side, after: Side) -> str:
    """Why a deployment of the one cannot become one of the other."""
    if before.target != after.target:
        return (
            f"The stack is on {code(before.target)} and this change moves it to "
            f"{code(after.target)}; its data does not move along. A copy of the stack file under "
            "another name is the way."
        )
    was, will = (shard_map.given(side.files["app/app.json"]) for side in (before, after))
    if was and will and was != will:
        moved = sum(move.count for move in shard_map.moves(was, will))
        return (
            f"The database would have {_count(len(will), 'shard')} in the place of {len(was)}: "
            f"{moved} of {shard_map.BUCKETS} parts of the customers would be looked for on another "
            "server, and nothing moves them."
        )
    return ""


def _what(review: Review) -> str:
    before, after = review.before, review.after
    if before is None:
        return "this stack is new; all of it is made."
    if after is None:
        return "this stack is removed from the project."
    found = [_resized(was, will) for _, was, will in _pairs(review) if was != will]
    files = len(diffs.changed(before.files, after.files))
    others = {step.workload for step in review.steps.all if step.has_other_image}
    if others:
        found += [f"another image for {_listed(effects.in_order(others))}"]
    found += [f"{_count(files, 'rendered file')} of its configuration"] if files else []
    if not found and not _changes(review.steps):
        return "nothing of what runs, for this stack."
    return "; ".join(found or [_count(len(_changes(review.steps)), "resource")]) + "."


def _resized(was: Size | None, will: Size | None) -> str:
    if was is None or will is None:
        size, word = (will, "is new") if will else (was, "is removed")
        assert size is not None
        return f"{code(size.name)} {word} ({_many(size)} × {_each(size)})"
    found = []
    if _many(was) != _many(will):
        found.append(f"from {_many(was)} to {_many(will)} instances")
    for name, unit in (("cpus", "CPU"), ("memory_mib", "MiB"), ("storage_gib", "GiB of storage")):
        old, new = getattr(was, name), getattr(will, name)
        if old != new:
            found.append(f"from {old:g} to {new:g} {unit} each")
    return f"{code(will.name)} goes {', '.join(found)}" if found else f"{code(will.name)} changes"


def _runs(happening: Sequence[Effect]) -> str:
    touched = [e for e in happening if e.verdict != "untouched"]
    if not touched:
        return "everything goes on as it is."
    told = "; ".join(f"{code(e.workload)} {_verb(e.verdict)}" for e in touched)
    rest = [e for e in happening if e.verdict == "untouched"]
    return f"{told}. " + (
        f"Untouched: {_listed([e.workload for e in rest])}." if rest else "All is touched."
    )


def _verb(verdict: str) -> str:
    is_participle = verdict.startswith(("restarted", "replaced", "removed", "new", "changed"))
    return f"is {verdict}" if is_participle else verdict


def _interruption(happening: Sequence[Effect]) -> str:
    away = [effect.workload for effect in happening if effect.is_away]
    if away:
        return f"yes, short: {_listed(away)} must stop before starting again (see below)."
    return "none is to be expected."


def _data(review: Review, happening: Sequence[Effect]) -> str:
    data = [step for step in review.steps.all if step.is_data]
    if review.after is None:
        return (
            "kept, until somebody deletes it: removing the file takes nothing down. Run "
            f"{code(f'crm destroy {review.stack}')} while the file is still there; that stops what "
            "runs and keeps the data volumes, and with `--delete-data` it deletes them."
        )
    new = [step.name for step in data if step.op == "create"]
    if review.before is None:
        return (
            f"starts empty, on {_count(len(new), 'new volume')}." if new else "is kept elsewhere."
        )
    if _refusal(review):
        return "not touched, since the change is refused."
    found = [f"new, empty volumes: {_listed(new)}."] if new else []
    database = next((e for e in happening if e.workload == "database"), None)
    if database and database.is_away:
        found.append("stays; the database starts again on the volumes it has.")
    else:
        found.append("what is there is not touched." if new else "not touched.")
    if "mysql/schema.sql" in diffs.changed(review.before.files, review.after.files):
        found.append(
            "`mysql/schema.sql` changes the form of new tables; those that are there keep theirs."
        )
    return " ".join(found)


# --- What happens to each part -------------------------------------------------------------------


def _parts(review: Review, happening: Sequence[Effect]) -> Iterator[Block]:
    yield Heading(2, "What happens to each part")
    if not happening:
        yield Paragraph("It cannot be said, since the change is refused.")
        return
    if _refusal(review):
        yield Paragraph("Nothing, as it is refused. This is what would come of it otherwise:")
    rows = [(f"{code(e.workload)}: {e.about}", e.verdict, e.text) for e in happening]
    yield Table(("part", "it is", "that means"), tuple(rows))


def _sizes(review: Review) -> Iterator[Block]:
    yield Heading(2, "Sizes")
    rows = [
        (code(name), *_before_after(_many, was, will), *_before_after(_each, was, will))
        for name, was, will in _pairs(review)
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
    for name, was, will in _pairs(review):
        old, new = _range(review, [was]), _range(review, [will])
        rows.append((code(name), _money(old), _money(new), _difference(old, new)))
    old, new = _totals(review)
    rows.append(("all", _money(old), _money(new), _difference(old, new)))
    yield Table(("part", "before", "after", "difference"), tuple(rows), numbers=(1, 2, 3))
    about = (
        "By the prices in `stacks/prices.yaml`, an example that is to be edited: CPU and memory "
        "of what always runs, and storage as the stack file asks for it. Both sides are at the "
        "prices of this change."
    )
    if any(size.least != size.most for pair in _pairs(review) for size in pair[1:] if size):
        about += " Where an autoscaler decides, from the fewest instances to the most."
    yield Paragraph(about)


def _cost_short(review: Review) -> str:
    old, new = _totals(review)
    currency = review.prices.currency
    if _money(old) == _money(new):
        return f"stays at {_money(new)} {currency} a month, by example prices."
    return (
        f"{_money(old)} → {_money(new)} {currency} a month ({_difference(old, new)}), "
        "by example prices."
    )


Range = tuple[float, float]


def _totals(review: Review) -> tuple[Range, Range]:
    pairs = list(_pairs(review))
    return (
        _range(review, [was for _, was, _ in pairs]),
        _range(review, [will for _, _, will in pairs]),
    )


def _range(review: Review, sizes: Sequence[Size | None]) -> Range:
    there = [size for size in sizes if size is not None]
    month = review.prices.month
    return (
        sum(month(size, size.least) for size in there),
        sum(month(size, size.most) for size in there),
    )


def _money(cost: Range) -> str:
    low, high = (f"{each:.2f}" for each in cost)
    return low if low == high else f"{low} to {high}"


def _difference(old: Range, new: Range) -> str:
    low, high = (f"{b - a:+.2f}".replace("-0.00", "+0.00") for a, b in zip(old, new, strict=True))
    if low == high:
        return "0" if low == "+0.00" else low
    return f"{low} to {high}"


# --- Policies ------------------------------------------------------------------------------------


def _policies_short(review: Review) -> str:
    if review.after is None:
        return "nothing is left to judge."
    new, gone, _ = _judged(review)
    bad = sum(finding.level == "mandatory" for finding in review.after.findings)
    told = [_count(len(new), "new finding") if new else "no new finding"]
    told += [f"{len(gone)} of before gone"] if gone else []
    told += (
        [f"{bad} mandatory, which stop {code('crm up')} before it touches anything"] if bad else []
    )
    return f"{', '.join(told)}."


def _policies(review: Review) -> Iterator[Block]:
    new, gone, stay = _judged(review)
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


def _judged(review: Review) -> tuple[list[Finding], list[Finding], list[Finding]]:
    before = review.before.findings if review.before else ()
    after = review.after.findings if review.after else ()
    new = [finding for finding in after if finding not in before]
    gone = [finding for finding in before if finding not in after]
    return new, gone, [finding for finding in after if finding in before]


# --- Resources and files -------------------------------------------------------------------------


def _resources(review: Review) -> Iterator[Block]:
    changes = _changes(review.steps)
    if not changes:
        return
    target = (review.after or review.before or _no_side()).target
    yield Heading(2, f"Resources on {target}")
    counts = {op: sum(step.op == op for step in review.steps.all) for op in (*_OPS, "same")}
    told = [f"{counts[op]} {word}" for op, (word, _) in _OPS.items()]
    yield Paragraph(f"{', '.join(told)}, {counts['same']} unchanged.")
    rows = [
        (_OPS[s.op][1], s.kind, code(s.name), ", ".join(map(code, s.changed[:4])) or "–")
        for s in changes
    ]
    table = Table(("it is", "kind", "name", "because of"), tuple(rows[:_ROWS]))
    more = [Paragraph(f"{len(rows) - _ROWS} more are not shown.")] if len(rows) > _ROWS else []
    yield Folded("Each of them", (table, *more))


def _changes(steps: Steps) -> list[Step]:
    order = list(_OPS)
    found = [step for step in steps.all if step.op in _OPS]
    return sorted(found, key=lambda s: (order.index(s.op), s.workload, s.kind, s.name))


def _files(review: Review) -> Iterator[Block]:
    before = review.before.files if review.before else {}
    after = review.after.files if review.after else {}
    changed = diffs.changed(before, after)
    if not changed:
        return
    yield Heading(2, "Rendered files")
    yield Paragraph(
        "What the services will read, as it is made of the stack file and the templates. "
        f"Of {_count(len({*before, *after}), 'file')}, {len(changed)} will be other than before. "
        f"Long ones are shortened; all of it is shown by {code(f'crm render {review.stack} -o DIR')}"
        " on both sides, and a diff of the two folders."
    )
    yield from diffs.blocks(before, after)


# --- Words ---------------------------------------------------------------------------------------


def _pairs(review: Review) -> Iterator[tuple[str, Size | None, Size | None]]:
    before = {s.name: s for s in (review.before.sizes if review.before else ())}
    after = {s.name: s for s in (review.after.sizes if review.after else ())}
    for name in effects.in_order({**after, **before}):
        yield name, before.get(name), after.get(name)


def _many(size: Size) -> str:
    return str(size.most) if size.least == size.most else f"{size.least}–{size.most}"


def _each(size: Size) -> str:
    text = f"{size.cpus:g} CPU, {size.memory_mib} MiB"
    return f"{text}, {size.storage_gib} GiB" if size.storage_gib else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(code, names))


def _no_side() -> Side:
    raise AssertionError("a review has at least one side")
