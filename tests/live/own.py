"""MySQL and Redis servers of a test's own, beside any stack, gone with its block."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import docker
from docker.models.containers import Container

from stacks import images
from stacks.spec import Images
from tests.live.ports import free_port

TMPFS = {"/run/crm": "mode=0777", "/tmp": "mode=0777"}
DATA_MIB = 600
START_SECONDS = 180


def gateway() -> str:
    """This machine's address on Docker's default bridge, where all containers can reach it."""
    network = docker.from_env().networks.get("bridge")
    for config in network.attrs["IPAM"]["Config"]:
        if "Gateway" in config:
            return str(config["Gateway"])
    # Docker does not always say; it is the first address of the subnet.
    subnet = str(network.attrs["IPAM"]["Config"][0]["Subnet"])
    return subnet.rpartition(".")[0] + ".1"


def ask(container: Container, *command: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of ``command`` inside ``container``."""
    code, output = container.exec_run(list(command), environment=environment)
    assert isinstance(code, int)
    assert isinstance(output, bytes)
    return code, output.decode()


def is_question(statement: str) -> bool:
    """Whether it changes nothing, and may be asked again where there was no answer: what a command
    prints in a container is lost now and then (https://github.com/docker/docker-py/issues/2042)."""
    words = statement.strip().rstrip(";")
    return words.upper().startswith(("SELECT", "SHOW")) and ";" not in words


@dataclass(frozen=True)
class MySQL:
    """A running MySQL server with an empty root password on its own socket."""

    container: Container
    port: int

    def sql(self, statements: str, *options: str) -> list[list[str]]:
        """What ``statements`` yield; an error fails."""
        code, output = self.ask(statements, *options)
        if not output and is_question(statements):
            code, output = self.ask(statements, *options)
        assert code == 0, output
        return [line.split("\t") for line in output.splitlines()]

    @property
    def authority(self) -> str:
        """The authority that it made for itself at its first start. What that vouches for names no
        host: `ssl_mode: verify_ca`."""
        code, text = ask(self.container, "cat", "/data/mysql/ca.pem")
        assert code == 0, text
        return text

    def wait(self) -> None:
        """Until it answers."""
        _wait(self.container, ["mysql", "-S/run/crm/mysqld.sock", "-uroot", "-e", "SELECT 1"])

    def ask(self, statements: str, *options: str) -> tuple[int, str]:
        """Exit code and output of the ``mysql`` client; as root unless ``options`` say."""
        command = ["mysql", "--no-defaults", "-S/run/crm/mysqld.sock", "-uroot", "-NB"]
        command += ["--default-character-set=utf8mb4", *options, "-e", statements]
        return ask(self.container, *command)


@contextmanager
def mysql(
    *, restarts: bool = False, data_mib: int = DATA_MIB, buffer_mib: int = 64
) -> Iterator[MySQL]:
    """A MySQL server of the default image, its data in memory; with ``restarts`` one that is
    started again when it is killed."""
    port = free_port()
    options = (
        "--datadir=/data/mysql --socket=/run/crm/mysqld.sock --pid-file=/run/crm/mysqld.pid "
        "--mysqlx=OFF --secure-file-priv=NULL --skip-log-bin --performance-schema=OFF "
        f"--innodb-redo-log-capacity=64M --innodb-buffer-pool-size={buffer_mib}M"
    )
    script = (
        f"mysqld --no-defaults --initialize-insecure {options} && "
        + ("while :; do mysqld" if restarts else "exec mysqld")
        + f" --no-defaults --skip-name-resolve {options}"
        + ("; done" if restarts else "")
    )
    ports = {"3306/tcp": (gateway(), port)}
    with _running(Images().mysql, "mysql", script, ports, data_mib) as container:
        server = MySQL(container, port)
        server.wait()
        yield server


@contextmanager
def redis(password: str) -> Iterator[tuple[Container, int]]:
    """A Redis server of the default image that wants ``password``, and its port."""
    port = free_port()
    script = f"exec redis-server --dir /data --requirepass {password}"
    with _running(Images().redis, "redis", script, {"6379/tcp": (gateway(), port)}) as container:
        _wait(container, ["redis-cli", "-a", password, "--no-auth-warning", "PING"])
        yield container, port


@contextmanager
def _running(
    reference: str,
    kind: str,
    script: str,
    ports: dict[str, tuple[str, int]],
    data_mib: int = DATA_MIB,
) -> Iterator[Container]:
    container = docker.from_env().containers.create(
        images.ensure(reference, print),
        name=f"crm-ext-{secrets.token_hex(4)}-{kind}",
        entrypoint=["sh", "-c", script],
        command=[],
        user="999",
        ports=ports,
        tmpfs={**TMPFS, "/data": f"mode=0777,size={data_mib}m"},
    )
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True, v=True)


def _wait(container: Container, command: list[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        container.reload()
        assert container.status == "running", container.logs(tail=20).decode()
        if ask(container, *command)[0] == 0:
            return
        assert time.monotonic() < deadline, container.logs(tail=20).decode()
        time.sleep(0.3)
