"""A keeper's volume and rounds of copies, for tests of what goes to a bucket and comes back."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from crm.offsite import OffsiteFile
from crm.offsite_backups import Backups, Needs
from crm.offsite_bucket import Bucket
from crm.offsite_logs import Logs
from crm.offsite_volume import Volume
from stacks import plan, render, stack_file

OLD = "11111111-1111-1111-1111-111111111111"
NEW = "22222222-2222-2222-2222-222222222222"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86_400


class Clock:
    """A copier's clock: the first of March, until it is set."""

    now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def settings(**changes: int) -> OffsiteFile:
    """As the platform renders it."""
    s3 = {"bucket": "kept", "access_key_id": {"env": "A"}, "secret_access_key": {"env": "B"}}
    of = plan.make("dev", stack_file.parse({"database": {"backup": {"s3": s3}}}, "dev"))
    told = render.Renderer().tree(of)["backup/offsite.json"]
    return msgspec.json.decode(json.dumps(json.loads(told) | changes), type=OffsiteFile)


class Keeper:
    """A volume as the keeper of backups fills it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.volume = Volume(root)
        root.mkdir()

    def backup(self, day: int, log: int, server: str = OLD) -> str:
        """A whole backup of that day of February, which goes on in the log of that number."""
        name = f"2026-02-{day:02}T00:00:00Z"
        folder = self.root / "backups" / name
        folder.mkdir(parents=True)
        manifest = {"server_uuid": server, "binlog": f"binlog.{log:06}", "position": 4}
        files = {
            "dump.sql.gz": f"rows of {name}",
            "rows.tsv": "a\tb\n",
            "manifest.json": json.dumps(manifest),
        }
        for file, text in files.items():
            (folder / file).write_text(text)
        sums = [f"{hashlib.sha256(t.encode()).hexdigest()}  {f}\n" for f, t in files.items()]
        (folder / "SHA256SUMS").write_text("".join(sums))
        return name

    def log(self, number: int, text: str, server: str = OLD) -> str:
        path = self.root / "binlogs" / server / f"binlog.{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path.relative_to(self.root).as_posix()

    def remove(self, name: str) -> None:
        shutil.rmtree(self.root / "backups" / name)


def copy(bucket: Bucket, keeper: Keeper, keep: int = 2, days: int | None = None) -> list[str]:
    """One round over the backups, at an interval of a day; what was removed from the bucket."""
    said: list[str] = []
    backups = Backups(
        bucket, keeper.volume, Needs(bucket, keeper.volume), said.append, NOW.timestamp
    )
    backups.copy(keep, (days or keep) * DAY)
    return [line.partition(" ")[0] for line in said if "no longer kept" in line]


def up(bucket: Bucket, keeper: Keeper) -> None:
    """All of it goes up, and nothing away."""
    Logs(bucket, keeper.volume, Needs(bucket, keeper.volume)).copy()
    copy(bucket, keeper, keep=10_000)


def text(bucket: Bucket, name: str) -> str:
    return b"".join(bucket.chunks(name, bucket.sizes()[name])).decode()


def tree(root: Path) -> dict[str, bytes]:
    """What the keeper knows of: its two folders."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("backups", "binlogs")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }
