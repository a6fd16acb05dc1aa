"""This machine's Docker, spoken to directly: what the dynamic resources and the checks do there.

Imports the Docker SDK inside functions: the program is loaded for a preview without it.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stacks.errors import CrmError
from stacks.workload import DATA_PATH, FILES_PATH, STACK_LABEL

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

KINDS = {
    "docker:index/network:Network": "networks",
    "docker:index/volume:Volume": "volumes",
    "docker:index/container:Container": "containers",
}
"""Pulumi's names of what Docker makes → the Docker SDK's collection of it."""

_HELPER_SECONDS = 60
_POLL_SECONDS = 0.25
_SETTLE_SECONDS = 1
"""How long one without a health check must run to count as running."""


def connect() -> DockerClient:
    """A client of the machine's daemon, or ``CrmError`` when none answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=300)
        client.ping()
    except (DockerException, OSError) as error:
        raise CrmError(
            f"Docker does not answer ({_first_line(error)}); start it "
            "(`systemctl start docker`, or run `make up`, which installs and starts it on Debian)"
        ) from None
    return client


@contextmanager
def helper(
    client: DockerClient, name: str, labels: Mapping[str, str], **options: Any
) -> Iterator[Any]:
    """A container of our own named ``name``, gone afterwards; one left by a kill goes first."""
    remove_container(client, name)
    container = client.containers.create(name=name, labels=dict(labels), **options)
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def remove_container(client: DockerClient, name: str) -> None:
    """Remove the container ``name`` if there is one."""
    from docker.errors import NotFound

    try:
        client.containers.get(name).remove(force=True, v=True)
    except NotFound:
        return


def files_archive(files: Mapping[str, str], secrets: Mapping[str, str], uid: int) -> bytes:
    """A tar of ``files`` (readable by all) and ``secrets/`` (by ``uid`` alone)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add_folder(archive, "secrets", uid, 0o500)
        for name, text in sorted(files.items()):
            _add_file(archive, name, text, uid, 0o444)
        for name, text in sorted(secrets.items()):
            _add_file(archive, f"secrets/{name}", text, uid, 0o400)
    return buffer.getvalue()


def folder(path: str, uid: int, mode: int) -> bytes:
    """A tar that, unpacked at ``/``, makes the folder ``path`` or gives it to ``uid``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add_folder(archive, path.lstrip("/"), uid, mode)
    return buffer.getvalue()


def _add_folder(archive: tarfile.TarFile, name: str, uid: int, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, uid, uid
    archive.addfile(entry)


def _add_file(archive: tarfile.TarFile, name: str, text: str, uid: int, mode: int) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, uid, uid
    # nginx keeps a certificate over a reload whose file has the same inode and time.
    entry.mtime = int(time.time())
    archive.addfile(entry, io.BytesIO(content))


def write_volume(props: Mapping[str, Any]) -> None:
    """Fill a files volume (and hand a data volume to its user) through a container that is never
    started: a read-only root refuses archives even into a mounted volume (moby #43015)."""
    client = connect()
    binds = {props["volume"]: {"bind": FILES_PATH, "mode": "rw"}}
    if props["data"]:
        binds[props["data"]] = {"bind": DATA_PATH, "mode": "rw"}
    with helper(
        client,
        f"{props['volume']}-writer",
        props["labels"],
        image=props["image"],
        command=["true"],
        volumes=binds,
        network_mode="none",
    ) as container:
        archive = files_archive(props["files"], props["secrets"], int(props["uid"]))
        container.put_archive(FILES_PATH, archive)
        if props["data"]:
            container.put_archive("/", folder(DATA_PATH, int(props["uid"]), 0o700))


def validate(props: Mapping[str, Any], extra_hosts: Mapping[str, str] | None = None) -> None:
    """Let the service itself judge the new files, in a container of their own.

    ``extra_hosts`` are names it may look up where what they name does not run. Raises ``CrmError``
    with what it said, file and line included, when it refuses them.
    """
    reload = props.get("reload")
    if not reload:
        return
    client = connect()
    with helper(
        client,
        f"{props['volume']}-validator",
        props["labels"],
        image=props["image"],
        entrypoint=[],
        command=list(reload["validate"]),
        user=str(int(props["uid"])),
        network=reload["networks"][0] if reload["networks"] else None,
        extra_hosts=dict(extra_hosts or {}),
        tmpfs=tmpfs(reload["tmpfs_mib"], int(props["uid"])),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    ) as container:
        container.put_archive("/", folder(FILES_PATH, 0, 0o755))
        # A proxy reads its certificate to judge its configuration. They go with this container.
        archive = files_archive(props["files"], props["secrets"], int(props["uid"]))
        container.put_archive(FILES_PATH, archive)
        container.start()
        status = int(container.wait(timeout=_HELPER_SECONDS)["StatusCode"])
        if status != 0:
            raise CrmError(
                f"{reload['container']}: the new configuration is refused and not in use: "
                f"{tail(container, 5)}"
            )


def signal(props: Mapping[str, Any]) -> None:
    """Tell the running service that its files changed, if it runs."""
    from docker.errors import APIError, NotFound

    reload = props.get("reload")
    if not reload:
        return
    try:
        container = connect().containers.get(reload["container"])
        if container.status == "running":
            container.kill(signal=reload["signal"])
    except NotFound:
        return  # It reads the new files when it starts.
    except APIError as error:
        raise CrmError(f"{reload['container']}: cannot be told to reload: {error}") from None


def join(network: str, container: str, host: str) -> None:
    """Have ``container`` reached as ``host`` in ``network``, if it is not there already.

    Raises ``CrmError`` when one of them is gone.
    """
    from docker.errors import APIError

    client = connect()
    try:
        there = client.containers.get(container).attrs["NetworkSettings"]["Networks"]
        if network not in there:
            client.networks.get(network).connect(container, aliases=[host])
    except APIError as error:
        raise CrmError(f"{host}: cannot join the network {network}: {error}") from None


def run_job(props: Mapping[str, Any]) -> None:
    """Run a container to its end. Raises ``CrmError`` with its last lines when it fails."""
    client = connect()
    networks = props["networks"]
    with helper(
        client,
        props["name"],
        props["labels"],
        image=props["image"],
        entrypoint=[],
        command=list(props["command"]),
        user=str(int(props["uid"])),
        environment=dict(props["env"]),
        hostname=props["host"],
        network=networks[0] if networks else None,
        volumes={props["volume"]: {"bind": FILES_PATH, "mode": "ro"}},
        tmpfs=tmpfs(props["tmpfs_mib"], int(props["uid"])),
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=f"{int(props['memory_mib'])}m",
        nano_cpus=int(float(props["cpus"]) * 1e9),
    ) as container:
        for network in networks[1:]:
            client.networks.get(network).connect(container)
        container.start()
        status = int(container.wait(timeout=int(props["timeout_seconds"]))["StatusCode"])
        if status != 0:
            raise CrmError(f"{props['name']}: the job failed (exit {status}): {tail(container, 5)}")


def tmpfs(sizes_mib: Mapping[str, Any], uid: int) -> dict[str, str]:
    """Mount options of tmpfs folders: path → options."""
    return {
        path: f"rw,noexec,nosuid,nodev,size={int(size)}m,mode=0700,uid={uid},gid={uid}"
        for path, size in sorted(sizes_mib.items())
    }


def tail(container: Any, lines: int) -> str:
    """The last ``lines`` lines a container said, on one line."""
    text = container.logs(tail=lines).decode(errors="replace")
    return (
        " | ".join(line.strip() for line in text.splitlines() if line.strip()) or "it said nothing"
    )


def find(client: DockerClient, kind: str, key: str) -> Any:
    """The one of ``containers``, ``networks`` or ``volumes`` with that name or id, or None."""
    from docker.errors import NotFound

    try:
        return getattr(client, kind).get(key)
    except NotFound:
        return None


def belongings(stack: str) -> list[Any]:
    """Every container, helpers included, and network with the label of ``stack``, in that order;
    none without a Docker: what needs one will say so itself."""
    try:
        client = connect()
    except CrmError:
        return []
    only: dict[str, Any] = {"label": f"{STACK_LABEL}={stack}"}
    containers = client.containers.list(all=True, filters=only, ignore_removed=True)
    return [*containers, *client.networks.list(filters=only)]


def remove(found: Any, grace_seconds: int | None = None) -> None:
    """Remove an object; a container is asked to stop first, and keeps its named volumes."""
    from docker.errors import NotFound
    from docker.models.containers import Container

    try:
        if isinstance(found, Container):
            own = found.attrs["Config"].get("StopTimeout") or 10
            found.stop(timeout=own if grace_seconds is None else grace_seconds)
            found.remove(v=True, force=True)
        else:
            found.remove()
    except NotFound:
        return


def start(
    client: DockerClient, name: str, body: Mapping[str, Any], networks: Mapping[str, list[str]]
) -> Container:
    """Make a container of ``body``, the API's own, in ``networks`` (name → aliases); start it.

    An image that is not here is pulled.
    """
    from docker.errors import ImageNotFound

    try:
        client.images.get(body["Image"])
    except ImageNotFound:
        client.images.pull(body["Image"])
    # The SDK's stubs leave this one out.
    key = client.api.create_container_from_config(body, name)["Id"]  # type: ignore[no-untyped-call]
    if networks:
        client.networks.get("bridge").disconnect(key)
    for network, aliases in networks.items():
        client.networks.get(network).connect(key, aliases=aliases)
    container = client.containers.get(key)
    container.start()
    return container


def wait_ready(container: Container, seconds: float, *, has_check: bool, may_end: bool) -> None:
    """Wait until ``container`` is healthy, or without a check has run for a moment.

    One that does not get there is removed: raises ``CrmError`` with its last words.
    """
    begun, problem = time.monotonic(), ""
    while not problem:
        container.reload()
        state, passed = container.attrs["State"], time.monotonic() - begun
        is_healthy = state.get("Health", {}).get("Status") == "healthy"
        if not state["Running"] and not may_end:
            problem = f"it ended with exit code {state['ExitCode']}"
        elif is_healthy if has_check else passed > _SETTLE_SECONDS:
            return
        elif passed > seconds:
            problem = f"not healthy after {seconds} s"
        else:
            time.sleep(_POLL_SECONDS)
    checks = state.get("Health", {}).get("Log") or [{"Output": ""}]
    words = f"{checks[-1]['Output']}\n{container.logs(tail=10).decode(errors='replace')}"
    container.remove(force=True, v=True)
    raise CrmError(f"{problem}\n{words.strip()}".strip())


def drift(container: Container, body: Mapping[str, Any], *, may_end: bool) -> list[str]:
    """How ``container`` differs from what ``body`` makes, a phrase each."""
    wanted = {**body["HostConfig"], **body}
    there = {**container.attrs["HostConfig"], **container.attrs["Config"]}
    names = ("Image", "Memory", "NanoCpus", "ReadonlyRootfs")
    changed = [name for name in names if there[name] != wanted[name]]
    found = [f"{name} is {there[name]}, not {wanted[name]}" for name in changed]
    if not body["Labels"].items() <= labels(container).items():
        found.append("labels differ")
    state = container.attrs["State"]
    if not state["Running"] and not may_end:
        found.append(f"not running (exit code {state['ExitCode']})")
    return found


def labels(found: Any) -> dict[str, str]:
    """The labels of a container, a network or a volume."""
    return (found.attrs.get("Config") or found.attrs).get("Labels") or {}


def present_images(client: DockerClient) -> set[str]:
    """Every image reference this machine has."""
    # Not `images.list()`, which asks for each again and fails if it was removed meanwhile.
    return {tag for image in client.api.images() for tag in image["RepoTags"] or ()}


def holders_of_port(client: DockerClient, port: int) -> dict[str, str]:
    """The running containers that publish host ``port``: name → stack, empty for others' own."""
    return {
        str(container.name): str(container.labels.get(STACK_LABEL, ""))
        for container in client.containers.list(ignore_removed=True)
        for bindings in (container.ports or {}).values()
        for binding in bindings or ()
        if int(binding["HostPort"]) == port
    }


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
