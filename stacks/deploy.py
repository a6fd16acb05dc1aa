"""The verbs that drive an engine: preview, up, refresh, destroy, outputs.

Progress goes to standard error, so that ``--json`` leaves one JSON object on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

from stacks import (
    engines,
    images,
    plan,
    policy_gate,
    render,
    shards_command,
    stack_file,
    tiers,
)
from stacks.errors import CrmError
from stacks.paths import ROOT, stack_file_name
from stacks.plan import Plan
from stacks.results import Event, Result

_SHOWN = ("create", "update", "replace", "delete")
# What only groups other resources, or is the stack itself.
_QUIET = ("pulumi:pulumi:", "crm:")
# A kubelet's words for an image that it does not get.
_CANNOT_PULL = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable")


def run(verb: str, stack: str, *, engine: str, as_json: bool, yes: bool, delete_data: bool) -> int:
    """Carry out ``verb``; 0 when it succeeded. Asks before it changes, where there is a person.

    Raises ``CrmError`` for what is refused; with ``as_json`` the object says so as well.
    """
    began = time.monotonic()
    try:
        notes = _prepare(stack, pull=verb == "up") if verb in ("preview", "up") else {}
        progress = _Progress()
        if verb == "refresh":
            engines.refuse_undeployed(stack)
        opened = engines.open_engine(stack, engine, progress)
        if verb in ("refresh", "destroy"):
            _find_target(stack)
        result = _decide(opened, verb, stack, progress, yes=yes, delete_data=delete_data)
    except CrmError as error:
        if as_json:
            seconds = time.monotonic() - began
            print(_json(_document(Result("failed", seconds=seconds, message=str(error)))))
        raise
    if verb == "destroy":
        result = replace(result, outputs={})
    if any(word in result.message for word in _CANNOT_PULL):
        result = replace(result, message=f"{result.message}; {_how_to_get_images(stack)}")
    if as_json:
        print(_json(_document(result)))
    else:
        _print(verb, result, notes)
    if result.result != "succeeded" and not as_json:
        print(f"error: {result.message}", file=sys.stderr)
    return 0 if result.result == "succeeded" else 1


def outputs(stack: str, *, engine: str, as_json: bool) -> int:
    """Print what the stack offers. Raises ``CrmError`` when it was never deployed."""
    engines.refuse_undeployed(stack)
    found = engines.open_engine(stack, engine, _Progress()).outputs()
    if as_json:
        print(_json(found))
    else:
        for key, value in sorted(found.items()):
            print(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return 0


def _prepare(stack: str, *, pull: bool) -> dict[str, str]:
    """Refuse what cannot work before anything is touched, then see to the images.

    Returns what a person should know of the plan.
    """
    from stacks.targets import choice

    spec = stack_file.load(stack)
    planned = plan.make(stack, spec)
    files = render.Renderer().tree(planned)
    workloads = tiers.workloads(planned, files, images.app_reference(ROOT))
    _refuse_another_target(planned)
    shards_command.refuse_another_map(planned)
    choice.check(planned, workloads)
    # A cluster's nodes get their images by themselves: `crm images push` brings them in reach.
    if pull and planned.target == "docker":
        # Images may take minutes: not for what the plan would deny.
        policy_gate.check(planned, spec.policies)
        for reference in dict.fromkeys(workload.image for workload in workloads):
            images.ensure(reference, _say)
    return {"connections to each shard": plan.connection_budget(planned)}


def _refuse_another_target(planned: Plan) -> None:
    stack, there = planned.stack, engines.target_of(planned.stack)
    if there not in (None, planned.target):
        raise CrmError(
            f"{stack_file_name(stack)}: crm:target: {stack} is deployed with target {there}, and "
            "its data does not move along; deploy a copy of the stack file under another name, "
            f"or write {there} again and run: crm destroy {stack} --delete-data"
        )


def _how_to_get_images(stack: str) -> str:
    if plan.make(stack, stack_file.load(stack)).registry is None:
        return (
            "nodes that were not given an image by hand must pull it: write crm:images.registry "
            f"in {stack_file_name(stack)}, then run: crm images push {stack}"
        )
    return (
        f"is it in the registry? put it there with: crm images push {stack}; a registry that "
        "wants credentials gets them by crm:images.pull_secret"
    )


def _find_target(stack: str) -> None:
    """Raise ``CrmError`` when the machine or the cluster is away: a run that stops at its first
    step has begun."""
    from stacks.targets import choice

    there = engines.target_of(stack)
    planned = plan.make(stack, stack_file.load(stack))
    choice.find(there or planned.target, planned.kubernetes.context)


def _decide(
    engine: engines.Engine,
    verb: str,
    stack: str,
    progress: _Progress,
    *,
    yes: bool,
    delete_data: bool,
) -> Result:
    """Plan, show the plan and ask where that is due, then do it.

    ``up`` is always planned first: what the plan refuses is refused before anything is touched.
    """
    person = sys.stdin.isatty()
    asks = not yes and (person or verb in ("refresh", "destroy"))
    if asks or verb in ("preview", "up"):
        progress.planning, progress.silent = True, not (asks or verb == "preview")
        shown = _plan(engine, verb, delete_data)
        progress.planning = progress.silent = False
        if verb == "preview" or shown.result != "succeeded":
            return shown
    if asks:
        for line in shown.drift:
            _say(f"drift: {line}")
        _say(_counts(shown))
        if verb == "destroy":
            _ask_to_destroy(stack, person, delete_data)
        elif person and any(shown.changes[op] for op in _SHOWN):
            _ask(f"Carry this out on {stack}?", "y")
    if verb == "up":
        return engine.up()
    if verb == "refresh":
        return engine.refresh()
    return engine.destroy(delete_data=delete_data)


def _plan(engine: engines.Engine, verb: str, delete_data: bool) -> Result:
    if verb == "refresh":
        return engine.refresh(preview_only=True)
    if verb == "destroy":
        return engine.destroy(delete_data=delete_data, preview_only=True)
    return engine.preview()


def _ask_to_destroy(stack: str, person: bool, delete_data: bool) -> None:
    if not person:
        raise CrmError(
            f"crm destroy {stack}: this is what would go; to do it without being asked, add --yes"
        )
    if delete_data:
        _ask(f"This deletes the data of {stack} for good. Type its name to go on:", stack)
    else:
        _ask(f"Destroy {stack}? Its data volumes and credentials are kept.", "y")


def _ask(question: str, right: str) -> None:
    hint = f" [{right}/N] " if right == "y" else " "
    # Not input(): it would put the question into what --json leaves on standard output.
    print(question + hint, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != right:
        raise CrmError("nothing was changed")


class _Progress:
    """A line for each resource that changes, as it begins and as it ends.

    While ``planning`` nothing is done, so there is one line for each, and no time.
    """

    def __init__(self) -> None:
        self.planning = False
        self.silent = False

    def __call__(self, event: Event) -> None:
        if self.silent or event.op not in _SHOWN or event.type.startswith(_QUIET):
            return
        what = f"  {event.op:<8} {event.type.rpartition(':')[2].lower()} {event.name}"
        detail = f" ({event.detail})" if event.detail else ""
        if event.status == "begin":
            _say(what + detail if self.planning else f"{what}{detail} …")
        elif event.status == "waiting":
            _say(f"{what}: waiting for {event.detail}")
        elif not self.planning:
            mark = "failed" if event.status == "failed" else "done"
            _say(f"{what} {mark} in {event.seconds:.1f} s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _counts(result: Result) -> str:
    return ", ".join(f"{number} {op}" for op, number in sorted(result.changes.items()))


def _json(document: dict[str, object]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, default=str)


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


def _print(verb: str, result: Result, notes: dict[str, str]) -> None:
    for line in result.drift:
        print(f"drift: {line}")
    print(f"{verb}: {result.result} in {result.seconds:.1f} s ({_counts(result)})")
    for key, value in sorted({**result.outputs, **notes}.items()):
        print(f"  {key}: {value if isinstance(value, str) else json.dumps(value)}")
