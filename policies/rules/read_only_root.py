"""What runs cannot change its own programs nor gain privileges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, Container, containers, with_containers
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        if container.pod is not None:
            found = _of_pods(container)
        else:
            found = _of_docker(container) if container.docker else _of_job(container)
        for what in found:
            yield Problem(container.name, what)


def _of_job(container: Container) -> Iterator[str]:
    # All else is the same for every job: stacks/targets/docker_host.py.
    if not container.given.get("uid"):
        yield "runs as root"


def _of_docker(container: Container) -> Iterator[str]:
    given = container.given
    options = [str(option).replace("=", ":") for option in given.get("securityOpts") or ()]
    if given.get("readOnly") is not True:
        yield "its root file system can be written to"
    if not {"no-new-privileges", "no-new-privileges:true"} & set(options):
        yield "its processes can gain privileges"
    if any(option.endswith(":unconfined") for option in options):
        yield "runs without the kernel's usual confinement"
    if str(given.get("user") or "root").partition(":")[0] in ("root", "0"):
        yield "runs as root"
    for volume in given.get("volumes") or ():
        if str(volume.get("volumeName", "")).endswith("-files") and not volume.get("readOnly"):
            yield "its configuration can be written to"


def _of_pods(container: Container) -> Iterator[str]:
    security = container.security
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written to"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "its processes can gain privileges"
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        yield "may run as root"


def _mend(container: Container, given: dict[str, Any]) -> None:
    # Whether it writes to its root, or needs to be root, is nothing that a rule can know.
    if container.docker:
        if "its processes can gain privileges" in set(_of_docker(container)):
            given["securityOpts"] = [*(given.get("securityOpts") or ()), "no-new-privileges"]
    elif container.pod is not None:
        security = given.get("securityContext") or {}
        given["securityContext"] = {**security, "allowPrivilegeEscalation": False}


RULE = Rule(
    name="read_only_root",
    reason="Who breaks in can then leave nothing behind and become nobody else.",
    fix="read-only root, no-new-privileges, a user of its own; tmpfs for what is written",
    reads=RUNNING,
    find=_find,
    remedy=lambda resource: with_containers(resource, _mend),
)
