"""The node's first process, in namespaces of its own: sets them up, starts the programs, reaps.

``python -m tests.cluster.node <folder> <programs> <address> <gateway>``, under ``unshare`` and in
the cluster's cgroup (see ``cluster.py``). When it is killed the kernel ends every process of the
namespaces with it, and with the last one their mounts and interfaces are gone.
Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.cluster import place, programs

API_SECONDS = 90

MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 1 << 20

FOLDERS = {
    "kubelet": "/var/lib/kubelet",
    "containerd": "/var/lib/containerd",
    "volumes": "/var/lib/volumes",
    "pod-logs": "/var/log/pods",
}
"""Folder of the cluster → where programs expect it."""


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); OSError with the target when it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = (source.encode(), target.encode(), kind.encode() or None)
    if libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def run(*command: str) -> None:
    """One command that must succeed; what it says is in the node's log."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def cover_folders(folder: Path, built: Path) -> None:
    """Empty folders in memory over those programs write to, the cluster's own within.

    Opened first: the checkout itself may lie under what is covered.
    """
    sources = {name: os.open(folder / name, os.O_PATH | os.O_DIRECTORY) for name in FOLDERS}
    home = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    programs_here = os.open(built, os.O_PATH | os.O_DIRECTORY)
    for path in ("/run", "/var/lib", "/var/log"):
        mount("tmpfs", path, "tmpfs", data="mode=755")
    targets = {home: programs.HOME, programs_here: "/run/programs"}
    targets |= {sources[name]: target for name, target in FOLDERS.items()}
    for descriptor, target in targets.items():
        Path(target).mkdir(parents=True)
        mount(f"/proc/self/fd/{descriptor}", target, flags=MS_BIND | MS_REC)
        os.close(descriptor)
    # Volumes mounted by the kubelet have to show in containers.
    mount("none", "/var/lib/kubelet", flags=MS_SHARED | MS_REC)
    Path("/run/lock").mkdir()


def mount_cgroups() -> None:
    """The cgroups as this namespace has them: its own is the root."""
    mount("sysfs", "/sys", "sysfs")
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    hierarchies = [line.split(":", 2)[1] for line in lines]
    if hierarchies == [""]:
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
        # Version 2 wants processes in leaves only before the root gives controllers away.
        leaf = Path("/sys/fs/cgroup/programs")
        leaf.mkdir()
        (leaf / "cgroup.procs").write_text("1")
        wanted = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
        deadline = time.monotonic() + 5
        while True:
            try:
                control = Path("/sys/fs/cgroup/cgroup.subtree_control")
                control.write_text(" ".join(f"+{controller}" for controller in wanted))
                break
            except OSError:
                # Until ``unshare``, whom this namespace cannot see, has been taken out.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        return
    mount("tmpfs", "/sys/fs/cgroup", "tmpfs", data="mode=755")
    for hierarchy in hierarchies:
        if not hierarchy:
            continue  # version 2 beside version 1, without controllers
        folder = Path("/sys/fs/cgroup") / hierarchy.removeprefix("name=")
        folder.mkdir()
        mount("cgroup", str(folder), "cgroup", data=hierarchy)
        for controller in hierarchy.split(",") if "," in hierarchy else ():
            (folder.parent / controller).symlink_to(folder.name)


def show_kernel_settings() -> None:
    """Lay files with the values the kubelet wants over the machine's; see KERNEL_SETTINGS."""
    for name, value in programs.KERNEL_SETTINGS.items():
        file = Path("/run/kernel-settings") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n", encoding="utf-8")
        if Path("/proc/sys", name).exists():
            mount(str(file), f"/proc/sys/{name}", flags=MS_BIND)


def set_up_network(address: str, gateway: str) -> None:
    """Addresses, forwarding, and the queue that network policies judge."""
    deadline = time.monotonic() + 10
    while not Path("/sys/class/net/eth0").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no interface eth0 came; the machine's end has {gateway}")
        time.sleep(0.02)
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{address}/30", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    # Addresses of Services are rewritten before they leave; they need a route to get so far.
    run("ip", "route", "add", place.SERVICE_RANGE, "dev", "eth0")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    outside = ("-s", place.POD_RANGE, "-o", "eth0", "-j", "MASQUERADE")
    run("iptables", "-t", "nat", "-A", "POSTROUTING", *outside)
    try:
        fill_policy_queue()
    except subprocess.CalledProcessError as error:
        # Without them policies are not enforced, which `enforces_network_policies` finds out.
        print(f"network policies: {error}", flush=True)


def fill_policy_queue() -> None:
    """The first packet of each connection from or to a pod goes to the network policies.

    After Services' addresses became pods' and before any source is rewritten. What the node's own
    root sends is let through: the kubelet's probes. ``--queue-bypass``: while nobody listens,
    during the start, all is let through.
    """
    queue = ("-j", "NFQUEUE", "--queue-num", str(place.QUEUE), "--queue-bypass")
    table = ("iptables", "-t", "mangle")
    run(*table, "-N", "POLICIES")
    run(*table, "-A", "POLICIES", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED",
        "-j", "RETURN")  # fmt: skip
    run(*table, "-A", "POLICIES", "-s", place.POD_RANGE, *queue)
    run(*table, "-A", "POLICIES", "-d", place.POD_RANGE, *queue)
    run(*table, "-A", "POSTROUTING", "-m", "owner", "--uid-owner", "0", "-j", "RETURN")
    run(*table, "-A", "POSTROUTING", "-j", "POLICIES")
    run(*table, "-A", "INPUT", "-s", place.POD_RANGE, "-j", "POLICIES")


def start(program: programs.Program) -> int:
    """Start one program with a log of its own; its process id."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/run",
    }
    log = f"{programs.HOME}/logs/{program.name}.log"
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # Not subprocess: it would wait for its children, and so does ``reap``.
    return os.posix_spawnp(
        program.command[0],
        program.command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, write, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def api_answers() -> bool:
    context = ssl.create_default_context(cafile=f"{programs.PKI}/ca.crt")
    try:
        with urllib.request.urlopen(
            "https://127.0.0.1:6443/readyz", timeout=2, context=context
        ) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def reap(running: dict[int, str]) -> None:
    """Bury the dead; a program that ended is written down, which ``status`` reports."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        name = running.pop(pid, None)
        if name is not None:
            code = os.waitstatus_to_exitcode(status)
            print(f"{name} ended with {code}", flush=True)
            with Path(programs.HOME, "ended.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"program": name, "code": code}) + "\n")


def main(folder: str, built: str, address: str, gateway: str) -> None:
    socket.sethostname(place.NODE)
    cover_folders(Path(folder), Path(built))
    mount_cgroups()
    show_kernel_settings()
    set_up_network(address, gateway)
    everything = programs.programs(address)
    running = {start(program): program.name for program in everything if program.early}
    deadline = time.monotonic() + API_SECONDS
    while not api_answers() and time.monotonic() < deadline:
        reap(running)
        time.sleep(0.2)
    running |= {start(program): program.name for program in everything if not program.early}
    while True:
        reap(running)
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
