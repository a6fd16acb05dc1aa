"""Turns what a program registers, and what it no longer does, into steps.

The rules are Pulumi's (pkg/resource/deploy/step_generator.go), for the options we use. A resource
that has to go before its successor comes takes along those whose inputs name one of its outputs,
if any change replaces them; ``dependsOn`` alone takes nothing along. What has been replaced, or no
longer is registered, goes last, and nothing goes before what needs it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from stacks.embedded.state import Resource, State
from stacks.errors import CrmError
from stacks.pulumi_state.files import PROJECT, now
from stacks.pulumi_state.values import Properties, changed_names, hide, hide_like
from stacks.results import CHANGES, Event, OnEvent


@dataclass(frozen=True)
class Diff:
    """What separates a resource from its successor."""

    changed: list[str]
    replace: bool = False
    delete_first: bool = False  # the old one goes first, unless the program says otherwise
    clash: bool = False  # the two cannot exist together, whatever the program says
    gone: bool = False  # the old one was removed behind our back


class Handler(Protocol):
    """Makes and removes resources of one kind; what it raises fails the step."""

    replaces_on_change: bool
    mends: bool  # an update is all it takes after drift, or after one that failed half way

    def check(self, new: Resource, old: Resource | None) -> Properties:
        """The inputs as it wants them; raises ``CrmError`` for those it does not."""

    def diff(self, old: Resource, new: Resource) -> Diff: ...
    def create(self, new: Resource) -> tuple[str, Properties]: ...
    def update(self, old: Resource, new: Resource) -> Properties: ...
    def delete(self, old: Resource) -> None: ...
    def read(self, old: Resource) -> tuple[Properties, str] | None:
        """The outputs and how it drifted (empty: it did not); None when it is gone."""


@dataclass
class Deployment:
    """One run over one state; without ``save``, which follows each change, a preview.

    Its methods may be called from several threads at once.
    """

    state: State
    handler_of: Callable[[Resource, State], Handler]
    on_event: OnEvent
    save: Callable[[], None] | None
    failure: str = ""

    def __post_init__(self) -> None:
        self.changes = dict.fromkeys(CHANGES, 0)
        self.is_preview, self.is_first = self.save is None, not self.state.earlier
        self._save = self.save or (lambda: None)
        self._lock = threading.RLock()
        self._clearing = threading.Lock()
        self._begun: set[str] = set()
        self._replaced: set[str] = set()

    def stop(self, reason: str) -> None:
        """No step begins any more; those that did are finished."""
        self.failure = self.failure or reason

    def provider(self, kind: str, name: str, inputs: Properties, parent: str = "") -> Resource:
        """A provider, recorded as the CLI does; the program's own ones have a ``parent``."""
        urn = f"urn:pulumi:{self.state.stack}::{PROJECT}::{kind}::{name}"
        with self._lock:
            if urn not in self.state.registered:
                old = self.state.find(urn)
                provider = Resource(urn=urn, custom=True, type=kind, inputs=inputs, parent=parent)
                provider.id, provider.outputs = old.id if old else str(uuid4()), inputs
                self.state.register(provider)
            return self.state.registered[urn]

    def register(self, new: Resource, delete_first: bool | None = None) -> Resource:
        """Brings ``new`` about and returns it with its id and outputs, in a preview with those
        that are known by then."""
        with self._lock:
            if new.urn in self._begun:
                raise CrmError(f"{new.label}: registered twice; give one of them another name")
            self._begun.add(new.urn)
            old = self.state.find(new.urn)
        if not new.is_managed:
            changed = changed_names(old.inputs, new.inputs) if old else []
            return self._bring("update" if changed else "same" if old else "create", new, old)
        handler = self.handler_of(new, self.state)
        new.inputs = handler.check(new, old)
        if old is None or old.pending_replacement:
            return self._bring("replace" if old else "create", new, None, handler)
        diff = handler.diff(old, new)
        if diff.gone and old.protect:
            hint = f"to go on without what it held: crm refresh {self.state.stack}"
            raise CrmError(f"{new.label}: {old.id} is protected, but not there any more; {hint}")
        if diff.gone:
            return self._bring("create", new, None, handler)
        is_mended = old.taint and handler.mends
        if diff.replace or (old.taint and not is_mended):
            first = diff.clash or (diff.delete_first if delete_first is None else delete_first)
            self._clear(old, diff.changed, first)
            return self._bring("replace", new, None, handler, diff.changed, keep_old=not first)
        op = "update" if diff.changed or is_mended else "same"
        return self._bring(op, new, old, handler, diff.changed)

    def delete(self, targets: Iterable[Resource], *, protected: bool = False) -> None:
        """Deletes ``targets``, each after those of them that need it, where possible at once.

        ``protected`` ones must be asked for: what is left of them stays protected.
        """
        left = list(targets)
        if kept := ", ".join(r.label for r in left if r.protect and not (r.delete or protected)):
            hint = f"to give up its data: crm destroy {self.state.stack} --delete-data"
            raise CrmError(f"{kept}: protected; put it back into the stack file, or, {hint}")
        with ThreadPoolExecutor(max_workers=8) as pool:
            while left:
                needed = {urn for r in left for urn in r.needs}
                list(pool.map(self._delete, [r for r in left if r.urn not in needed]))
                left = [r for r in left if r.urn in needed]

    def refresh(self, old: Resource) -> str:
        """Compares ``old`` with what exists and notes it; says how it drifted, or nothing."""
        try:
            found = None if old.pending_replacement else self.handler_of(old, self.state).read(old)
        except Exception as error:
            raise CrmError(f"{old.label}: refresh failed: {error}") from error
        drift = "gone" if found is None else found[1]
        if found is None:
            self.state.remove(old)
        else:
            # What is updated in place may still be half done, whatever reading it says.
            half_done = old.taint and not self.handler_of(old, self.state).replaces_on_change
            old.outputs, old.taint = found[0], bool(drift) or half_done
        self.tell(old, "refresh", "done", 0.0, drift)
        return f"{old.label}: {drift}" if drift else ""

    def sweep(self, name: str, remove: Callable[[], None]) -> None:
        """Removes what a killed run made and did not record."""
        with self._step(Resource(urn=f"::{name}", custom=False, type=":Stray"), "delete"):
            remove()

    def _bring(
        self,
        op: str,
        new: Resource,
        old: Resource | None,
        handler: Handler | None = None,
        changed: Iterable[str] = (),
        *,
        keep_old: bool = False,
    ) -> Resource:
        with self._step(new, op, ", ".join(changed)):
            if op == "same" or handler is None:
                new.id, new.outputs = (old.id, old.outputs) if old else ("", {})
            elif self.is_preview:
                new.id, new.outputs = old.id if old else "", new.inputs
            elif old is not None:
                with self._lock:
                    old.taint = True  # what an update leaves half done is made anew
                    self._save()
                new.id, new.outputs = old.id, handler.update(old, new)
            else:
                new.id, new.outputs = handler.create(new)
            secret = dict.fromkeys(new.additional_secret_outputs, hide(None))
            new.outputs = hide_like(new.outputs, secret)
            new.modified = old.modified if old and op == "same" else now()
            new.created = old.created if old else new.modified
            with self._lock:
                self.state.register(new, keep_old=keep_old)
        return new

    def _clear(self, old: Resource, changed: list[str], delete_first: bool) -> None:
        with self._clearing:  # One at a time: what two of them take along must go once.
            leaving = self._taken_along(old) if delete_first else [old]
            if kept := ", ".join(r.label for r in leaving if r.protect):
                why = f"{', '.join(changed) or 'its drift'} would replace the protected {kept}"
                raise CrmError(f"{old.label}: {why}; change it back")
            self._replaced |= {r.urn for r in leaving}
            for resource in reversed(leaving) if delete_first else ():
                if not resource.pending_replacement:
                    self._delete(resource, pending=True)

    def _taken_along(self, root: Resource) -> list[Resource]:
        taken, urns = [root], {root.urn}
        with self._lock:
            earlier = [r for r in self.state.earlier if r.is_managed and not r.delete]
        for r in earlier:
            named = {urn for needed in r.property_dependencies.values() for urn in needed}
            if named & urns and self.handler_of(r, self.state).replaces_on_change:
                taken.append(r)
                urns.add(r.urn)
        return taken

    def _delete(self, old: Resource, *, pending: bool = False) -> None:
        if old.pending_replacement or old.is_provider:
            with self._lock:
                self.state.remove(old)
            return
        with self._step(old, "delete"):
            if old.is_managed and not self.is_preview:
                with self._lock:
                    old.taint = not old.protect  # what a delete leaves half done is made anew
                    self._save()
                self.handler_of(old, self.state).delete(old)
            with self._lock:
                old.pending_replacement = pending
                if not pending:
                    self.state.remove(old)

    @contextmanager
    def _step(self, resource: Resource, op: str, detail: str = "") -> Iterator[None]:
        if self.failure:
            raise CrmError(self.failure)
        begun = time.monotonic()
        if op != "same":
            self.tell(resource, op, "begin", 0.0, detail)
        try:
            yield
        except Exception as error:
            self.stop(f"{resource.label}: {op} failed: {error}")
            self.tell(resource, op, "failed", time.monotonic() - begun, str(error))
            raise CrmError(self.failure) from error
        with self._lock:
            self.changes[op] += not (op == "delete" and resource.urn in self._replaced)
            if op != "same":
                self._save()
        self.tell(resource, op, "done", time.monotonic() - begun, detail)

    def tell(self, r: Resource, op: str, status: str, seconds: float, detail: str) -> None:
        """Passes on what happens to ``r``, one event at a time."""
        with self._lock:
            self.on_event(Event(r.urn, r.type, r.name, op, status, seconds, detail))
