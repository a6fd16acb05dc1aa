"""One shard's backups on this machine's Docker: made, listed, restored beside it, put in place.

Imports the Docker SDK inside functions, as ``docker_host`` does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stacks import images
from stacks.errors import CrmError
from stacks.images_build import reason_of
from stacks.targets import backup_place, docker_host, docker_inside
from stacks.targets.backup_place import MOST_SECONDS, Manifest, Place, Rebuilt
from stacks.targets.docker_inside import DockerInside
from stacks.tiers.backup import BACKUPS_PATH
from stacks.tiers.database import START_SECONDS
from stacks.workload import DATA_PATH, FILES_PATH, STACK_LABEL, Workload

if TYPE_CHECKING:
    from docker.models.containers import Container

_POLL_SECONDS = 0.5


class DockerPlace(Place):
    """See ``Place``."""

    def keeper(self) -> DockerInside:
        """See ``Place.keeper``."""
        return docker_inside.running(self.stack, "backup", self.instance)

    def listed(self) -> list[Manifest]:
        """See ``Place.listed``. What keeps them need not run."""
        command = backup_place.list_command(BACKUPS_PATH)
        with self._helper(self.restorer("list", command)) as container:
            container.start()
            container.wait(timeout=MOST_SECONDS)
            said = container.logs(stdout=True, stderr=False).decode(errors="replace")
        return backup_place.manifests(said, self._named(f"{self.instance}-data"))

    def rebuild(self, backup: str, stop: str = "", *, in_place: bool = False) -> Rebuilt:
        """See ``Place.rebuild``."""
        command = ["bash", f"{FILES_PATH}/restore.sh", backup, *([stop] if stop else [])]
        workload = self.restorer("restore" if in_place else "drill", command)
        began = time.monotonic()
        with self._helper(workload, data=self.shard if in_place else None) as container:
            container.put_archive("/", docker_host.folder(FILES_PATH, 0, 0o755))
            archive = docker_host.files_archive(workload.files, {}, workload.uid)
            container.put_archive(FILES_PATH, archive)
            container.put_archive("/", docker_host.folder(DATA_PATH, workload.uid, 0o700))
            container.start()
            code = int(container.wait(timeout=MOST_SECONDS)["StatusCode"])
            said = container.logs(stdout=True, stderr=False).decode(errors="replace")
            seconds = time.monotonic() - began
            return Rebuilt.of(said, code, seconds, docker_host.tail(container, 5))

    def switch(self, kept: str) -> None:
        """See ``Place.switch``."""
        name = self._named(self.shard)
        container = docker_host.find(docker_host.connect(), "containers", name)
        if container is None:
            raise CrmError(f"{name}: is not there; run: crm up {self.stack}")
        grace = container.attrs["Config"].get("StopTimeout") or 120
        with _told(name):
            try:
                container.stop(timeout=grace)
                self._put_in_place(kept)
            finally:
                # Whatever happened, it runs again; one that still stops would not be started.
                container.stop(timeout=grace)
                container.start()
            _wait_healthy(container, START_SECONDS)

    def _put_in_place(self, kept: str) -> None:
        """What the server that is stopped will run on."""
        # Both in a process of Docker's: it goes on when this one is killed.
        script = (
            f"cd {DATA_PATH} && [ -d restored/mysql ] && mv -T mysql {kept}"
            " && mv -T restored/mysql mysql && rm -r restored"
        )
        workload = self.restorer("switch", ["sh", "-c", script])
        with self._helper(workload, data=self.shard) as helper:
            helper.start()
            if int(helper.wait(timeout=MOST_SECONDS)["StatusCode"]) != 0:
                why = docker_host.tail(helper, 5)
                raise CrmError(f"{self._named(self.shard)}: was not switched over: {why}")

    def volume(self, name: str) -> str:
        """See ``Place.volume``."""
        return f"the volume {self._named(name)}-data"

    def logs_of(self, name: str) -> str:
        """See ``Place.logs_of``."""
        return f"docker logs {self._named(name)}"

    def inside_of(self, name: str) -> str:
        """See ``Place.inside_of``."""
        return f"docker exec {self._named(name)}"

    def _named(self, name: str) -> str:
        """The name Docker has it under."""
        return f"crm-{self.stack}-{name}"

    @contextmanager
    def _helper(self, workload: Workload, data: str | None = None) -> Iterator[Any]:
        """A container with the backups, in no network; ``data`` names the shard whose volume it
        works in, else it has one of its own, which goes with it."""
        from docker.types import Mount

        name = self._named(workload.instances[0].name)
        client = docker_host.connect()
        client.api.timeout = MOST_SECONDS
        backups = self._named(f"{self.instance}-data")
        source = self._named(f"{data}-data") if data else None
        for volume in filter(None, (backups, source)):
            if docker_host.find(client, "volumes", volume) is None:
                raise CrmError(f"{volume}: there is no such volume; run: crm up {self.stack}")
        made = docker_host.helper(
            client,
            name,
            {STACK_LABEL: self.stack},
            image=images.choose(workload.image, docker_host.present_images(client)),
            entrypoint=[],
            command=list(workload.command),
            user=str(workload.uid),
            network_mode="none",
            mounts=[
                Mount(BACKUPS_PATH, backups, read_only=True),
                Mount(DATA_PATH, source),
            ],
            tmpfs=docker_host.tmpfs(workload.tmpfs_mib, workload.uid),
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=f"{workload.memory_mib}m",
            nano_cpus=int(workload.cpus * 1e9),
        )
        with _told(name), made as container:
            yield container


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Have what Docker refuses, or a connection to it that breaks off, be a ``CrmError``."""
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, OSError) as error:
        raise CrmError(f"{name}: {reason_of(error)}") from None


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
