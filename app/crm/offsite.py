"""Keeps a copy of one shard's backups and binary logs in a bucket of S3's kind.

Once, what the bucket has and the volume lacks comes back. From then on, new backups and what is
written of the logs go there. Each of the two has a thread of its own, so that logs do not wait for
a backup that takes hours.
"""

import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from crm import offsite_bucket, offsite_down
from crm import offsite_names as names
from crm.errors import CrmError
from crm.offsite_backups import Backups, Needs
from crm.offsite_bucket import Bucket
from crm.offsite_logs import Logs
from crm.offsite_volume import Volume
from crm.settings import Secrets

LOOK_SECONDS = 1.0
"""How often it is asked whether there is a new backup, or another log was begun."""

AGAIN_SECONDS = 60
"""After a start, what was overdue before gets this time, and no more."""

_LAST = "crm_offsite_last_success_timestamp_seconds"

Seconds = Annotated[int, Meta(ge=1)]


class OffsiteFile(Struct, frozen=True, forbid_unknown_fields=True):
    """offsite.json, as the platform writes it.

    Logs are copied every ``every_seconds``; the last success of that must not be older than
    ``overdue_seconds``, that of backups not older than ``backups_overdue_seconds``. ``keep`` and
    ``keep_seconds`` are the keeper's own. ``ca`` says whether there is an authority to trust.
    """

    bucket: str
    prefix: str
    region: str
    endpoint: str | None
    path_style: bool
    ca: bool
    every_seconds: Seconds
    overdue_seconds: Seconds
    backups_overdue_seconds: Seconds
    keep: Annotated[int, Meta(ge=1)]
    keep_seconds: Seconds


class Copier:
    """The copy of one ``shard``; ``state`` is a folder in which its health check looks.

    ``clock`` says the time in seconds since 1970.
    """

    def __init__(
        self,
        shard: str,
        file: OffsiteFile,
        bucket: Bucket,
        volume: Volume,
        state: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shard = shard
        self._file = file
        self._bucket = bucket
        self._volume = volume
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        needs = Needs(bucket, volume)
        self._logs = Logs(bucket, volume, needs)
        self._backups = Backups(bucket, volume, needs, self.say, clock)
        self._success: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        self._unwritten: dict[Path, str] = {}
        self._held = {"backups": 0, "bytes": 0}
        self._lasts = {
            "binlogs": file.overdue_seconds,
            "backups": file.backups_overdue_seconds,
        }
        began = clock()
        self._overdue = {what: began + lasts for what, lasts in self._lasts.items()}
        # Of another bucket, it says nothing of this one.
        if self.is_joined:
            self._read_metrics(began)
        self._write_state()

    @property
    def is_joined(self) -> bool:
        """Whether the volume has had all that was in this place of this bucket."""
        try:
            return self._joined.read_text(encoding="utf-8") == self._bucket.where
        except FileNotFoundError:
            return False

    @property
    def _joined(self) -> Path:
        return self._volume.root / "offsite" / "joined"

    def join(self) -> None:
        """Bring back what the volume lacks, once for each volume and bucket."""
        offsite_down.bring_back(self._bucket, self._volume, self.say)
        self._joined.parent.mkdir(parents=True, exist_ok=True)
        _replace(self._joined, self._bucket.where)

    def copy_logs(self) -> None:
        """One round over the logs."""
        self._logs.copy()

    def copy_backups(self) -> None:
        """One round over the backups, and what is kept too long."""
        there = self._backups.copy(self._file.keep, self._file.keep_seconds)
        self._held = {"backups": len(names.backups(there)), "bytes": sum(there.values())}

    def attempt(self, what: str, work: Callable[[], None]) -> bool:
        """Do ``work``, which is a part of ``what`` (binlogs or backups); whether it succeeded. A
        failure is said once, until it is another one."""
        try:
            work()
        except (CrmError, OSError) as error:
            problem = f"error: {error}"
        else:
            problem = ""
        with self._lock:
            if problem and problem not in self._problems.values():
                self.say(f"{problem}; it is tried again every {self._file.every_seconds} s")
            elif not problem and self._problems.get(what):
                self.say(f"{what}: goes on")
            self._problems[what] = problem
            self._write_state()
        return not problem

    def has_problem(self, what: str) -> bool:
        """Whether the last attempt at ``what`` failed."""
        return bool(self._problems.get(what))

    def succeeded(self, what: str) -> None:
        """Note that the bucket has all of ``what`` there was a moment ago."""
        with self._lock:
            now = self._clock()
            self._success[what] = now
            self._overdue[what] = now + self._lasts[what]
            self._write_state()
            self._write_metrics()

    def say(self, line: str) -> None:
        """A line of the log."""
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {self._shard}: {line}", flush=True)

    def _write_state(self) -> None:
        problems = dict.fromkeys(filter(None, self._problems.values()))
        self._write(self._state / "problem", "\n".join(problems) or "no round has ended in time")
        self._write(self._state / "overdue", str(int(min(self._overdue.values()))))

    @property
    def _metrics(self) -> Path:
        return self._volume.root / "metrics" / "offsite.prom"

    def _write_metrics(self) -> None:
        """In the form of node-exporter's textfile collector, beside the keeper's own."""
        shard = f'shard="{self._shard}"'
        lines = [
            f"# TYPE {_LAST} gauge",
            *(f'{_LAST}{{{shard},of="{w}"}} {int(t)}' for w, t in sorted(self._success.items())),
            *(
                line
                for name, value in self._held.items()
                for line in (
                    f"# TYPE crm_offsite_{name} gauge",
                    f"crm_offsite_{name}{{{shard}}} {value}",
                )
            ),
        ]
        self._write(self._metrics, "\n".join([*lines, ""]))

    def _read_metrics(self, now: float) -> None:
        """Go on from what was written before this start, which must not hide a failure."""
        try:
            text = self._metrics.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        for what, lasts in self._lasts.items():
            if found := re.search(rf'^{_LAST}{{.*of="{what}"}} (\d+)$', text, re.MULTILINE):
                success = min(float(found[1]), now)
                self._success[what] = success
                self._overdue[what] = max(success + lasts, now + min(lasts, AGAIN_SECONDS))
        for name in self._held:
            if found := re.search(rf"^crm_offsite_{name}{{.*}} (\d+)$", text, re.MULTILINE):
                self._held[name] = int(found[1])

    def _write(self, path: Path, text: str) -> None:
        """Put ``text`` there so that nobody reads half of it. Where that fails, as on a full
        volume, it is said once: copies go on."""
        try:
            path.parent.mkdir(exist_ok=True)
            _replace(path, text)
        except OSError as error:
            problem = f"error: {path} cannot be written: {error.strerror or error}; copies go on"
        else:
            problem = ""
        if problem and problem != self._unwritten.get(path):
            self.say(problem)
        self._unwritten[path] = problem


def run(copier: Copier, volume: Volume, every: float) -> None:
    """Go on for ever, in two threads."""
    while not copier.is_joined:
        if not copier.attempt("backups", copier.join):
            time.sleep(every)

    def here() -> tuple[list[str], list[str]]:
        return volume.backups(), list(volume.logs())

    def go_on(what: str, work: Callable[[], None]) -> None:
        while True:
            seen = here()
            if copier.attempt(what, work):
                copier.succeeded(what)
            due = time.monotonic() + every
            # Another backup or log is no reason to ask a server again that has just failed.
            while time.monotonic() < due and (here() == seen or copier.has_problem(what)):
                time.sleep(LOOK_SECONDS)

    def until_it_breaks(what: str, work: Callable[[], None]) -> None:
        try:
            go_on(what, work)
        except BaseException:
            # Not left to one thread of two: a new start takes up both.
            traceback.print_exc()
            os._exit(1)

    work = {"binlogs": copier.copy_logs, "backups": copier.copy_backups}
    for one in work.items():
        threading.Thread(target=until_it_breaks, args=one, daemon=True).start()
    threading.Event().wait()


def load(environ: Mapping[str, str]) -> OffsiteFile:
    """Read offsite.json. Raises ``CrmError`` naming the file."""
    path = Path(environ.get("CRM_CONFIG", "/etc/crm/offsite.json"))
    try:
        return msgspec.json.decode(path.read_bytes(), type=OffsiteFile)
    except OSError as error:
        raise CrmError(f"{path}: cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise CrmError(f"{path}: {error}") from None


def main(environ: Mapping[str, str]) -> None:
    """Go on until SIGTERM. Objects are whole or not there, so nothing has to be finished."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    file = load(environ)
    secrets = Secrets(Path(environ.get("CRM_SECRETS", "/etc/crm/secrets")))
    shard = environ["CRM_SHARD"]
    store = offsite_bucket.s3(
        bucket=file.bucket,
        region=file.region,
        endpoint=file.endpoint,
        path_style=file.path_style,
        keys=(secrets.read("backup_s3_access_key_id"), secrets.read("backup_s3_secret_access_key")),
        authority=secrets.read("backup_s3_ca") if file.ca else None,
    )
    prefix = f"{file.prefix}/{shard}"
    where = f"{file.endpoint or f'S3 in {file.region}'}, bucket {file.bucket}, {prefix}"
    volume = Volume(Path(environ.get("CRM_DATA", "/data")))
    copier = Copier(
        shard,
        file,
        Bucket(store, prefix, where),
        volume,
        Path(environ.get("CRM_STATE", "/run/crm")),
    )
    run(copier, volume, file.every_seconds)


def _replace(path: Path, text: str) -> None:
    """Put ``text`` there so that nobody reads half of it."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
