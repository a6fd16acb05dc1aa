"""One shard's backups on this machine's Docker: made, listed, restored beside it, put in place.

Imports the Docker SDK inside functions, as ``docker_host`` does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from stacks import images
from stacks.errors import CrmError
from stacks.targets import docker_host
from stacks.workload import DATA_PATH, FILES_PATH, STACK_LABEL

if TYPE_CHECKING:
    from docker.models.containers import Container

_MOST_SECONDS = 24 * 3600
_CLIENTS_MIB = 128
"""For what loads the dump and the logs, beside the server."""

_BACKUP_PATH = "/backup"
_POLL_SECONDS = 0.5


class Manifest(Struct, frozen=True):
    """What a backup says of itself. ``position`` in ``binlog`` is where its logs go on."""

    shard: str
    taken: str
    server: str
    server_uuid: str
    binlog: str
    position: int
    partitions: int
    rows: int
    seconds: int


class End(Struct, frozen=True):
    """Where a server's binary log ends, and how much of that file is archived."""

    server_uuid: str
    binlog: str
    position: int
    archived: int


class Rebuilt(Struct, frozen=True):
    """A data directory made of a backup; ``problem`` is empty where all was right. ``event`` is
    the time of the newest event in the archive."""

    problem: str
    seconds: float
    event: int | None


class Place(Struct, frozen=True):
    """A shard and where its backups are. ``files`` are what its restored server reads; it may take
    ``start_seconds`` to be healthy."""

    stack: str
    shard: str
    instance: str
    image: str
    uid: int
    cpus: float
    memory_mib: int
    tmpfs_mib: Mapping[str, int]
    start_seconds: int
    files: Mapping[str, str]

    def named(self, name: str) -> str:
        """The name Docker has it under."""
        return f"crm-{self.stack}-{name}"


def back_up(place: Place) -> str:
    """Make a backup now; what was said about it. Raises ``CrmError`` when it failed."""
    return _ask(place, "now")


def end(place: Place) -> End:
    """Where the running server's log ends. Raises ``CrmError`` when it cannot be asked."""
    uuid, binlog, position, archived = _ask(place, "end").split()
    return End(uuid, binlog, int(position), int(archived))


def _ask(place: Place, word: str) -> str:
    name = place.named(place.instance)
    client = docker_host.connect()
    client.api.timeout = _MOST_SECONDS
    container = docker_host.find(client, "containers", name)
    if container is None or container.status != "running":
        raise CrmError(f"{name}: does not run; run: crm up {place.stack}")
    code, output = container.exec_run(["bash", f"{FILES_PATH}/backup.sh", word])
    said = output.decode(errors="replace").strip()
    if code != 0:
        raise CrmError(f"{name}: {' | '.join(said.splitlines()[-5:]) or 'it said nothing'}")
    return str(said)


def listed(place: Place) -> list[Manifest]:
    """Every whole backup, the oldest first. Raises ``CrmError`` when there is no volume of them."""
    import msgspec

    script = f"cd {_BACKUP_PATH}/backups && for f in */manifest.json; do paste -s $f; done"
    with _helper(place, "list", ["bash", "-c", script]) as container:
        container.start()
        container.wait(timeout=_MOST_SECONDS)
        said = container.logs(stdout=True, stderr=False).decode(errors="replace")
    try:
        return [msgspec.convert(json.loads(line), Manifest) for line in said.splitlines()]
    except (ValueError, msgspec.ValidationError):
        raise CrmError(
            f"{place.named(place.instance)}-data: a manifest.json in /data/backups is damaged; "
            "remove the folder it is in, once you have looked at it"
        ) from None


