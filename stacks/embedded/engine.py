"""The embedded engine's verbs, one stack at a time, in this process.

A refusal before anything was touched (another engine's stack, another run, a wrong passphrase)
raises ``CrmError``; a run that began ends in a ``Result``, also when it failed.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from docker.errors import DockerException

from stacks.embedded.deployment import Deployment, Handler
from stacks.embedded.docker_handlers import DockerHandler
from stacks.embedded.dynamic import DynamicHandler
from stacks.embedded.kubernetes_handler import TYPES, KubernetesHandler
from stacks.embedded.monitor import Monitor, run_program
from stacks.embedded.state import MARK, Resource, State, is_pulumis, load
from stacks.errors import CrmError
from stacks.pulumi_state.files import Store
from stacks.pulumi_state.values import UNKNOWN, map_secrets, reveal
from stacks.results import OnEvent, Result
from stacks.targets import docker_host, kubernetes_host
from stacks.targets.docker_host import KINDS
from stacks.workload import STACK_LABEL


@dataclass
class EmbeddedEngine:
    """Deploys one stack without the Pulumi CLI.

    ``backend`` is the folder that holds ``.pulumi``, ``program`` one with ``__main__.py``.
    ``on_event`` is called from several threads, one at a time.
    """

    stack: str
    _: KW_ONLY
    backend: Path
    passphrase: str
    stack_file: Path
    program: Path
    on_event: OnEvent
    judge: Callable[[Deployment], AbstractContextManager[Any]] = nullcontext  # around the program

    def __post_init__(self) -> None:
        self._store = Store(self.backend, self.stack)
        self._docker = cache(docker_host.connect)

    def preview(self) -> Result:
        """What ``up`` would do, without doing it."""
        return self._run(self._deploy, preview=True)

    def up(self) -> Result:
        """Makes what runs be what the program says."""
        return self._run(self._deploy)

    def destroy(self, *, delete_data: bool = False, preview_only: bool = False) -> Result:
        """Deletes all but what is protected and what that needs; with ``delete_data`` that too."""

        def work(deployment: Deployment) -> None:
            kept: set[str] = set()
            for resource in reversed(list(deployment.state)):
                stays = resource.protect and not delete_data
                if stays or (resource.urn in kept and not resource.delete):
                    kept |= {resource.urn} | resource.needs
            self._sweep(deployment)
            leaving = [r for r in deployment.state if r.delete or r.urn not in kept]
            deployment.delete(leaving, protected=delete_data)

        return self._run(work, preview=preview_only)

    def refresh(self, *, preview_only: bool = False) -> Result:
        """Compares the state with what exists; what drifted is replaced by the next ``up``."""

        def work(deployment: Deployment) -> list[str]:
            managed = [resource for resource in deployment.state if resource.is_managed]
            return [drift for drift in map(deployment.refresh, managed) if drift]

        return self._run(work, preview=preview_only)

    def outputs(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """What the program exported last; secrets as ``[secret]`` unless asked for."""
        outputs = self._load().outputs()
        return reveal(outputs) if show_secrets else _redact(outputs)

    def handover(self, to: str) -> None:
        """Gives the stack to the other engine, ``pulumi`` or ``embedded``; touches nothing else.

        The next ``up`` may replace containers, never volumes, networks or credentials.
        """
        with self._store.locked():
            if (self._store.read().get("latest") or {}).get("pending_operations"):
                hint = f"first run: crm up {self.stack} --engine pulumi"
                raise CrmError(f"{self.stack}: the Pulumi CLI was killed in mid-step; {hint}")
            state = self._load()
            for resource in [resource for resource in state if resource.is_managed]:
                # Has the CLI read it first, and keep the outputs that it wants.
                resource.refresh_before_update = resource.type in KINDS and to == "pulumi"
            self._store.claim()
            self._store.write(state.checkpoint(MARK if to == "embedded" else ""))
            if to == "pulumi":
                self._store.release()

    def _run(
        self, work: Callable[[Deployment], list[str] | None], *, preview: bool = False
    ) -> Result:
        begun, message, drift = time.monotonic(), "", None
        with nullcontext() if preview else self._store.locked():
            if is_pulumis(self._store):
                hint = f"to go on with this engine: crm handover {self.stack} --to embedded"
                raise CrmError(f"{self.stack}: made by the Pulumi CLI; {hint}")
            state = self._load()
            save = None if preview else lambda: self._store.write(state.checkpoint())
            deployment = Deployment(state, self._handler_of, self.on_event, save)
            self._cluster = cache(
                lambda c: KubernetesHandler(kubernetes_host.connect(c), deployment)
            )
            if save is not None:
                save()
                self._store.claim()
            try:
                with _signals(deployment):
                    drift = work(deployment)
            except (CrmError, DockerException) as error:
                message = deployment.failure or str(error)
            if save is not None:
                save()
                if not any(resource.is_managed for resource in state):
                    self._store.forget()  # with nothing real in it, it is nobody's
        return Result(
            result="failed" if message else "succeeded",
            changes=deployment.changes,
            outputs=_redact(state.outputs()),
            seconds=time.monotonic() - begun,
            message=message,
            drift=tuple(drift or ()),
        )

    def _deploy(self, deployment: Deployment) -> None:
        if not deployment.state.earlier and (found := docker_host.belongings(self.stack)):
            label = f"--filter label={STACK_LABEL}={self.stack}"
            raise CrmError(
                f"{self.stack}: Docker has {found[0].name}, but {self._store.checkpoint} knows no"
                " such stack. If another engine or checkout made it, go on there. If its state was"
                f" lost, remove what runs (volumes stay), then run again: docker rm -f $(docker ps"
                f" -aq {label}) && docker network prune -f {label}"
            )
        self._sweep(deployment)
        with self.judge(deployment):  # may mend what is registered; raises what must not be
            run_program(self.program, Monitor(deployment, self._config, self._secret))
        deployment.delete(deployment.state.earlier)

    def _load(self) -> State:
        document = yaml.safe_load(self.stack_file.read_text(encoding="utf-8")) or {}
        salt, given = document.get("encryptionsalt"), document.get("config") or {}
        state = load(self._store, self.stack, self.passphrase, salt)
        opened = state.crypter.open_config(given)
        # As the CLI hands it to programs: text, structures as JSON.
        self._config = {
            key: value if isinstance(value, str) else json.dumps(value, default=str)
            for key, value in opened.items()
        }
        self._secret = [key for key in given if opened[key] != given[key]]
        self._dynamic = DynamicHandler(self._config)
        return state

    def _handler_of(self, resource: Resource, state: State) -> Handler:
        if resource.type.startswith("pulumi-python:"):
            return self._dynamic
        if resource.type in KINDS:
            return DockerHandler(self._docker(), self.stack, resource.type)
        if resource.type in TYPES:
            return self._cluster(state.context_of(resource))
        hint = f"only dynamic resources, {', '.join([*KINDS, *TYPES])}; use --engine pulumi"
        raise CrmError(f"the embedded engine knows no {resource.type}, {hint}")

    def _sweep(self, deployment: Deployment) -> None:
        """Removes what a killed run left: it may hold ports, or endpoints of networks."""
        if deployment.is_preview or not deployment.state.earlier:
            return
        ids = {resource.id for resource in deployment.state}
        for stray in docker_host.belongings(self.stack):
            if stray.id not in ids:
                deployment.sweep(stray.name, partial(docker_host.remove, stray))
        known = [resource for resource in deployment.state if resource.type in TYPES]
        for context in set(map(deployment.state.context_of, known)):
            for name, remove in self._cluster(context).strays(known):
                deployment.sweep(name, remove)


@contextmanager
def _signals(deployment: Deployment) -> Iterator[None]:
    """The first signal lets the steps that began end; the second one ends the process."""

    def stop(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        deployment.stop(f"stopped by {name}; what was done is saved, run again to go on")
        signal.signal(number, signal.SIG_DFL)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _redact(outputs: dict[str, Any]) -> dict[str, Any]:
    shown = json.dumps(map_secrets(outputs, lambda _secret: "[secret]"))
    redacted: dict[str, Any] = json.loads(shown.replace(UNKNOWN, "[unknown]"))
    return redacted
