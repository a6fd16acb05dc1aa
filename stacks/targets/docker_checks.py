"""Whether this machine can carry the stack: asked before anything is touched."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.targets import docker_host
from stacks.workload import Workload, size_key


def check(stack: str, workloads: Sequence[Workload]) -> None:
    """Raise ``CrmError`` when Docker is away, the stack is too large, or a port is taken."""
    client = docker_host.connect()
    info = client.info()
    source = stack_file_name(stack)
    cpus, memory_mib = int(info["NCPU"]), int(info["MemTotal"]) // 2**20
    for workload in workloads:
        if workload.cpus > cpus:
            # What the platform sizes itself asks for less than a CPU.
            key = size_key(workload)
            raise CrmError(
                f"{source}: crm:{key}.cpus: {workload.cpus:g} CPUs, but this machine has "
                f"{cpus}; write {cpus} or less"
            )
    lines = [
        f"{workload.name} {len(workload.instances)} × {workload.memory_mib}"
        for workload in workloads
        if not workload.run_once
    ]
    wanted = sum(
        len(workload.instances) * workload.memory_mib
        for workload in workloads
        if not workload.run_once
    )
    if wanted > memory_mib:
        raise CrmError(
            f"{source}: crm:*.memory_mib: {' + '.join(lines)} = {wanted} MiB, but this machine has "
            f"{memory_mib}; lower memory_mib or the number of instances"
        )
    folders = [i.data.folder for w in workloads for i in w.instances if i.data and i.data.folder]
    if missing := [folder for folder in folders if not Path(folder).is_dir()]:
        raise CrmError(
            f"{source}: crm:database.backup.folder: {missing[0]} is no folder of this machine; "
            f"run: mkdir -p {' '.join(missing)}"
        )
    for workload in workloads:
        for port in workload.ports:
            if port.publish is not None:
                key = f"{workload.tier}.{'tls.' if port.name == 'https' else ''}port"
                _check_port(stack, source, key, port.publish, port.number)


def _check_port(stack: str, source: str, key: str, address: str, port: int) -> None:
    holders = docker_host.holders_of_port(docker_host.connect(), port)
    if stack in holders.values():
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            who = f"the container {min(holders)}" if holders else "another program"
            raise CrmError(
                f"{source}: crm:{key}: {address}:{port} cannot be used "
                f"({error.strerror}; {who} may hold it); write a free port, such as {port + 1}"
            ) from None
