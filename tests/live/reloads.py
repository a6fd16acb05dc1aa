"""Deploying until the edge goes by its new files: a reload is only asked for when ``up`` ends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from docker.models.containers import Container

from tests.live.stack import Stack
from tests.live.waiting import wait_until

LISTENING = "0A"


def up(stack: Stack) -> dict[str, int]:
    """``crm up``; where that changes files in place, which are the edge's, no process that read
    the earlier ones takes connections any more."""
    before = accepting(stack.container("edge"))
    changes = stack.up()

    def others_accept() -> bool:
        now = accepting(stack.container("edge"))
        return bool(now) and now.isdisjoint(before)

    if changes["update"]:
        wait_until(others_accept, "the edge goes by its new files")
    return changes


def accepting(proxy: Container) -> set[int]:
    """The proxy's processes that take new connections: who has a socket that listens. Not the
    first one, which has others do so."""
    first = int(proxy.attrs["State"]["Pid"])
    found = set()
    for _, process, *_ in proxy.top()["Processes"]:
        with suppress(OSError):  # It ended meanwhile.
            if int(process) != first and listens(int(process)):
                found.add(int(process))
    return found


def listens(process: int) -> bool:
    place, sockets = Path(f"/proc/{process}"), set[str]()
    for table in ("tcp", "tcp6"):
        lines = (place / "net" / table).read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        sockets |= {f"socket:[{row[9]}]" for row in rows if row[3] == LISTENING}
    for file in (place / "fd").iterdir():
        with suppress(FileNotFoundError):  # It was closed meanwhile.
            if str(file.readlink()) in sockets:
                return True
    return False
