"""Docker networks, volumes and containers, through the Docker SDK.

What a killed run made and did not record is found by the stack's label and removed by the next
one, but for volumes: one of the right name is used as it is. Containers are also labelled with
their URN and a hash of their inputs. Networks and volumes are not: the CLI's provider reads their
labels back, and would replace them for ours after a handover.
"""

import json
import time
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from typing import Any

import docker
from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container

from stacks.embedded import docker_body
from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.pulumi_state.values import Properties, changed_names, reveal
from stacks.targets import docker_host

STACK_LABEL, URN_LABEL, INPUTS_LABEL = "crm.stack", "crm.urn", "crm.inputs"
_KINDS = {
    "docker:index/network:Network": "networks",
    "docker:index/volume:Volume": "volumes",
    "docker:index/container:Container": "containers",
}
_UNREAD: dict[str, Properties] = {
    # What the CLI's provider does not read back must stand in the outputs it is handed.
    "containers": {
        **{"attach": False, "containerReadRefreshTimeoutMilliseconds": 15000, "envs": []},
        **{"logs": False, "mustRun": True, "removeVolumes": True, "start": True},
        **{"wait": False, "waitTimeout": 60},
    },
}
_POLL_SECONDS = 0.25
_SETTLE_SECONDS = 1
"""How long one without a health check must run to count as running."""


class Machine:
    """One machine's Docker, as far as it belongs to one stack."""

    def __init__(self, stack: str) -> None:
        self.stack = stack

    @cached_property
    def client(self) -> docker.DockerClient:
        """Connects when first used; raises ``CrmError`` when nothing answers."""
        return docker_host.connect()

    def answers(self) -> bool:
        """Whether there is a Docker here; a program that needs one will say so itself."""
        try:
            return bool(self.client)
        except CrmError:
            return False

    def handlers(self) -> dict[str, "DockerHandler"]:
        """The handler of each type."""
        return {type_: DockerHandler(self, kind) for type_, kind in _KINDS.items()}

    def belongings(self) -> list[Any]:
        """Every container and network with this stack's label, in that order."""
        only: dict[str, Any] = {"label": f"{STACK_LABEL}={self.stack}"}
        containers = self.client.containers.list(all=True, filters=only, ignore_removed=True)
        return [*containers, *self.client.networks.list(filters=only)]

    def strays(self, known: Iterable[str]) -> list[Any]:
        """Containers, helpers included, and networks of the stack that no state knows by id."""
        ids = set(known)
        return [found for found in self.belongings() if found.id not in ids]

    def remove(self, found: Any, inputs: Properties) -> None:
        """Removes an object; a container is asked to stop first, and keeps its named volumes."""
        try:
            if isinstance(found, Container):
                grace = found.attrs["Config"].get("StopTimeout") or 10
                found.stop(timeout=inputs.get("destroyGraceSeconds", grace))
                found.remove(v=True, force=True)
            else:
                found.remove()
        except NotFound:
            return


