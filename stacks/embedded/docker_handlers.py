"""Docker networks, volumes and containers, through the Docker SDK.

Names are the program's, so what a killed run left unrecorded is found again by name: it is used
if it is what is wanted, else made anew; volumes always are used. Containers carry their URN and
the hash of their inputs as labels. Networks and volumes do not: the CLI reads the labels of those
back, so ours would make it replace them once it is handed the stack.
"""

import json
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

import docker
from docker.errors import DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume

from stacks.embedded import docker_body, docker_outputs
from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.embedded.values import Properties, changed_names, reveal
from stacks.errors import CrmError

STACK_LABEL = "crm.stack"
URN_LABEL = "crm.urn"
INPUTS_LABEL = "crm.inputs"
_DOCKER_SECONDS = 300
_POLL_SECONDS = 0.25
_Object = TypeVar("_Object")


class DockerHandler:
    """What networks, volumes and containers have in common."""

    replaces_on_change = True

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine

    def check(self, new: Resource, old: Resource | None) -> Properties:
        """The inputs as they are; raises ``CrmError`` naming one that is not known."""
        docker_body.refuse_unknown(new.type, new.name, new.inputs)
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        """Any changed input means a replacement."""
        changed = changed_names(_given(old.inputs), new.inputs)
        same_name = reveal(old.inputs["name"]) == reveal(new.inputs["name"])
        return Diff(changed, bool(changed), True, same_name, self._find(old.id) is None)

    def update(self, old: Resource, new: Resource) -> Properties:
        """Never called: Docker's objects are replaced."""
        raise NotImplementedError(old.type)

    def delete(self, old: Resource) -> None:
        """Removes it, if it is still there."""
        found = self._find(old.id)
        if found is not None:
            self._machine.remove(found, reveal(old.inputs))

    def create(self, new: Resource) -> tuple[str, Properties]:
        raise NotImplementedError

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        raise NotImplementedError

    def _find(self, key: str) -> Any:
        raise NotImplementedError

    def _ours(self, name: str) -> Any:
        """What has that name already, if it is this stack's; raises ``CrmError`` if it is not."""
        found = self._find(name)
        if found is not None and _labels(found).get(STACK_LABEL) != self._machine.stack:
            raise CrmError(
                f"{name} exists and does not belong to stack {self._machine.stack} (it lacks the"
                f" label {STACK_LABEL}={self._machine.stack}); remove or rename it"
            )
        return found


class NetworkHandler(DockerHandler):
    """``docker:index/network:Network``."""

    def create(self, new: Resource) -> tuple[str, Properties]:
        """The network's id and outputs."""
        inputs = reveal(new.inputs)
        wanted = (inputs.get("driver", "bridge"), inputs.get("internal", False))
        network = self._ours(inputs["name"])
        if network is not None:
            is_wanted = (network.attrs["Driver"], network.attrs["Internal"]) == wanted
            if not is_wanted or _labels(network) != docker_body.labels(inputs):
                self._machine.remove(network, {})
                network = None
        if network is None:
            network = self._machine.client.networks.create(
                inputs["name"],
                driver=wanted[0],
                internal=wanted[1],
                labels=docker_body.labels(inputs),
                check_duplicate=True,
            )
            network.reload()
        return str(network.id), docker_outputs.network(network.attrs)

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        """The network as Docker has it."""
        network = self._find(old.id)
        if network is None:
            return None
        return _reread(old, docker_outputs.network(network.attrs))

    def _find(self, key: str) -> Network | None:
        return _get(lambda: self._machine.client.networks.get(key))


class VolumeHandler(DockerHandler):
    """``docker:index/volume:Volume``."""

    def create(self, new: Resource) -> tuple[str, Properties]:
        """The volume's name and outputs; one that is there already keeps what it holds."""
        inputs = reveal(new.inputs)
        volume = self._ours(inputs["name"]) or self._machine.client.volumes.create(
            inputs["name"], labels=docker_body.labels(inputs)
        )
        return inputs["name"], docker_outputs.volume(volume.attrs)

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        """The volume as Docker has it."""
        volume = self._find(old.id)
        if volume is None:
            return None
        return _reread(old, docker_outputs.volume(volume.attrs))

    def _find(self, key: str) -> Volume | None:
        return _get(lambda: self._machine.client.volumes.get(key))