def rebuild(place: Place, backup: str, stop: str = "", *, in_place: bool = False) -> Rebuilt:
    """Make a data directory of ``backup`` and the logs after it (up to ``stop``), and compare.

    It goes with the container that made it, or with ``in_place`` stays in the shard's own volume,
    beside what runs there.
    """
    command = ["bash", f"{FILES_PATH}/restore.sh", backup, *([stop] if stop else [])]
    kind = "restore" if in_place else "drill"
    began = time.monotonic()
    with _helper(place, kind, command, data=place.shard if in_place else None) as container:
        container.put_archive("/", docker_host.folder(FILES_PATH, 0, 0o755))
        archive = docker_host.files_archive(place.files, {}, place.uid)
        container.put_archive(FILES_PATH, archive)
        container.put_archive("/", docker_host.folder(DATA_PATH, place.uid, 0o700))
        container.start()
        code = int(container.wait(timeout=_MOST_SECONDS)["StatusCode"])
        lines = container.logs(stdout=True, stderr=False).decode(errors="replace").splitlines()
        said = dict(line.split(" ", 1) for line in lines if " " in line)
        problem = said.get("problem", "")
        if code != 0 and not problem:
            problem = f"it could not be restored (exit {code}): {docker_host.tail(container, 5)}"
    event = int(said["event"]) if "event" in said else None
    return Rebuilt(problem, round(time.monotonic() - began, 1), event)


def switch(place: Place, kept: str) -> None:
    """Have the shard's server run on what ``rebuild`` left in its volume; what it ran on is kept
    as ``kept`` there. Raises ``CrmError`` when it is not healthy in time."""
    name = place.named(place.shard)
    container = docker_host.find(docker_host.connect(), "containers", name)
    if container is None:
        raise CrmError(f"{name}: is not there; run: crm up {place.stack}")
    container.stop(timeout=container.attrs["Config"].get("StopTimeout") or 120)
    # Both in a process of Docker's: it goes on when this one is killed.
    script = f"cd {DATA_PATH} && mv -T mysql {kept} && mv -T restored/mysql mysql && rm -r restored"
    with _helper(place, "switch", ["sh", "-c", script], data=place.shard) as helper:
        helper.start()
        if int(helper.wait(timeout=_MOST_SECONDS)["StatusCode"]) != 0:
            raise CrmError(f"{name}: is stopped: {docker_host.tail(helper, 5)}")
    container.start()
    _wait_healthy(container, place.start_seconds)


def _wait_healthy(container: Container, seconds: int) -> None:
    deadline = time.monotonic() + seconds
    while True:
        container.reload()
        if container.attrs["State"].get("Health", {}).get("Status") == "healthy":
            return
        if time.monotonic() > deadline:
            raise CrmError(
                f"{container.name}: not healthy after {seconds} s: {docker_host.tail(container, 5)}"
            )
        time.sleep(_POLL_SECONDS)


def _helper(
    place: Place, kind: str, command: list[str], data: str | None = None
) -> AbstractContextManager[Any]:
    """A container with the backups, in no network; ``data`` names the shard whose volume it works
    in, else it has one of its own, which goes with it."""
    from docker.types import Mount

    client = docker_host.connect()
    backups = place.named(f"{place.instance}-data")
    for volume in (backups, *([place.named(f"{data}-data")] if data else [])):
        if docker_host.find(client, "volumes", volume) is None:
            raise CrmError(f"{volume}: there is no such volume; run: crm up {place.stack}")
    source = place.named(f"{data}-data") if data else None
    return docker_host.helper(
        client,
        place.named(f"{place.instance}-{kind}"),
        {STACK_LABEL: place.stack},
        image=images.choose(place.image, docker_host.present_images(client)),
        entrypoint=[],
        command=command,
        user=str(place.uid),
        network_mode="none",
        mounts=[
            Mount(_BACKUP_PATH, backups, read_only=True),
            Mount(DATA_PATH, source),
        ],
        tmpfs=docker_host.tmpfs(place.tmpfs_mib, place.uid),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=f"{place.memory_mib + _CLIENTS_MIB}m",
        nano_cpus=int(place.cpus * 1e9),
    )
