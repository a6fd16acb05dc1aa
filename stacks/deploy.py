"""The verbs that drive an engine: preview, up, refresh, destroy, outputs.

Progress goes to standard error, so that ``--json`` leaves one JSON object on standard output.
"""

from __future__ import annotations

import json
import os
import sys

from stacks import engines, images, plan, render, stack_file, tiers
from stacks.results import Event, Result
from stacks.errors import CrmError
from stacks.paths import ROOT


def run(verb: str, stack: str, *, engine: str, as_json: bool, yes: bool, delete_data: bool) -> int:
    """Carry out ``verb``; 0 when it succeeded. Asks before it changes, where there is a person."""
    if verb in ("preview", "up"):
        _prepare(stack, pull=verb == "up")
    opened = engines.open_engine(stack, engine, _progress)
    result = _decide(opened, verb, stack, yes=yes, delete_data=delete_data)
    if as_json:
        print(json.dumps(_document(result), indent=2, sort_keys=True, default=str))
    else:
        _print(verb, result)
    if result.result != "succeeded" and not as_json:
        print(f"error: {result.message}", file=sys.stderr)
    return 0 if result.result == "succeeded" else 1


def outputs(stack: str, *, engine: str, as_json: bool) -> int:
    """Print what the stack offers. Raises ``CrmError`` when it was never deployed."""
    if (
        engine == "auto"
        and engines.maker_of(stack) is None
        and not os.environ.get("PULUMI_BACKEND_URL")
    ):
        stack_file.find(stack)
        raise CrmError(f"{stack}: not deployed yet; run: crm up {stack}")
    found = engines.open_engine(stack, engine, _progress).outputs()
    if as_json:
        print(json.dumps(found, indent=2, sort_keys=True, default=str))
    else:
        for key, value in sorted(found.items()):
            print(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return 0


def _prepare(stack: str, *, pull: bool) -> None:
    """Refuse what cannot work before anything is touched, then see to the images."""
    from stacks.targets import docker_checks

    planned = plan.make(stack, stack_file.load(stack))
    files = render.Renderer().tree(planned)
    workloads = tiers.workloads(planned, files, images.app_reference(ROOT))
    docker_checks.check(stack, workloads)
    if pull:
        for reference in dict.fromkeys(workload.image for workload in workloads):
            images.ensure(reference, _say)


def _decide(
    engine: engines.Engine, verb: str, stack: str, *, yes: bool, delete_data: bool
) -> Result:
    """Show the plan and ask where that is due, then do it."""
    if verb == "preview":
        return engine.preview()
    if verb == "up":
        if not yes and sys.stdin.isatty():
            shown = engine.preview()
            if shown.result != "succeeded":
                return shown
            _say(_counts(shown))
            if not any(shown.changes[op] for op in shown.changes if op != "same"):
                return engine.up()
            _ask(f"Carry this out on {stack}?", "y")
        return engine.up()
    if verb == "refresh":
        if not yes:
            shown = engine.refresh(preview_only=True)
            if shown.result != "succeeded" or not (shown.drift or sys.stdin.isatty()):
                return shown
            for line in shown.drift:
                _say(f"drift: {line}")
            if sys.stdin.isatty() and shown.drift:
                _ask("Take this into the state?", "y")
        return engine.refresh()
    if not yes:
        shown = engine.destroy(delete_data=delete_data, preview_only=True)
        if shown.result != "succeeded":
            return shown
        _say(_counts(shown))
        if not sys.stdin.isatty():
            raise CrmError(
                f"crm destroy {stack}: this is what would go; to do it without being asked, "
                "add --yes"
            )
        if delete_data:
            _ask(f"This deletes the data of {stack} for good. Type its name to go on:", stack)
        else:
            _ask(f"Destroy {stack}? Its data volumes and credentials are kept.", "y")
    return engine.destroy(delete_data=delete_data)


def _ask(question: str, right: str) -> None:
    hint = f" [{right}/N] " if right == "y" else " "
    answer = input(question + hint).strip()
    if answer != right:
        raise CrmError("nothing was changed")


def _progress(event: Event) -> None:
    if event.op == "same" or event.type == "pulumi:pulumi:Stack":
        return
    kind = event.type.rpartition(":")[2].lower()
    if event.status == "begin":
        if event.op in ("create", "replace", "delete", "update"):
            _say(f"  {event.op:<8} {kind} {event.name} …" + _detail(event))
    else:
        mark = "failed" if event.status == "failed" else "done"
        _say(f"  {event.op:<8} {kind} {event.name} {mark} in {event.seconds:.1f} s")


def _detail(event: Event) -> str:
    return f" ({event.detail})" if event.detail else ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _counts(result: Result) -> str:
    return ", ".join(f"{number} {op}" for op, number in sorted(result.changes.items()))


def _document(result: Result) -> dict[str, object]:
    document: dict[str, object] = {
        "result": result.result,
        "changes": result.changes,
        "outputs": result.outputs,
        "seconds": result.seconds,
    }
    if result.message:
        document["message"] = result.message
    if result.drift:
        document["drift"] = list(result.drift)
    return document


def _print(verb: str, result: Result) -> None:
    for line in result.drift:
        print(f"drift: {line}")
    print(f"{verb}: {result.result} in {result.seconds:.1f} s ({_counts(result)})")
    for key, value in sorted(result.outputs.items()):
        print(f"  {key}: {value if isinstance(value, str) else json.dumps(value)}")
