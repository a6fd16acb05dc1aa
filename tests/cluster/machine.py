"""What the cluster asks of this machine, from outside its namespaces: cgroups, a link, processes.

Everything has a name derived from the checkout's path, so that what a crash left can be found
without any record of it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stacks.errors import CrmError
from tests.cluster import place

GONE_SECONDS = 20


# --- cgroups -------------------------------------------------------------------------------------


def cgroup_roots() -> list[Path]:
    """Where cgroups are mounted: each hierarchy of version 1, or the one of version 2."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    first = [Path(words[1]) for words in lines if words[2] == "cgroup"]
    return first or [Path(words[1]) for words in lines if words[2] == "cgroup2"]


def cgroups(spot: place.Place) -> list[Path]:
    """The cluster's own cgroup in every hierarchy, there or not."""
    return [root / spot.cgroup for root in cgroup_roots()]


def make_cgroups(spot: place.Place) -> list[Path]:
    """Make them; OSError where this machine does not let one."""
    made = cgroups(spot)
    for cgroup in made:
        cgroup.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # In version 1 a new cgroup has none, and no process may join it.
            if (cgroup / name).exists() and (cgroup.parent / "cpuset.cpus").exists():
                (cgroup / name).write_text((cgroup.parent / name).read_text())
        if is_version_2(cgroup):
            for controller in ("cpu", "cpuset", "memory", "pids"):
                with suppress(OSError):  # What is missing the kubelet will name.
                    (cgroup.parent / "cgroup.subtree_control").write_text(f"+{controller}")
    return made


def is_version_2(cgroup: Path) -> bool:
    """Whether ``cgroup`` is of version 2, where processes may be in leaves only."""
    return (cgroup / "cgroup.controllers").exists()


def leave_cgroup(spot: place.Place, process: int) -> None:
    """With version 2 take ``unshare`` out again: the node hands controllers on to its pods."""
    for cgroup in cgroups(spot):
        if is_version_2(cgroup):
            (cgroup.parent / "cgroup.procs").write_text(str(process))


def members(spot: place.Place) -> set[int]:
    """Every process of the cluster: whatever is in its cgroups."""
    found: set[int] = set()
    for cgroup in cgroups(spot):
        for path in cgroup.rglob("cgroup.procs"):
            with suppress(OSError):
                found |= {int(line) for line in path.read_text().split()}
    return found - {0}


def remove_cgroups(spot: place.Place) -> None:
    """Remove them from the leaves up; a cgroup whose last process just ended may take a moment."""
    deadline = time.monotonic() + GONE_SECONDS
    for cgroup in cgroups(spot):
        while cgroup.exists():
            for folder, _, _ in os.walk(cgroup, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise CrmError(f"{cgroup}: still there {GONE_SECONDS} s after its last process")
            time.sleep(0.02)


# --- Processes -----------------------------------------------------------------------------------


def kill_members(spot: place.Place) -> None:
    """Kill every process of the cluster, each by its id, until none is left."""
    deadline = time.monotonic() + GONE_SECONDS
    while pids := members(spot):
        if time.monotonic() > deadline:
            raise CrmError(f"processes {sorted(pids)} of the cluster cannot be killed")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def first_process(parent: int) -> int | None:
    """The process that ``unshare`` (``parent``) started: first of the namespaces."""
    with suppress(OSError):
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0]) if children else None
    return None


# --- The link ------------------------------------------------------------------------------------


def free_link_range(spot: place.Place) -> tuple[str, str]:
    """(machine's address, node's address) of a /30 that nothing here uses.

    The first candidate follows from the checkout's path. CrmError when none is free.
    """
    used = list(_used_ranges())
    candidates = list(ipaddress.IPv4Network(place.LINK_RANGE).subnets(new_prefix=30))
    begin = int(spot.tag, 16) % len(candidates)
    for candidate in candidates[begin:] + candidates[:begin]:
        if not any(candidate.overlaps(taken) for taken in used):
            machine, node = candidate.hosts()
            return str(machine), str(node)
    raise CrmError(f"no /30 of {place.LINK_RANGE} is free on this machine")


def other_end(address: str) -> str:
    """The machine's address on the link at whose other end the node has ``address``."""
    return str(next(ipaddress.IPv4Interface(f"{address}/30").network.hosts()))


def _used_ranges() -> Iterator[ipaddress.IPv4Network]:
    for entry in json.loads(_ip("-json", "-4", "address")):
        for address in entry.get("addr_info", ()):
            yield ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
    for route in json.loads(_ip("-json", "-4", "route")):
        if route["dst"] != "default":
            yield ipaddress.IPv4Network(route["dst"], strict=False)


def make_link(spot: place.Place, address: str, process: int) -> None:
    """A pair of interfaces: one end here with ``address``, the other in ``process``' namespace."""
    _ip("link", "add", spot.link, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    _ip("address", "add", f"{address}/30", "dev", spot.link)
    _ip("link", "set", spot.link, "up")


def remove_link(spot: place.Place) -> None:
    """Remove this end, and the other with it; it may have gone with its namespace."""
    if Path("/sys/class/net", spot.link).exists():
        with suppress(CrmError):
            _ip("link", "delete", spot.link)
    deadline = time.monotonic() + GONE_SECONDS
    while Path("/sys/class/net", spot.link).exists():
        if time.monotonic() > deadline:
            raise CrmError(f"network interface {spot.link} cannot be removed")
        time.sleep(0.02)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CrmError(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout
