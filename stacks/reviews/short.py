"""The page's first part: what people must know who read no further."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stacks import shard_map
from stacks.reviews import diffs, effects
from stacks.reviews.blocks import code, plain
from stacks.reviews.effects import Effect
from stacks.reviews.model import (
    Review,
    changes,
    count,
    difference,
    each,
    judged,
    listed,
    many,
    money,
    pairs,
    totals,
)
from stacks.reviews.side import Side, Size

_NAMED = 3
"""So many files are named in short."""


def facts(review: Review, happening: Sequence[Effect]) -> Iterator[tuple[str, str]]:
    """What is said in short, each with the word for it."""
    reason = refusal(review)
    if reason:
        yield "Cannot be deployed", f"{code('crm up')} will refuse it. {reason}"
    yield "What changes", _what(review)
    if review.before and review.after and not reason:
        yield "What runs", _runs(happening)
        yield "Interruption", _interruption(happening)
    yield "Data", _data(review, happening)
    yield "Cost", _cost_short(review)
    yield "Policies", _policies_short(review)


def refusal(review: Review) -> str:
    """Why ``crm up`` would refuse this change; empty where it would not."""
    before, after = review.before, review.after
    if after is None:
        return ""
    if before is not None and (reason := _misfit(before, after) or plain(review.steps.refusal)):
        return reason
    bad = sum(finding.level == "mandatory" for finding in after.findings)
    if bad == 0:
        return ""
    return f"Policies do not allow it: {count(bad, 'mandatory finding')}, see below."


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
            f"The database would have {count(len(will), 'shard')} in the place of {len(was)}: "
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
    found = [_resized(was, will) for _, was, will in pairs(review) if was != will]
    files = diffs.changed(before.files, after.files)
    others = {step.workload for step in review.steps.all if step.has_other_image}
    if others:
        found += [f"another image for {listed(effects.in_order(others))}"]
    if files:
        named = len(files) <= _NAMED
        found.append(f"rendered files: {listed(files) if named else len(files)}")
    if not found and not changes(review.steps):
        return "nothing of what runs, for this stack."
    return "; ".join(found or [count(len(changes(review.steps)), "resource")]) + "."


def _resized(was: Size | None, will: Size | None) -> str:
    if was is None or will is None:
        size, word = (will, "is new") if will else (was, "is removed")
        assert size is not None
        return f"{code(size.name)} {word} ({many(size)} × {each(size)})"
    found = []
    if many(was) != many(will):
        found.append(f"from {many(was)} to {many(will)} instances")
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
        f"Untouched: {listed([e.workload for e in rest])}." if rest else "All is touched."
    )


def _verb(verdict: str) -> str:
    is_participle = verdict.startswith(("restarted", "replaced", "removed", "new", "changed"))
    return f"is {verdict}" if is_participle else verdict


def _interruption(happening: Sequence[Effect]) -> str:
    away = [effect.workload for effect in happening if effect.is_away]
    if away:
        return f"yes, short: {listed(away)} must stop before starting again (see below)."
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
        return f"starts empty, on {count(len(new), 'new volume')}." if new else "is kept elsewhere."
    if refusal(review):
        return "not touched, since the change is refused."
    grown = [step.name for step in data if step.op == "update"]
    found = [f"new, empty volumes come: {listed(new)}."] if new else []
    found += [f"volumes change in place: {listed(grown)}."] if grown else []
    stay = "what is there is kept" if found else "kept"
    is_away = any(effect.workload == "database" and effect.is_away for effect in happening)
    if is_away:
        found.append(f"{stay}; the database starts again on the volumes it has.")
    else:
        found.append(f"{stay[:-4]}not touched.")
    if "mysql/schema.sql" in diffs.changed(review.before.files, review.after.files):
        found.append(
            "`mysql/schema.sql` changes the form of new tables; those that are there keep theirs."
        )
    return " ".join([found[0], *(text[0].upper() + text[1:] for text in found[1:])])


def _cost_short(review: Review) -> str:
    old, new = totals(review)
    currency = review.prices.currency
    if money(old) == money(new):
        return f"stays at {money(new)} {currency} a month, by the prices in `stacks/prices.yaml`."
    return (
        f"{money(old)} → {money(new)} {currency} a month ({difference(old, new)}), "
        "by the prices in `stacks/prices.yaml`."
    )


def _policies_short(review: Review) -> str:
    if review.after is None:
        return "nothing is left to judge."
    new, gone, _ = judged(review)
    bad = sum(finding.level == "mandatory" for finding in review.after.findings)
    told = [count(len(new), "new finding") if new else "no new finding"]
    told += [f"{len(gone)} of before gone"] if gone else []
    told += [f"{bad} mandatory in all"] if bad else []
    return f"{', '.join(told)}."