class ContainerHandler(DockerHandler):
    """``docker:index/container:Container``."""

    def create(self, new: Resource) -> tuple[str, Properties]:
        """The id and outputs of a container that runs and, where it can tell, is healthy.

        One that does not get there is removed, its last words in the error.
        """
        inputs = reveal(new.inputs)
        marks = {URN_LABEL: new.urn, INPUTS_LABEL: _digest(inputs)}
        container = self._ours(inputs["name"])
        if container is not None and not _labels(container).get(URN_LABEL):
            raise CrmError(f"container {inputs['name']} was made by the other engine; remove it")
        is_wanted = container is not None and marks.items() <= _labels(container).items()
        if container is not None and not (is_wanted and container.status == "running"):
            self._machine.remove(container, inputs)
            container = None
        if container is None:
            container = self._make(inputs, marks)
        try:
            self._await(container, inputs)
        except CrmError:
            container.remove(force=True, v=True)
            raise
        return str(container.id), docker_outputs.container(container.attrs, new.inputs)

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        """The container as Docker has it; one that does not run has drifted too."""
        container = self._find(old.id)
        if container is None:
            return None
        wanted = docker_body.container(reveal(_given(old.inputs)), {})
        drift = docker_outputs.container_drift(container.attrs, wanted)
        return docker_outputs.container(container.attrs, old.inputs), ", ".join(drift)

    def _make(self, inputs: Properties, marks: dict[str, str]) -> Container:
        client = self._machine.client
        try:
            client.images.get(inputs["image"])
        except ImageNotFound:
            client.images.pull(inputs["image"])
        body = docker_body.container(inputs, marks)
        made = client.api.create_container_from_config(body, inputs["name"])
        container = client.containers.get(made["Id"])
        networks = inputs.get("networksAdvanced", [])
        if networks and body["HostConfig"]["NetworkMode"] == "bridge":
            client.networks.get("bridge").disconnect(container)
        for network in networks:
            client.networks.get(network["name"]).connect(
                container, aliases=network.get("aliases", [])
            )
        container.start()
        return container

    def _await(self, container: Container, inputs: Properties) -> None:
        deadline = time.monotonic() + inputs.get("waitTimeout", 60)
        while True:
            container.reload()
            state = container.attrs["State"]
            health = state.get("Health", {}).get("Status", "")
            if not state["Running"] and inputs.get("mustRun", True):
                raise CrmError(
                    f"it ended with exit code {state['ExitCode']}{_last_words(container)}"
                )
            if not inputs.get("wait") or health == "healthy":
                return
            if time.monotonic() > deadline:
                raise CrmError(
                    f"not healthy after {inputs.get('waitTimeout', 60)} s{_last_words(container)}"
                )
            time.sleep(_POLL_SECONDS)

    def _find(self, key: str) -> Container | None:
        return _get(lambda: self._machine.client.containers.get(key))


class Machine:
    """One machine's Docker, as far as it belongs to one stack."""

    def __init__(self, stack: str) -> None:
        self.stack = stack

    @cached_property
    def client(self) -> docker.DockerClient:
        """Connects on first use; raises ``CrmError`` when nothing answers."""
        try:
            client = docker.from_env(timeout=_DOCKER_SECONDS)
            client.ping()
        except (DockerException, OSError) as error:
            raise CrmError(f"Docker does not answer: {error}") from None
        return client

    def handlers(self) -> dict[str, DockerHandler]:
        """The handler of each type."""
        return {
            "docker:index/network:Network": NetworkHandler(self),
            "docker:index/volume:Volume": VolumeHandler(self),
            "docker:index/container:Container": ContainerHandler(self),
        }

    def belongings(self) -> list[Any]:
        """Every container, network and volume that has this stack's label, in that order."""
        only: dict[str, str | list[str] | bool] = {"label": f"{STACK_LABEL}={self.stack}"}
        containers = self.client.containers.list(all=True, filters=only, ignore_removed=True)
        networks = self.client.networks.list(filters=only)
        return [*containers, *networks, *self.client.volumes.list(filters=only)]

    def strays(self, known: Iterable[str]) -> list[Any]:
        """Containers of ours and networks of the stack whose ids no one knows: a kill left them."""
        ids = set(known)
        return [
            found
            for found in self.belongings()
            if found.id not in ids and (isinstance(found, Network) or _labels(found).get(URN_LABEL))
        ]

    def remove(self, found: Any, inputs: Properties) -> None:
        """Removes an object; a container is asked to stop first, and keeps its named volumes."""
        try:
            if isinstance(found, Container):
                configured = found.attrs["Config"].get("StopTimeout") or 10
                found.stop(timeout=inputs.get("destroyGraceSeconds", configured))
                found.remove(v=True, force=True)
            else:
                found.remove()
        except NotFound:
            return


def _get(getter: Callable[[], _Object]) -> _Object | None:
    try:
        return getter()
    except NotFound:
        return None


def _labels(found: Any) -> dict[str, str]:
    if isinstance(found, Container):
        return dict(found.labels)
    return dict(found.attrs.get("Labels") or {})


def _digest(inputs: Properties) -> str:
    return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _given(inputs: Properties) -> Properties:
    """What the program gave: without what the CLI adds, and lists under ``__defaults``."""
    defaults = {"__defaults", *inputs.get("__defaults", [])}
    return {
        key: [_given(item) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else (_given(value) if isinstance(value, dict) else value)
        for key, value in inputs.items()
        if key not in defaults
    }


def _reread(old: Resource, outputs: Properties) -> tuple[Properties, str]:
    before = {key: value for key, value in old.outputs.items() if key in outputs}
    return outputs, ", ".join(changed_names(before, outputs))


def _last_words(container: Container) -> str:
    checks = container.attrs["State"].get("Health", {}).get("Log") or []
    said = [check["Output"].strip() for check in checks[-1:]]
    said.append(container.logs(tail=10).decode(errors="replace").strip())
    return "".join(f"\n{text}" for text in said if text)
