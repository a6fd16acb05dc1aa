"""Turns what a program registers, and what it no longer does, into steps.

The rules are Pulumi's (pkg/resource/deploy/step_generator.go), for the options we use. A resource
that must go before its successor comes takes along those whose inputs name one of its outputs and
that any change replaces; ``dependsOn`` alone takes nothing along. What no longer is registered,
or has been replaced, goes last, and nothing goes before what needs it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from stacks.embedded.result import CHANGES, Event, OnEvent
from stacks.embedded.state import Resource, State
from stacks.embedded.store import PROJECT, now
from stacks.embedded.values import Properties, changed_names, hide_named
from stacks.errors import CrmError


@dataclass(frozen=True)
class Diff:
    """What separates a resource from its successor."""

    changed: list[str]
    replace: bool = False
    delete_first: bool = False
    """Whether the old one goes first unless the program says otherwise."""
    clash: bool = False
    """The two cannot exist together: the old one goes first whatever the program says."""
    gone: bool = False
    """The old one was removed behind our back."""


class Handler(Protocol):
    """Makes and removes resources of one kind. Errors it raises fail the step they occur in."""

    replaces_on_change: bool
    """Whether every changed input means a replacement."""

    def check(self, new: Resource, old: Resource | None) -> Properties: ...
    def diff(self, old: Resource, new: Resource) -> Diff: ...
    def create(self, new: Resource) -> tuple[str, Properties]: ...
    def update(self, old: Resource, new: Resource) -> Properties: ...
    def delete(self, old: Resource) -> None: ...
    def read(self, old: Resource) -> tuple[Properties, str] | None:
        """The outputs as they are and how they drifted (empty: not), or None: it is gone."""


class Deployment:
    """One run over one state. Its methods may be called from several threads at once."""

    def __init__(
        self,
        state: State,
        handlers: Callable[[Resource], Handler],
        on_event: OnEvent,
        save: Callable[[], None] | None,
    ) -> None:
        """``save`` is called after each change; without it, this is a preview."""
        self.state = state
        self.changes = dict.fromkeys(CHANGES, 0)
        self.failure = ""
        self._handlers = handlers
        self._on_event = on_event
        self._save = save
        self._lock = threading.RLock()
        self._begun: set[str] = set()
        self._replaced: set[str] = set()

    def stop(self, reason: str) -> None:
        """No step begins any more; those that did are finished."""
        self.failure = self.failure or reason

    def provider(self, package: str, name: str, inputs: Properties) -> str:
        """The reference to a default provider, which is recorded for the CLI's sake."""
        kind = f"pulumi:providers:{package}"
        urn = f"urn:pulumi:{self.state.stack}::{PROJECT}::{kind}::{name}"
        with self._lock:
            if urn not in self.state.registered:
                old = self.state.find(urn)
                known = old.id if old else str(uuid4())
                new = Resource(urn=urn, custom=True, id=known, type=kind, inputs=inputs)
                new.outputs, new.created, new.modified = inputs, now(), now()
                self.state.register(new)
            return f"{urn}::{self.state.registered[urn].id}"

    def register(self, new: Resource, delete_first: bool | None = None) -> Resource:
        """Brings ``new`` about and returns it with its id and outputs; in a preview, with those
        that are known by then."""
        with self._lock:
            if new.urn in self._begun:
                raise CrmError(f"{new.urn}: registered twice; give one of them another name")
            self._begun.add(new.urn)
            old = self.state.find(new.urn)
        if not new.custom:
            return self._register_component(new, old)
        handler = self._handlers(new)
        new.inputs = handler.check(new, old)
        if old is None or old.pending_replacement:
            return self._create(handler, new, "replace" if old else "create")
        diff = handler.diff(old, new)
        if diff.gone and old.protect:
            raise CrmError(
                f"{old.id} ({new.name}) is protected but not there any more; if what it held may"
                f" be lost: crm refresh {self.state.stack}"
            )
        if diff.gone:
            return self._create(handler, new, "create", "it was removed behind our back")
        if diff.replace or old.taint:
            first = diff.clash or (diff.delete_first if delete_first is None else delete_first)
            return self._replace(handler, old, new, first, ", ".join(diff.changed))
        if diff.changed:
            return self._update(handler, old, new, ", ".join(diff.changed))
        return self._same(old, new)

    @property
    def is_preview(self) -> bool:
        """Whether nothing is to be changed."""
        return self._save is None

    def refresh(self, old: Resource) -> list[str]:
        """Reads what ``old`` stands for; says how it drifted, and notes it in the state."""
        what = f"{old.type.rsplit(':', 1)[1]} {old.name}"
        found = None if old.pending_replacement else self._handlers(old).read(old)
        if found is None:
            self.state.remove(old)
            self._tell(old, "refresh", "done", detail="gone")
            return [f"{what}: gone"]
        outputs, drift = found
        old.outputs = hide_named(outputs, old.additional_secret_outputs)
        old.taint = bool(drift)
        self._tell(old, "refresh", "done", detail=drift)
        return [f"{what}: {drift}"] if drift else []

    def sweep(self, name: str, remove: Callable[[], None]) -> None:
        """Removes an object that a killed run left unrecorded."""
        stray = Resource(urn=f"::{name}", custom=False, type="crm:stray:Object")
        with self._step(stray, "delete", "left by a killed run"):
            remove()

    def outputs(self, urn: str, outputs: Properties) -> None:
        """What a component, or the program itself, says came out."""
        with self._lock:
            self.state.registered[urn].outputs = outputs

    def delete(self, targets: Iterable[Resource]) -> None:
        """Deletes ``targets``, each after those of them that need it, where possible at once."""
        left = list(targets)
        kept = [r for r in left if r.protect and not r.delete]
        if kept:
            names = ", ".join(f"{r.type.rsplit(':', 1)[1]} {r.name}" for r in kept)
            raise CrmError(
                f"{names}: protected, so not deleted; put it back into the stack file, or say"
                f" crm destroy {self.state.stack} --delete-data"
            )
        together = {r.urn for r in left}
        with ThreadPoolExecutor(max_workers=8) as pool:
            while left:
                needed = {urn for r in left for urn in r.needs - {r.urn}}
                wave = [r for r in left if r.urn not in needed] or left[-1:]
                list(pool.map(lambda r: self._delete(r, skip=r.deleted_with in together), wave))
                left = [r for r in left if r not in wave]

    def _register_component(self, new: Resource, old: Resource | None) -> Resource:
        if old is None:
            with self._step(new, "create"):
                self._record(new)
            return new
        changed = changed_names(old.inputs, new.inputs)
        if not changed:
            return self._same(old, new)
        with self._step(new, "update", ", ".join(changed)):
            new.outputs = old.outputs
            self._record(new, old)
        return new

    def _same(self, old: Resource, new: Resource) -> Resource:
        new.id, new.outputs = old.id, old.outputs
        new.created, new.modified = old.created, old.modified
        with self._lock:
            self.state.register(new)
            self.changes["same"] += 1
        self._tell(new, "same", "done")
        return new

    def _create(self, handler: Handler, new: Resource, op: str, detail: str = "") -> Resource:
        with self._step(new, op, detail):
            if self._save is None:
                new.outputs = new.inputs
            else:
                new.id, new.outputs = handler.create(new)
            self._record(new)
        return new

    def _update(self, handler: Handler, old: Resource, new: Resource, detail: str) -> Resource:
        with self._step(new, "update", detail):
            new.id = old.id
            new.outputs = new.inputs if self._save is None else handler.update(old, new)
            self._record(new, old)
        return new

    def _replace(
        self, handler: Handler, old: Resource, new: Resource, delete_first: bool, detail: str
    ) -> Resource:
        leaving = self._taken_along(old) if delete_first else [old]
        for resource in leaving:
            if resource.protect:
                raise CrmError(
                    f"{resource.type} {resource.name}: protected, but {detail or 'its state'} would"
                    " replace it and lose what it holds; change that back"
                )
        self._replaced |= {r.urn for r in leaving}
        if delete_first:
            for resource in reversed(leaving):
                self._delete(resource, pending=True)
            return self._create(handler, new, "replace", detail)
        with self._step(new, "replace", detail):
            if self._save is None:
                new.outputs = new.inputs
            else:
                new.id, new.outputs = handler.create(new)
            self._record(new, keep_old=True)
        return new

    def _taken_along(self, root: Resource) -> list[Resource]:
        taken, urns = [root], {root.urn}
        with self._lock:
            earlier = [r for r in self.state.earlier if r.custom and not r.delete]
        for r in earlier:
            named = {urn for needed in r.property_dependencies.values() for urn in needed}
            if named & urns and self._handlers(r).replaces_on_change:
                taken.append(r)
                urns.add(r.urn)
        return taken

    def _delete(self, old: Resource, *, skip: bool = False, pending: bool = False) -> None:
        if old.is_provider or old.pending_replacement:
            with self._lock:
                self.state.remove(old)
            return
        with self._step(old, "delete", count=old.urn not in self._replaced):
            if old.custom and not old.retain_on_delete and not skip and self._save is not None:
                self._handlers(old).delete(old)
            with self._lock:
                if pending:
                    old.pending_replacement = True
                else:
                    self.state.remove(old)

    def _record(self, new: Resource, old: Resource | None = None, keep_old: bool = False) -> None:
        new.modified = now()
        new.created = old.created if old else new.modified
        new.outputs = hide_named(new.outputs, new.additional_secret_outputs)
        with self._lock:
            self.state.register(new, keep_old=keep_old)

    @contextmanager
    def _step(
        self, resource: Resource, op: str, detail: str = "", *, count: bool = True
    ) -> Iterator[None]:
        if self.failure:
            raise CrmError(self.failure)
        begun = time.monotonic()
        self._tell(resource, op, "begin", 0.0, detail)
        try:
            yield
        except Exception as error:
            kind = resource.type.rsplit(":", 1)[1]
            self.stop(f"{kind} {resource.name}: {op} failed: {error}")
            self._tell(resource, op, "failed", time.monotonic() - begun, str(error))
            raise CrmError(self.failure) from error
        with self._lock:
            self.changes[op] += count
            if self._save is not None:
                self._save()
        self._tell(resource, op, "done", time.monotonic() - begun, detail)

    def _tell(
        self, r: Resource, op: str, status: str, seconds: float = 0.0, detail: str = ""
    ) -> None:
        with self._lock:
            self._on_event(Event(r.urn, r.type, r.name, op, status, seconds, detail))
