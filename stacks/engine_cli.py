"""The Pulumi CLI, driven through Pulumi's own Automation API.

The stack file in git is never written: the CLI works on a copy in ``.crm/``, where it also keeps
the salt of its encryption. What a killed run left behind (its lock, a pending operation, a
container it had made but not recorded) is put right before the next one starts.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pulumi import automation
from pulumi.automation import CommandError, EngineEvent

from stacks import engine_cli_recovery as recovery
from stacks.paths import LOCAL, ROOT
from stacks.results import CHANGES, Event, Result

_OPS = {
    "create": "create",
    "create-replacement": "replace",
    "update": "update",
    "delete": "delete",
    "same": "same",
    "refresh": "refresh",
    "read": "same",
}
_JUDGED: dict[str, Any] = {"policy_packs": [str(ROOT / "policies")]}
_SALT = re.compile(r"^encryptionsalt: .*$", re.MULTILINE)


class CliEngine:
    """Runs ``pulumi preview / up / refresh / destroy`` for one stack."""

    def __init__(
        self,
        stack: str,
        stack_file: Path,
        backend: str,
        passphrase: str,
        on_event: Callable[[Event], None],
        reasons: Callable[[str], list[str]] = lambda _stack: [],
    ) -> None:
        self._name = stack
        self._stack_file = stack_file
        self._config = LOCAL / "config" / stack_file.name
        self._owed = self._config.with_suffix(".unprotected")
        self._on_event = on_event
        self._reasons = reasons
        self._started: dict[str, float] = {}
        self._messages: list[str] = []
        self._changes = dict.fromkeys(CHANGES, 0)
        self._drift: dict[str, str] | None = None
        # The program and its dynamic resources run by the `python` on PATH: this one.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {
            "PULUMI_BACKEND_URL": backend,
            "PULUMI_CONFIG_PASSPHRASE": passphrase,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PATH": path,
        }

    # --- The verbs -------------------------------------------------------------------------------

    def preview(self) -> Result:
        """What ``up`` would do; nothing is changed."""
        return self._run(lambda stack, options: stack.preview(**options, **_JUDGED), planning=True)

    def up(self) -> Result:
        """Make the stack what its file says, after putting right what a killed run left."""
        return self._run(lambda stack, options: stack.up(**options, **_JUDGED), recover=True)

    def refresh(self, *, preview_only: bool = False) -> Result:
        """Compare the state with what really runs, and correct the state."""
        self._drift = {}
        if preview_only:
            return self._run(lambda stack, options: stack.preview_refresh(**options), planning=True)
        return self._run(lambda stack, options: stack.refresh(**options), recover=True)

    def destroy(self, *, delete_data: bool = False, preview_only: bool = False) -> Result:
        """Remove what the stack runs; data and the secrets that open it only when asked."""
        if preview_only:
            return self._run(
                lambda stack, options: stack.preview_destroy(
                    exclude_protected=not delete_data, **options
                ),
                planning=True,
            )

        def work(stack: automation.Stack, options: dict[str, Any]) -> None:
            with recovery.unprotected(stack, self._owed) if delete_data else nullcontext():
                stack.destroy(exclude_protected=not delete_data, **options)

        return self._run(work, recover=True)

    def outputs(self, *, show_secrets: bool = False) -> dict[str, object]:
        """What the program exported when it last ran."""
        return {
            key: "[secret]" if output.secret and not show_secrets else output.value
            for key, output in sorted(self._stack().outputs().items())
        }

    # --- How a run goes --------------------------------------------------------------------------

    def _run(
        self,
        verb: Callable[[automation.Stack, dict[str, Any]], Any],
        *,
        planning: bool = False,
        recover: bool = False,
    ) -> Result:
        began = time.monotonic()
        self._messages.clear()
        try:
            stack = self._stack()
            if recover:
                recovery.recover(self._environment["PULUMI_BACKEND_URL"], stack)
                recovery.protect_again(stack, self._owed)
            verb(stack, {"on_event": self._receive, "config_file": str(self._config)})
            failed = ""
        except CommandError as error:
            failed = " ".join(dict.fromkeys(self._messages)) or _last_words(str(error))
            if recover:
                failed = "; ".join([failed, *self._reasons(self._name)])
        return Result(
            result="failed" if failed else "succeeded",
            changes=dict(self._changes),
            outputs={} if planning or failed else self.outputs(),
            seconds=round(time.monotonic() - began, 3),
            message=failed,
            drift=tuple(text for _, text in sorted((self._drift or {}).items())),
        )

    def _stack(self) -> automation.Stack:
        workspace = automation.LocalWorkspace(work_dir=str(ROOT), env_vars=dict(self._environment))
        self._copy_config()
        recovery.mend(self._environment["PULUMI_BACKEND_URL"], self._name)
        try:
            stack = automation.Stack.select(self._name, workspace)
        except automation.StackNotFoundError:
            stack = self._create(workspace)
        return stack

    def _create(self, workspace: automation.LocalWorkspace) -> automation.Stack:
        """Make the stack. ``stack init`` writes its salt into the stack file; it goes back."""
        before = self._stack_file.read_bytes()
        try:
            stack = automation.Stack.create(self._name, workspace)
            salt = _SALT.search(self._stack_file.read_text(encoding="utf-8"))
        finally:
            if self._stack_file.read_bytes() != before:
                self._stack_file.write_bytes(before)
        self._copy_config(salt[0] if salt else "")
        return stack

    def _copy_config(self, salt: str = "") -> None:
        text = self._stack_file.read_text(encoding="utf-8")
        if not _SALT.search(text):
            if not salt and self._config.exists():
                kept = _SALT.search(self._config.read_text(encoding="utf-8"))
                salt = kept[0] if kept else ""
            text = f"{text.rstrip()}\n{salt}\n" if salt else text
        self._config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.write_text(text, encoding="utf-8")

    def _receive(self, event: EngineEvent) -> None:
        """Turn Pulumi's events into ours."""
        if event.diagnostic_event is not None:
            if event.diagnostic_event.severity == "error":
                self._messages += _sentences(event.diagnostic_event.message)
        elif event.policy_event is not None:
            found = event.policy_event
            said = " ".join(_sentences(found.message))
            line = f"{found.policy_name} ({found.enforcement_level}): {said}"
            if found.enforcement_level == "mandatory":
                self._messages.append(line)
            else:
                print(f"policy {line}", file=sys.stderr, flush=True)
        elif event.resource_pre_event is not None:
            self._report(event.resource_pre_event.metadata, "begin")
        elif event.res_outputs_event is not None:
            self._report(event.res_outputs_event.metadata, "done")
        elif event.res_op_failed_event is not None:
            self._report(event.res_op_failed_event.metadata, "failed")
        elif event.summary_event is not None:
            self._changes = count(event.summary_event.resource_changes)

    def _report(self, step: Any, status: str) -> None:
        op = _OPS.get(str(getattr(step.op, "value", step.op)))
        if op is None or str(step.type).startswith("pulumi:providers:"):
            return
        urn = str(step.urn)
        began = self._started.setdefault(urn, time.monotonic())
        if status != "begin":
            self._started.pop(urn, None)
        if self._drift is not None and status == "done" and op in ("update", "delete"):
            what = (
                "is gone" if op == "delete" else f"differs ({', '.join(sorted(step.diffs or ()))})"
            )
            self._drift[urn] = f"{step.type} {urn.rpartition('::')[2]}: {what}"
        self._on_event(
            Event(
                urn=urn,
                type=str(step.type),
                name=urn.rpartition("::")[2],
                op=op,
                status=status,
                seconds=round(time.monotonic() - began, 3) if status != "begin" else 0.0,
                detail=", ".join(sorted(step.diffs or ())),
            )
        )


def count(changes: Mapping[Any, int]) -> dict[str, int]:
    """Pulumi's counts under our five names."""
    total = dict.fromkeys(CHANGES, 0)
    for op, number in changes.items():
        name = str(getattr(op, "value", op))
        if name in total:
            total[name] += int(number)
    return total


def _sentences(message: str) -> list[str]:
    """The lines of an error that tell a person something."""
    noise = ("an unhandled error occurred", "update failed", "preview failed")
    lines = [re.sub(r"<\{%.*?%\}>", "", line).strip() for line in message.splitlines()]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        # A dynamic resource's error comes with its traceback; its last line is what it said.
        lines = [next(line for line in reversed(lines) if line)]
    return [
        line.removeprefix("error: ").removeprefix("stacks.errors.CrmError: ")
        for line in lines
        if line and not any(word in line for word in noise)
    ]


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "error:" in line]
    return " ".join(dict.fromkeys(lines)) or text.strip().splitlines()[-1]
