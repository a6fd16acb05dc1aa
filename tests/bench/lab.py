"""Containers for a measurement: on a network of their own that reaches nothing else, and removed
in the end in every case."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacks.errors import CrmError
from stacks.targets import docker_host
from stacks.workload import FILES_PATH
from tests.bench import load
from tests.bench.measure import CannotRunError

if TYPE_CHECKING:
    from docker import DockerClient

LABEL = "crm.bench"
UID = 10004
READY_SECONDS = 15.0
LOG_OPTIONS = {"max-file": "3", "max-size": "10m"}
"""As ``stacks.targets.docker`` gives them: what a proxy says costs it the same here as there."""


def cgroup_cpu(pid: int, container: str, root: Path = Path("/")) -> float | None:
    """Seconds of processor used by the control group of ``container``, whose process ``pid`` is;
    None where that is not to be read on this machine. Versions 1 and 2 of control groups."""
    try:
        lines = (root / f"proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
        fields = [line.split(":", 2) for line in lines]
        groups = {name: path for _, names, path in fields for name in names.split(",")}
        # Version 2 has one group, whose name is empty.
        version_1 = "cpuacct" if "cpuacct" in groups else ""
        if container not in groups[version_1]:
            return None
        folder = root / "sys/fs/cgroup" / version_1 / groups[version_1].lstrip("/")
        if version_1:
            return int((folder / "cpuacct.usage").read_text(encoding="utf-8")) / 1e9
        lines = (folder / "cpu.stat").read_text(encoding="utf-8").splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6
    except (OSError, KeyError, ValueError):
        return None


class Lab:
    """Where containers are started; ``lab()`` makes one."""

    def __init__(self, client: DockerClient, name: str) -> None:
        self._client = client
        self._name = name

    def start(
        self, name: str, image: str, command: Sequence[str], files: Mapping[str, str]
    ) -> Running:
        """Start a container that others here find as ``name``, with ``files`` where a stack's
        workload has them. No limit of CPU: one that is throttled does its work in batches."""
        from docker.types import LogConfig

        container: Any = self._client.containers.create(
            image,
            list(command),
            name=f"{self._name}-{name}",
            labels={LABEL: self._name},
            entrypoint=[],
            user=str(UID),
            network=self._name,
            networking_config={self._name: self._client.api.create_endpoint_config(aliases=[name])},
            tmpfs=docker_host.tmpfs({"/run/crm": 8, "/tmp": 16}, UID),
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit="128m",
            log_config=LogConfig(type="json-file", config=dict(LOG_OPTIONS)),
        )
        container.put_archive("/", docker_host.folder(FILES_PATH, 0, 0o755))
        container.put_archive(FILES_PATH, docker_host.files_archive(files, {}, UID))
        container.start()
        container.reload()
        address = container.attrs["NetworkSettings"]["Networks"][self._name]["IPAddress"]
        return Running(self._client, container, str(address))


class Running:
    """A container that runs, and the address it has."""

    def __init__(self, client: DockerClient, container: Any, address: str) -> None:
        self._client = client
        self._container = container
        self.address = address

    def cpu(self) -> float:
        """Seconds of processor that all its processes have used, kernel included."""
        found = cgroup_cpu(int(self._container.attrs["State"]["Pid"]), self._container.id)
        if found is not None:
            return found
        # Docker may be on a machine of its own, as on a Mac; it takes a second for an answer.
        stats: Any = self._client.api.stats(self._container.id, stream=False, one_shot=True)
        return int(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

    def last_line(self) -> str:
        """What it said last on its standard output."""
        said: bytes = self._container.logs(tail=1, stderr=False)
        return said.decode(errors="replace").strip()

    def page(self, port: int, path: str) -> str:
        """What it answers to a GET of ``path``. Raises ``CannotRunError`` when that is no 200."""
        connection = http.client.HTTPConnection(self.address, port, timeout=load.SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise CannotRunError(f"{self._container.name}: {path}: {error}") from None
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise CannotRunError(f"{self._container.name}: {path}: {answer.status}")
        return text

    def wait(self, port: int, asked: bytes) -> bytes:
        """Its first 200 to ``asked``. Raises ``CannotRunError`` when there is none in time."""
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                with socket.create_connection((self.address, port), 1) as connection:
                    return load.answer(connection, asked)
            except (OSError, CannotRunError) as error:
                if time.monotonic() > end:
                    words = docker_host.tail(self._container, 5)
                    name = self._container.name
                    raise CannotRunError(f"{name}: not ready: {error}: {words}") from None
            time.sleep(0.1)


@contextmanager
def lab() -> Iterator[Lab]:
    """A network of its own, gone afterwards with all that was started on it; also when this
    process is told to end.

    Raises ``CannotRunError`` where there is no Docker, or it refuses.
    """
    from docker.errors import APIError

    name = f"crm-bench-{os.getpid()}"
    try:
        client = docker_host.connect()
    except CrmError as error:
        raise CannotRunError(str(error)) from None
    only: dict[str, Any] = {"label": f"{LABEL}={name}"}
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        client.networks.create(name, driver="bridge", internal=True, labels={LABEL: name})
        yield Lab(client, name)
    except APIError as error:
        raise CannotRunError(f"Docker: {error.explanation}") from None
    finally:
        for container in client.containers.list(all=True, filters=only, ignore_removed=True):
            container.remove(force=True, v=True)
        for network in client.networks.list(filters=only):
            network.remove()
        client.close()
        signal.signal(signal.SIGTERM, before)
