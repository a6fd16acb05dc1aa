"""Docker networks, volumes and containers, through the Docker SDK.

What a killed run made and did not record is found by the stack's label and removed by the next
one, but for volumes: one of the right name is used as it is. Containers are also labelled with
their URN and a hash of their inputs. Networks and volumes are not: the CLI's provider reads their
labels back, and would replace them for ours after a handover.
"""

import json
from functools import cached_property
from hashlib import sha256
from typing import Any

import docker
from docker.errors import NotFound
from docker.models.containers import Container

from stacks.embedded import docker_body
from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.pulumi_state.values import Properties, changed_names, given, reveal
from stacks.targets import docker_host
from stacks.targets.docker_host import STACK_LABEL

URN_LABEL, INPUTS_LABEL = "crm.urn", "crm.inputs"
KINDS = {
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
_GRACE = "destroyGraceSeconds"


class Machine:
    """One machine's Docker, as far as it belongs to one stack."""

    def __init__(self, stack: str) -> None:
        self.stack = stack

    @cached_property
    def client(self) -> docker.DockerClient:
        """Connects when first used; raises ``CrmError`` when nothing answers."""
        return docker_host.connect()

    def belongings(self) -> list[Any]:
        """The containers and networks of the stack; none without a Docker: a program that needs
        one will say so itself."""
        try:
            return docker_host.belongings(self.client, self.stack)
        except CrmError:
            return []


class DockerHandler:
    """One kind of object: ``networks``, ``volumes`` or ``containers``.

    A container is made when it runs and, where it can tell, is healthy. One that does not get
    there is removed, its last words in the error.
    """

    replaces_on_change, mends = True, False

    def __init__(self, machine: Machine, type_: str) -> None:
        self._machine, self._kind = machine, KINDS[type_]

    def check(self, new: Resource, old: Resource | None) -> Properties:
        docker_body.refuse_unknown(new.type, new.name, reveal(new.inputs))
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        """Any changed input means a replacement; two of one name cannot exist together."""
        changed = changed_names(given(old.inputs), new.inputs)
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
            docker_host.remove(found, inputs.get(_GRACE))
            found = None
        if self._kind == "containers":
            digest = sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
            labels |= {URN_LABEL: new.urn, INPUTS_LABEL: digest}
        found = found or self._make(inputs, labels)
        if self._kind == "containers":
            docker_host.wait_ready(
                *(found, inputs.get("waitTimeout", 60)),
                has_check=inputs.get("wait", False),
                may_end=not inputs.get("mustRun", True),
            )
        return found.id, {**_UNREAD.get(self._kind, {}), **new.inputs, "id": found.id}

    def update(self, old: Resource, new: Resource) -> Properties:
        raise NotImplementedError("what changed is replaced")

    def delete(self, old: Resource) -> None:
        found = self._find(old.id)
        if found is not None:
            docker_host.remove(found, reveal(old.inputs).get(_GRACE))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        found = self._find(old.id)
        is_container = isinstance(found, Container)
        drift = _drift(found, reveal(given(old.inputs))) if is_container else []
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
        body = docker_body.container(inputs, labels)
        networks = {n["name"]: n.get("aliases", []) for n in inputs.get("networksAdvanced", [])}
        return docker_host.start(client, name, body, networks)


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