class DockerHandler:
    """One kind of object: ``networks``, ``volumes`` or ``containers``.

    A container is made when it runs and, where it can tell, is healthy. One that does not get
    there is removed, its last words in the error.
    """

    replaces_on_change = True

    def __init__(self, machine: Machine, kind: str) -> None:
        self._machine = machine
        self._kind = kind

    def check(self, new: Resource, old: Resource | None) -> Properties:
        docker_body.refuse_unknown(new.type, new.name, reveal(new.inputs))
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        """Any changed input means a replacement; two of one name cannot exist together."""
        changed = changed_names(_given(old.inputs), new.inputs)
        is_gone = self._find(old.id) is None
        return Diff(changed, bool(changed), True, "name" not in changed, is_gone)

    def create(self, new: Resource) -> tuple[str, Properties]:
        inputs = reveal(new.inputs)
        labels = docker_body.labels(inputs)
        found = self._find(inputs["name"])
        if found is not None and _labels(found).get(STACK_LABEL) != self._machine.stack:
            hint = f"it has no label {STACK_LABEL}={self._machine.stack}; remove or rename it"
            raise CrmError(f"{inputs['name']} is there already and not ours: {hint}")
        if found is not None and self._kind != "volumes":
            self._machine.remove(found, inputs)
            found = None
        if self._kind == "containers":
            digest = sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
            labels |= {URN_LABEL: new.urn, INPUTS_LABEL: digest}
        found = found or self._make(inputs, labels)
        if self._kind == "containers":
            _await(found, inputs)
        return found.id, {**_UNREAD.get(self._kind, {}), **new.inputs, "id": found.id}

    def update(self, old: Resource, new: Resource) -> Properties:
        raise NotImplementedError("what changed is replaced")

    def delete(self, old: Resource) -> None:
        found = self._find(old.id)
        if found is not None:
            self._machine.remove(found, reveal(old.inputs))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        found = self._find(old.id)
        is_container = isinstance(found, Container)
        drift = _drift(found, reveal(_given(old.inputs))) if is_container else []
        return None if found is None else (old.outputs, ", ".join(drift))

    def _find(self, key: str) -> Any:
        try:
            return getattr(self._machine.client, self._kind).get(key)
        except NotFound:
            return None

    def _make(self, inputs: Properties, labels: dict[str, str]) -> Any:
        client, name = self._machine.client, inputs["name"]
        if self._kind == "volumes":
            return client.volumes.create(name, labels=labels)
        if self._kind == "networks":
            driver, internal = inputs.get("driver", "bridge"), inputs.get("internal", False)
            return client.networks.create(name, driver=driver, internal=internal, labels=labels)
        try:
            client.images.get(inputs["image"])
        except ImageNotFound:
            client.images.pull(inputs["image"])
        body = docker_body.container(inputs, labels)
        # The SDK's stubs leave this one out.
        key = client.api.create_container_from_config(body, name)["Id"]  # type: ignore[no-untyped-call]
        networks = inputs.get("networksAdvanced", [])
        if networks and body["HostConfig"]["NetworkMode"] == "bridge":
            client.networks.get("bridge").disconnect(key)
        for network in networks:
            client.networks.get(network["name"]).connect(key, aliases=network.get("aliases", []))
        container = client.containers.get(key)
        container.start()
        return container


def _await(container: Container, inputs: Properties) -> None:
    begun, limit = time.monotonic(), inputs.get("waitTimeout", 60)
    problem = ""
    while not problem:
        container.reload()
        state, seconds = container.attrs["State"], time.monotonic() - begun
        is_healthy = state.get("Health", {}).get("Status") == "healthy"
        if not state["Running"] and inputs.get("mustRun", True):
            problem = f"it ended with exit code {state['ExitCode']}"
        elif is_healthy if inputs.get("wait") else seconds > _SETTLE_SECONDS:
            return
        elif seconds > limit:
            problem = f"not healthy after {limit} s"
        else:
            time.sleep(_POLL_SECONDS)
    checks = state.get("Health", {}).get("Log") or [{"Output": ""}]
    words = f"{checks[-1]['Output']}\n{container.logs(tail=10).decode(errors='replace')}"
    container.remove(force=True, v=True)
    raise CrmError(f"{problem}\n{words.strip()}".strip())


def _drift(container: Container, inputs: Properties) -> list[str]:
    body = docker_body.container(inputs, docker_body.labels(inputs))
    wanted = {**body["HostConfig"], **body}
    there = {**container.attrs["HostConfig"], **container.attrs["Config"]}
    names = ("Image", "Memory", "NanoCpus", "ReadonlyRootfs")
    changed = [name for name in names if there[name] != wanted[name]]
    drift = [f"{name} is {there[name]}, not {wanted[name]}" for name in changed]
    if not body["Labels"].items() <= _labels(container).items():
        drift.append("labels differ")
    state = container.attrs["State"]
    if not state["Running"] and inputs.get("mustRun", True):
        drift.append(f"not running (exit code {state['ExitCode']})")
    return drift


def _labels(found: Any) -> dict[str, str]:
    return (found.attrs.get("Config") or found.attrs).get("Labels") or {}


def _given(inputs: Any) -> Any:
    """What the program gave: without what the CLI adds, which it lists under ``__defaults``."""
    if isinstance(inputs, dict):
        added = {"__defaults", *inputs.get("__defaults", [])}
        return {key: _given(value) for key, value in inputs.items() if key not in added}
    return [_given(item) for item in inputs] if isinstance(inputs, list) else inputs
