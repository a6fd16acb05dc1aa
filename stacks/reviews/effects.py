"""What the steps mean to people who use the stack: which part is restarted, which is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from stacks.reviews.steps import Step, Steps

_ABOUT = {
    "edge": "load balancer, where people come in",
    "app": "the CRM itself",
    "database": "MySQL, which keeps customers and orders",
    "schema": "job that makes tables, and ends",
    "partitions": "keeper of the tables' partitions",
    "backup": "backups of the database",
    "offsite": "copies of the backups in a bucket",
    "cache": "Redis, which keeps copies of answers",
}
_AWAY = {
    "edge": "Nobody gets in for the seconds until the new one listens.",
    "database": "Until each answers again, requests for its customers fail.",
    "cache": "Until it answers again, the database is asked instead.",
    "backup": "No backup is made meanwhile.",
    "offsite": "Nothing is copied to the bucket meanwhile; it catches up.",
    "partitions": "Partitions are looked after once it is back.",
}
"""What it means that an instance is stopped before its successor starts."""
_HELPERS = ("backup", "cache", "offsite", "partitions")
"""What requests are answered without."""
_DATA = {"database": " Each starts again on the data it has."}
_RUNS = ("Container", "Deployment", "StatefulSet")
_JOBS = ("Job", "CronJob")


class Effect(Struct, frozen=True):
    """What happens to one workload, in words: ``verdict`` in one or two, ``text`` in full.
    ``is_away`` says that it does not answer for a while."""

    workload: str
    about: str
    verdict: str
    text: str
    is_away: bool = False


def of(steps: Steps) -> list[Effect]:
    """One for each workload there was or will be, from the door inwards."""
    met = {step.workload for step in steps.all if step.workload}
    return [_effect(name, steps) for name in in_order(met)]


def in_order(workloads: Iterable[str]) -> list[str]:
    """From the door inwards; services of the stack's own stand behind the app."""
    places = {name: place for place, name in enumerate(_ABOUT)}
    return sorted(workloads, key=lambda name: (places.get(name, places["app"] + 0.5), name))


def _effect(name: str, steps: Steps) -> Effect:
    about = _ABOUT.get(name, "a part of the CRM")
    effect = _running(name, steps) or _job(name, steps) or _files(name, steps)
    verdict, text, is_away = effect or ("untouched", "Goes on as it is.", False)
    return Effect(name, about, verdict, text, is_away)


def _running(name: str, steps: Steps) -> tuple[str, str, bool] | None:
    runs = steps.of(name, *_RUNS)
    came = [s for s in runs if s.op == "create"]
    went = [s for s in runs if s.op == "delete"]
    first = _those(runs, _goes_first)
    beside = _those(runs, lambda s: (s.op == "replace" and not s.first) or _rolls(s, "Deployment"))
    if not (came or went or first or beside):
        return None
    if len(came) == len(runs):
        return "new", f"Starts: {_names(came)}.", False
    if len(went) == len(runs):
        return "removed", f"Stops for good: {_names(went)}.", False
    verdicts, texts = [], []
    if first:
        turn = ", one after the other" if len(first) > 1 else ""
        verdicts.append("restarted")
        away = _AWAY.get(name, "It is away until the new one has started.")
        texts.append(
            f"{_names(first)}: stopped, then started with what is new{turn}. {away}"
            f"{_DATA.get(name, '')}"
        )
    if beside:
        verdicts.append("replaced without a gap")
        which = "the new one" if len(beside) == 1 else "one after the other, each new one"
        texts.append(f"{_names(beside)}: {which} is ready before the old one stops.")
        texts += ["Requests go on being answered."] if name not in _HELPERS else []
    if came or went:
        verdicts.append("gets other instances" if came and went else "grows" if came else "shrinks")
    if came:
        texts.append(f"Starts: {_names(came)}.")
    if went:
        texts.append(f"Stops for good: {_names(went)}.")
    untouched = [s for s in runs if s not in (*came, *went, *first, *beside)]
    if untouched:
        texts.append(f"Untouched: {_names(untouched)}.")
    return ", ".join(verdicts), " ".join(texts), bool(first) and name not in _HELPERS


def _job(name: str, steps: Steps) -> tuple[str, str, bool] | None:
    ops = {s.op for s in steps.of(name, *_JOBS)}
    if not ops - {"same"}:
        return None
    if ops == {"delete"}:
        return "removed", "Does not run any more.", False
    if ops == {"create"} and not any(s.op == "delete" for s in steps.all if s.workload == name):
        return "new", "Runs once the database answers.", False
    if name != "schema":
        return "changed", "Runs as it is to be from its next time on.", False
    text = "It makes tables that are missing; one that is there keeps its form and its rows."
    return "runs again", text, False


def _files(name: str, steps: Steps) -> tuple[str, str, bool] | None:
    changed = {c for s in steps.of(name, "Files") if s.op == "update" for c in s.changed}
    if changed & {"files", "secrets"}:
        text = "Checks its new configuration, then takes it over as it runs; nobody is cut off."
        return "reloads", text, False
    others = [s for s in steps.all if s.workload == name and s.op != "same"]
    if others:
        return "goes on", f"Only what is around it changes: {_names(others)}.", False
    return None


def _goes_first(step: Step) -> bool:
    return (step.op == "replace" and step.first) or _rolls(step, "StatefulSet")


def _rolls(step: Step, kind: str) -> bool:
    """Whether a controller on a cluster is given other pods: of a StatefulSet the old one goes
    first, of a Deployment the new one comes first."""
    is_other = any(path.startswith("spec.template") for path in step.changed)
    return step.kind == kind and step.op == "update" and is_other


def _those(steps: Sequence[Step], wanted: Callable[[Step], bool]) -> list[Step]:
    return [step for step in steps if wanted(step)]


def _names(steps: Sequence[Step]) -> str:
    return ", ".join(f"`{name}`" for name in sorted({s.name for s in steps}, key=_natural))


def _natural(name: str) -> tuple[str, int]:
    """``app-10`` comes after ``app-9``."""
    stem, _, number = name.rpartition("-")
    return (stem, int(number)) if number.isdigit() else (name, 0)
