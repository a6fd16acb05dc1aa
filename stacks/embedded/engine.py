"""The embedded engine's verbs, one stack at a time, in this process.

A refusal before anything was touched (another engine's stack, another run, a wrong passphrase)
raises ``CrmError``; a run that began ends in a ``Result``, also when it failed.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from docker.errors import DockerException

from stacks.embedded import stackfile
from stacks.embedded.deployment import Deployment, Handler
from stacks.embedded.docker_handlers import Machine
from stacks.embedded.dynamic import DynamicHandler
from stacks.embedded.lock import run_lock
from stacks.embedded.monitor import Monitor, run_program
from stacks.embedded.result import OnEvent, Result
from stacks.embedded.state import ENGINE, Owner, Resource, State, load, owner
from stacks.embedded.store import Store
from stacks.embedded.values import redact, reveal
from stacks.errors import CrmError


class EmbeddedEngine:
    """Deploys one stack without the Pulumi CLI.

    ``backend`` is the folder that holds ``.pulumi``, ``stack_file`` the stack's own file,
    ``program`` the folder with ``__main__.py``. ``on_event`` is called from several threads, one
    at a time.
    """

    def __init__(
        self,
        stack: str,
        *,
        backend: Path,
        passphrase: str,
        stack_file: Path,
        program: Path,
        on_event: OnEvent,
    ) -> None:
        self._stack = stack
        self._store = Store(backend, stack)
        self._passphrase = passphrase
        self._stack_file = stack_file
        self._program = program
        self._on_event = on_event
        self._machine = Machine(stack)

    def owner(self) -> Owner:
        """Which engine the stack belongs to."""
        return owner(self._store)

    def preview(self) -> Result:
        """What ``up`` would do, without doing it."""
        return self._run(self._deploy, preview=True)

    def up(self) -> Result:
        """Makes what runs be what the program says."""
        return self._run(self._deploy, preview=False)

    def destroy(self, *, delete_data: bool = False, preview_only: bool = False) -> Result:
        """Deletes all but what is protected and what that needs; with ``delete_data`` that too."""

        def work(deployment: Deployment) -> None:
            kept: set[str] = set()
            for resource in reversed(list(deployment.state)):
                resource.protect = resource.protect and not delete_data
                if resource.protect or (resource.urn in kept and not resource.delete):
                    kept |= {resource.urn} | resource.needs
            deployment.delete(r for r in deployment.state if r.delete or r.urn not in kept)
            self._sweep(deployment, preview=preview_only)

        return self._run(work, preview=preview_only)

    def refresh(self, *, preview_only: bool = False) -> Result:
        """Compares the state with what exists; what drifted is replaced by the next ``up``."""
        drift: list[str] = []

        def work(deployment: Deployment) -> None:
            for resource in list(deployment.state):
                if resource.custom and not resource.is_provider:
                    drift.extend(deployment.refresh(resource))

        return self._run(work, preview=preview_only, drift=drift)

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """What the program exported last; secrets as ``[secret]`` unless asked for."""
        outputs = self._load()[0].stack_outputs()
        shown: dict[str, Any] = reveal(outputs) if show_secrets else redact(outputs)
        return shown

    def export(self) -> dict[str, Any]:
        """The checkpoint's document as it is on disk, secrets encrypted; empty without one."""
        return self._store.read() or {}

    def handover(self, to: Owner) -> None:
        """Gives the stack to the other engine, which from then on refuses it no more.

        Nothing that runs is touched. The next ``up`` may replace containers; never volumes,
        networks or credentials.
        """
        with run_lock(self._store.run_lock, self._stack):
            state, _ = self._load()
            if to == "embedded":
                self._refuse_cli_locks()
                handlers = self._handlers({})
                for resource in state:
                    if resource.custom and not resource.is_provider:
                        handlers(resource)
                self._store.claim()
                self._store.write(state.checkpoint(ENGINE))
            else:
                self._store.write(state.checkpoint(""))
                self._store.release()

    def _run(
        self,
        work: Callable[[Deployment], None],
        *,
        preview: bool,
        drift: list[str] | None = None,
    ) -> Result:
        begun = time.monotonic()
        guard = nullcontext() if preview else run_lock(self._store.run_lock, self._stack)
        with guard:
            self._refuse_other_engine()
            state, config = self._load()

            def save() -> None:
                self._store.write(state.checkpoint())

            if not preview:
                self._store.claim()
            deployment = Deployment(
                state, self._handlers(config[0]), self._on_event, None if preview else save
            )
            self._config = config
            message = ""
            try:
                with _signals(deployment):
                    work(deployment)
            except CrmError as error:
                message = deployment.failure or str(error)
            if not preview:
                if not any(r.custom and not r.is_provider for r in state) and message:
                    state.earlier, state.registered = [], {}
                save()
                if not list(state):
                    self._store.release()
        return Result(
            result="failed" if message else "succeeded",
            changes=deployment.changes,
            outputs=redact(state.stack_outputs()),
            seconds=time.monotonic() - begun,
            message=message,
            drift=tuple(drift or ()),
        )

    def _deploy(self, deployment: Deployment) -> None:
        preview = deployment.is_preview
        self._refuse_foreign_objects(deployment.state)
        values, secret = self._config
        monitor = Monitor(deployment, values, secret)
        run_program(self._program, monitor, self._stack, values, secret, preview=preview)
        if deployment.failure:
            raise CrmError(deployment.failure)
        deployment.delete(deployment.state.earlier)
        self._sweep(deployment, preview=preview)

    def _load(self) -> tuple[State, tuple[dict[str, str], list[str]]]:
        document = stackfile.read(self._stack_file)
        salt = document.get("encryptionsalt")
        state = load(self._store, self._stack, self._passphrase, salt)
        return state, stackfile.config(document, state.crypter)

    def _handlers(self, config: dict[str, str]) -> Callable[[Resource], Handler]:
        docker, dynamic = self._machine.handlers(), DynamicHandler(config)

        def handler(resource: Resource) -> Handler:
            if resource.type.startswith("pulumi-python:"):
                return dynamic
            if resource.type not in docker:
                raise CrmError(
                    f"{resource.type} {resource.name}: the embedded engine knows dynamic resources"
                    f" and {', '.join(docker)}; use --engine pulumi"
                )
            return docker[resource.type]

        return handler

    def _refuse_other_engine(self) -> None:
        if owner(self._store) == "pulumi":
            raise CrmError(
                f"stack {self._stack} was made by the Pulumi CLI; to go on with the embedded"
                f" engine: crm handover {self._stack} --to embedded"
            )
        self._refuse_cli_locks()

    def _refuse_cli_locks(self) -> None:
        locks = self._store.other_locks()
        if locks:
            raise CrmError(
                f"stack {self._stack} is locked by the Pulumi CLI ({locks[0]}); wait for it to end,"
                " or, if it was killed, remove that file"
            )

    def _refuse_foreign_objects(self, state: State) -> None:
        if list(state):
            return
        try:
            found = self._machine.belongings()
        except (CrmError, DockerException):
            return
        if found:
            raise CrmError(
                f"stack {self._stack} is not in {self._store.checkpoint}, but Docker has its"
                f" {found[0].name}: made by the other engine, or its state was lost."
                f" To take it over: crm handover {self._stack} --to embedded, where its state is"
            )

    def _sweep(self, deployment: Deployment, *, preview: bool) -> None:
        if any(r.type.startswith("docker:") for r in deployment.state) and not preview:
            for stray in self._machine.strays(r.id for r in deployment.state):
                deployment.sweep(stray.name, partial(self._machine.remove, stray, {}))


@contextmanager
def _signals(deployment: Deployment) -> Iterator[None]:
    def stop(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        deployment.stop(f"stopped by {name}; what was done is saved, run again to go on")
        signal.signal(number, signal.SIG_DFL)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
