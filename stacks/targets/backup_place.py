"""One shard and where its backups are: what ``crm backup`` and its like ask of either target."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from msgspec import Struct, ValidationError, convert

from stacks.errors import CrmError
from stacks.plan import Plan
from stacks.targets import inside
from stacks.targets.inside import Inside
from stacks.tiers import backup as tier
from stacks.workload import FILES_PATH, Workload

MOST_SECONDS = 24 * 3600
"""How long a backup or a restore may take."""

_SCRIPT = ("bash", f"{FILES_PATH}/backup.sh")


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

    @classmethod
    def of(cls, said: str, code: int, seconds: float, last_words: str) -> Rebuilt:
        """What ``restore.sh`` ``said``, and ended with ``code``."""
        lines = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
        problem = lines.get("problem", "")
        if code != 0 and not problem:
            problem = f"it could not be restored (exit {code}): {last_words or 'it said nothing'}"
        return cls(problem, round(seconds, 1), int(lines["event"]) if "event" in lines else None)


class Place(ABC):
    """The shard ``shard`` of ``plan``; ``instance`` keeps its backups. ``files`` is the rendered
    tree."""

    def __init__(self, plan: Plan, shard: str, instance: str, files: Mapping[str, str]) -> None:
        self.plan = plan
        self.stack = plan.stack
        self.shard = shard
        self.instance = instance
        self.files = files

    def restorer(self, kind: str, command: Sequence[str]) -> Workload:
        """What runs ``command`` on the backups, as ``kind``: see ``stacks.tiers.backup``."""
        return tier.restorer(self.plan, self.files, self.shard, self.instance, kind, command)

    def back_up(self) -> str:
        """Make a backup now; what was said about it. Raises ``CrmError`` when it failed."""
        return self._ask(*_SCRIPT, "now")

    def end(self) -> End:
        """Where the running server's log ends. Raises ``CrmError`` when it cannot be asked."""
        said = self._ask(*_SCRIPT, "end")
        try:
            uuid, binlog, position, archived = said.split()
            return End(uuid, binlog, int(position), int(archived))
        except ValueError:
            raise CrmError(f"{self.shard}: does not say where its log ends: {said}") from None

    def _ask(self, *command: str) -> str:
        """What ``command`` says inside the keeper. Raises ``CrmError`` when it fails."""
        keeper = self.keeper()
        code, said = inside.ask(keeper, command)
        said = said.strip()
        if code != 0:
            last = " | ".join(said.splitlines()[-5:]) or "it said nothing"
            raise CrmError(f"{keeper.name}: {last}")
        return said

    @abstractmethod
    def keeper(self) -> Inside:
        """What keeps the shard's backups. Raises ``CrmError`` when it does not run."""

    @abstractmethod
    def listed(self) -> list[Manifest]:
        """Every whole backup, the oldest first. Raises ``CrmError`` when none can be looked at."""

    @abstractmethod
    def rebuild(self, backup: str, stop: str = "", *, in_place: bool = False) -> Rebuilt:
        """Make a data directory of ``backup`` and the logs after it (up to ``stop``), and compare.

        It goes with what made it, or with ``in_place`` stays in the shard's own volume, beside
        what runs there.
        """

    @abstractmethod
    def switch(self, kept: str) -> None:
        """Have the shard's server run on what ``rebuild`` left in its volume; what it ran on is
        kept as ``kept`` there. Raises ``CrmError`` when it is not healthy in time."""

    @abstractmethod
    def volume(self, name: str) -> str:
        """In words, the volume of the instance ``name``."""

    @abstractmethod
    def logs_of(self, name: str) -> str:
        """The command that shows the log of the instance ``name``."""

    @abstractmethod
    def inside_of(self, name: str) -> str:
        """How a command line begins that runs something inside the instance ``name``."""


def list_command(folder: str) -> list[str]:
    """The command that prints each manifest under ``folder`` on one line, the oldest first."""
    # What goes meanwhile, or is not there yet, is no manifest.
    script = (
        f"exec 2>/dev/null; cd {folder}/backups && "
        "for f in */manifest.json; do [ -e $f ] && paste -s $f; done; true"
    )
    return ["bash", "-c", script]


def manifests(said: str, volume: str) -> list[Manifest]:
    """Each line of ``said`` as a manifest. Raises ``CrmError`` where one is damaged."""
    try:
        return [convert(json.loads(line), Manifest) for line in said.splitlines()]
    except (ValueError, ValidationError):
        raise CrmError(
            f"{volume}: a manifest.json in /data/backups is damaged; "
            "remove the folder it is in, once you have looked at it"
        ) from None
