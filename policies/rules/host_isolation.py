"""Nothing that runs reaches into its machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, Container, Pod, containers, is_docker, labels, pods, workload
from stacks.spec_policies import Policies


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    for container in containers(resources):
        for what in _of_pods(container) if container.pod else _of_docker(container):
            yield Problem(container.name, what)
    for pod in pods(resources):
        for what in _of_pod(pod):
            yield Problem(pod.resource.name, what)
    for resource in resources:
        if is_docker(resource, "Volume") and not _is_for_backups(resource):
            for place in _behind(resource.inputs.get("driverOpts") or {}):
                yield Problem(resource.name, f"is the machine's {place} under a volume's name")


def _of_docker(container: Container) -> Iterator[str]:
    given = container.given
    if given.get("privileged"):
        yield "is privileged"
    for key in ("networkMode", "pidMode", "ipcMode", "usernsMode", "cgroupnsMode"):
        mode = str(given.get(key) or "")
        if mode == "host" or mode.startswith("container:"):
            yield f"{key} is {mode}"
    if given.get("devices") or given.get("gpus"):
        yield "is given devices of the machine"
    capabilities = given.get("capabilities") or {}
    if adds := capabilities.get("adds"):
        yield f"adds the capabilities {', '.join(adds)}"
    if container.docker and "ALL" not in (capabilities.get("drops") or ()):
        yield "keeps capabilities; none is needed"
    for volume in given.get("volumes") or ():
        if volume.get("hostPath") or str(volume.get("volumeName", "")).startswith("/"):
            yield f"has the machine's {volume.get('hostPath') or volume['volumeName']}"
        if other := volume.get("fromContainer"):
            yield f"has whatever volumes {other} has"
    if others := given.get("volumesFroms"):
        yield f"has whatever volumes {', '.join(map(str, others))} has"
    for mount in given.get("mounts") or ():
        if mount.get("type") not in ("volume", "tmpfs") or _is_path(mount.get("source")):
            yield f"has the machine's {mount.get('source')}"
        options = (mount.get("volumeOptions") or {}).get("driverOptions") or {}
        for place in _behind(options):
            yield f"has the machine's {place} under a volume's name"


def _is_for_backups(volume: Resource) -> bool:
    """Whether it is a folder for one keeper's backups alone, as the platform makes it of
    ``database.backup.folder``: FOLDER/STACK/INSTANCE."""
    options = dict(volume.inputs.get("driverOpts") or {})
    device = str(options.pop("device", ""))
    own = f"/{labels(volume).get('crm.stack')}/{volume.name.removesuffix('-data')}"
    asked = options == {"type": "none", "o": "bind"} and device.endswith(own)
    return asked and workload(volume) == "backup"


def _behind(options: Mapping[str, Any]) -> Iterator[str]:
    """What of the machine's a volume with these options of Docker's driver ``local`` is; they are
    those of mount(8). A share, //server/name or server:/path, and memory are none of it."""
    given = {str(key): str(value) for key, value in options.items()}
    words = [*re.split(r"[\s,]+", given.get("o", "")), given.get("type", "")]
    device = given.get("device", "")
    binds = any(word in ("bind", "rbind", "overlay") for word in words)
    if binds or _is_path(device):
        yield device or "directories"


def _is_path(source: object) -> bool:
    path = str(source or "")
    return path.startswith("/") and not path.startswith("//")


def _of_pod(pod: Pod) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield f"{key} is on"
    for volume in pod.spec.get("volumes") or ():
        if path := volume.get("hostPath"):
            yield f"has its node's {path.get('path')}"


def _of_pods(container: Container) -> Iterator[str]:
    security = container.given.get("securityContext") or {}
    if security.get("privileged"):
        yield "is privileged"
    capabilities = security.get("capabilities") or {}
    if adds := capabilities.get("add"):
        yield f"adds the capabilities {', '.join(adds)}"
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "keeps capabilities; none is needed"


RULE = Rule(
    name="host_isolation",
    reason="Whoever breaks into one container must not have the machine and its neighbours.",
    fix="leave out host networks, privileges, capabilities, devices and paths of the machine's, "
    "Docker's socket above all",
    reads=(*RUNNING, "Volume"),
    find=_find,
)
