"""Docker networks, volumes and containers, through the Docker SDK.

What a killed run made and did not record is found by the stack's label and removed by the next
one, but for volumes: one of the right name is used as it is. Containers are also labelled with
their URN and a hash of their inputs. Networks and volumes are not: the CLI's provider reads their
labels back, and would replace them for ours after a handover.
"""

import json
from hashlib import sha256
from typing import Any

import docker

from stacks.embedded import docker_body
from stacks.embedded.deployment import Diff
from stacks.embedded.state import Resource
from stacks.errors import CrmError
from stacks.pulumi_state.values import Properties, changed_names, given, reveal
from stacks.targets import docker_host
from stacks.targets.docker_host import KINDS
from stacks.workload import STACK_LABEL

_UNREAD: Properties = {
    # What the CLI's provider does not read back must stand in the outputs it is handed.
    **{"attach": False, "containerReadRefreshTimeoutMilliseconds": 15000, "envs": []},
    **{"logs": False, "mustRun": True, "removeVolumes": True, "start": True},
    **{"wait": False, "waitTimeout": 60},
}


class DockerHandler:
    """One kind of object: ``networks``, ``volumes`` or ``containers``.

    A container is made when it runs and, where it can tell, is healthy. One that does not get
    there is removed, its last words in the error.
    """

    replaces_on_change, mends = True, False

    def __init__(self, client: docker.DockerClient, stack: str, type_: str) -> None:
        self._client, self._stack, self._kind = client, stack, KINDS[type_]

    def check(self, new: Resource, old: Resource | None) -> Properties:
        docker_body.refuse_unknown(new.type, new.name, reveal(new.inputs))
        return new.inputs

    def diff(self, old: Resource, new: Resource) -> Diff:
        """Any changed input means a replacement; two of one name cannot exist together."""
        changed = changed_names(given(old.inputs), new.inputs)
        is_gone = docker_host.find(self._client, self._kind, old.id) is None
        return Diff(changed, bool(changed), True, "name" not in changed, is_gone)

    def create(self, new: Resource) -> tuple[str, Properties]:
        inputs = reveal(new.inputs)
        found = docker_host.find(self._client, self._kind, inputs["name"])
        if found is not None and docker_host.labels(found).get(STACK_LABEL) != self._stack:
            hint = f"it has no label {STACK_LABEL}={self._stack}; remove or rename it"
            raise CrmError(f"{inputs['name']} is there already and not ours: {hint}")
        if found is not None and self._kind != "volumes":
            docker_host.remove(found, inputs.get("destroyGraceSeconds"))
            found = None
        found = found or self._make(inputs, new.urn)
        if self._kind != "containers":
            return found.id, {**new.inputs, "id": found.id}
        is_checked, may_end = inputs.get("wait", False), not inputs.get("mustRun", True)
        seconds = inputs.get("waitTimeout", 60)
        docker_host.wait_ready(found, seconds, has_check=is_checked, may_end=may_end)
        return found.id, {**_UNREAD, **new.inputs, "id": found.id}

    def update(self, old: Resource, new: Resource) -> Properties:
        raise NotImplementedError("what changed is replaced")

    def delete(self, old: Resource) -> None:
        found = docker_host.find(self._client, self._kind, old.id)
        if found is not None:
            docker_host.remove(found, reveal(old.inputs).get("destroyGraceSeconds"))

    def read(self, old: Resource) -> tuple[Properties, str] | None:
        found = docker_host.find(self._client, self._kind, old.id)
        inputs = reveal(given(old.inputs))
        if found is None or self._kind != "containers":
            return None if found is None else (old.outputs, "")
        body = docker_body.container(inputs, {})
        drift = docker_host.drift(found, body, may_end=not inputs.get("mustRun", True))
        return old.outputs, ", ".join(drift)

    def _make(self, inputs: Properties, urn: str) -> Any:
        client, name, labels = self._client, inputs["name"], docker_body.labels(inputs)
        if self._kind == "volumes":
            return client.volumes.create(name, driver_opts=inputs.get("driverOpts"), labels=labels)
        if self._kind == "networks":
            driver, internal = inputs.get("driver", "bridge"), inputs.get("internal", False)
            return client.networks.create(name, driver=driver, internal=internal, labels=labels)
        digest = sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        body = docker_body.container(inputs, {"crm.urn": urn, "crm.inputs": digest})
        networks = {n["name"]: n.get("aliases", []) for n in inputs.get("networksAdvanced", [])}
        return docker_host.start(client, name, body, networks)
