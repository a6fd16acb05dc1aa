"""``crm backup``, ``backups``, ``drill`` and ``restore``: what is kept of a stack's shards.

What is said goes to standard error, so that ``--json`` leaves one JSON object on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import structs

from stacks import plan, render, stack_file
from stacks.errors import CrmError
from stacks.paths import stack_file_name
from stacks.plan import Plan
from stacks.targets import choice
from stacks.targets.backup_place import End, Manifest, Place

_CAUGHT_UP_SECONDS = 60


def back_up(stack: str, shard: str | None, *, as_json: bool) -> int:
    """Back up each shard now; 1 when one of them failed."""

    def one(place: Place) -> dict[str, Any]:
        place.back_up()
        return structs.asdict(place.listed()[-1])

    return _each(stack, shard, one, as_json)


def show(stack: str, shard: str | None, *, as_json: bool) -> int:
    """List the backups there are."""
    found = [structs.asdict(m) for p in _places(stack, shard)[1] for m in p.listed()]
    if as_json:
        print(json.dumps({"backups": found}, indent=2))
        return 0
    for backup in found:
        print("{taken}  {shard}  {rows} rows in {partitions} partitions".format_map(backup))
    if not found:
        print("none yet", file=sys.stderr)
    return 0


def drill(stack: str, shard: str | None, *, as_json: bool) -> int:
    """Restore each shard's newest backup to a throw-away server; 1 when one is not as it was."""
    return _each(stack, shard, _drill, as_json)


def _drill(place: Place) -> dict[str, Any]:
    newest = _newest(place.listed(), place)
    asked = time.time()
    try:
        behind = _behind(place.end(), newest)
    except CrmError:
        behind = None  # The server is away. What is kept of it can be tried all the same.
    made = place.rebuild(newest.taken)
    if made.problem:
        raise CrmError(made.problem)
    age = None if made.event is None else round(asked - made.event, 1)
    return {
        "backup": newest.taken,
        "rows": newest.rows,
        "partitions": newest.partitions,
        "rto_seconds": made.seconds,
        # Nothing that the server acknowledged is missing where the archive is not behind it.
        "rpo_seconds": 0 if behind == 0 else age,
        "newest_event": None if made.event is None else _text(made.event),
        "bytes_behind": behind,
    }


def restore(stack: str, to: str, shard: str | None, *, yes: bool, as_json: bool) -> int:
    """Bring shards back to what they were at the end of the second ``to``.

    Says first what it would do, and does it with ``yes`` only. Every shard is restored beside what
    runs before the first is switched over. What was there stays in the shard's volume.
    """
    until = _time(to)
    planned, places = _places(stack, shard)
    chosen = [(place, _before(place.listed(), until, place)) for place in places]
    kept = f"before-restore-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    for place, backup in chosen:
        _say(
            f"{place.shard}: backup {backup.taken} ({backup.rows} rows), then its binary logs to "
            f"{_text(until.timestamp())}; all that was written later goes. What is there now is "
            f"kept as /data/{kept} in {place.volume(place.shard)}"
        )
    if not yes:
        raise CrmError(f"crm restore {stack}: nothing was changed; to do that, add --yes")
    stop = f"{until + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}"
    for place, backup in chosen:
        _catch_up(place, backup, until)
        made = place.rebuild(backup.taken, stop, in_place=True)
        if made.problem:
            raise CrmError(f"{place.shard}: nothing was changed: {made.problem}")
        ends = "" if made.event is None else f"; its logs end at {_text(made.event)}"
        _say(f"{place.shard}: restored beside what runs, in {made.seconds} s{ends}")
    for place, _ in chosen:
        place.switch(kept)
        _say(
            f"{place.shard}: runs on it. What it ran on before can go: "
            f"{place.inside_of(place.shard)} rm -r /data/{kept}"
        )
    _say(f"cached values are as old as {planned.cache.ttl_seconds} s at most")
    # Restored servers have logs of their own, and a restore to a time from now on begins here.
    return back_up(stack, shard, as_json=as_json)


# --- Which ---------------------------------------------------------------------------------------


def _places(stack: str, only: str | None) -> tuple[Plan, list[Place]]:
    """Each shard (or the one named) and where its backups are."""
    planned = plan.make(stack, stack_file.load(stack))
    backup, database = planned.database.backup, planned.database
    where = stack_file_name(stack)
    if backup is None:
        raise CrmError(
            f"{where}: crm:database.backup: the stack asks for no backups; write "
            f"backup: {{every_hours: 24, keep: 7}} there, then run: crm up {stack}"
        )
    names = [shard.name for shard in database.shards]
    if only not in (None, *names):
        raise CrmError(
            f"--shard {only}: {stack} has no such shard; write one of {', '.join(names)}"
        )
    files = render.Renderer().tree(planned)
    return planned, [
        choice.backup_place(planned, name, instance, files)
        for name, instance in zip(names, backup.instances, strict=True)
        if only in (None, name)
    ]


def _newest(found: list[Manifest], place: Place) -> Manifest:
    if not found:
        raise CrmError(f"there is no backup yet; run: crm backup {place.stack}")
    return found[-1]


def _before(found: list[Manifest], until: datetime, place: Place) -> Manifest:
    """The newest backup that was taken at ``until`` or before."""
    fitting = [backup for backup in found if datetime.fromisoformat(backup.taken) <= until]
    if not fitting:
        oldest = _newest(found[:1], place).taken
        raise CrmError(
            f"--to: the oldest backup of {place.shard} is of {oldest}; write a later time"
        )
    return fitting[-1]


def _behind(end: End, backup: Manifest) -> int | None:
    """How many bytes of the server's log the archive lacks; ``None`` where it is of another one."""
    return end.position - end.archived if end.server_uuid == backup.server_uuid else None


def _catch_up(place: Place, backup: Manifest, until: datetime) -> None:
    """Wait until all that the server has written by now is in the archive.

    Raises ``CrmError`` where nobody puts it there, though the server may have it.
    """
    try:
        place.keeper()
    except CrmError as error:
        raise CrmError(f"{place.shard}: nothing was changed: {error}") from None
    try:
        asked = place.end()
    except CrmError as error:
        _say(f"{error}: what the archive lacks will be missing")
        return
    if asked.server_uuid != backup.server_uuid:
        _say(
            f"{place.shard}: {backup.taken} is of a server that was replaced since; "
            "its logs end there"
        )
        return
    deadline = time.monotonic() + _CAUGHT_UP_SECONDS
    now = asked
    # The next file is begun when the one before it is whole.
    while now.archived < (asked.position if now.binlog == asked.binlog else 1):
        if time.monotonic() > deadline:
            raise CrmError(
                f"{place.shard}: nothing was changed: the archive is "
                f"{asked.position - now.archived} bytes behind the server; look at: "
                f"{place.logs_of(place.instance)}"
            )
        time.sleep(0.5)
        now = place.end()


# --- Words ---------------------------------------------------------------------------------------


def _each(
    stack: str, only: str | None, work: Callable[[Place], dict[str, Any]], as_json: bool
) -> int:
    """Do ``work`` for each shard, the failure of one not being that of the others."""
    found: list[dict[str, Any]] = []
    for place in _places(stack, only)[1]:
        try:
            found.append({"shard": place.shard, "result": "succeeded", **work(place)})
        except CrmError as error:
            found.append({"shard": place.shard, "result": "failed", "message": str(error)})
        shown = {k: v for k, v in found[-1].items() if k not in ("shard", "result")}
        _say(
            f"{place.shard}: {found[-1]['result']}: "
            + ", ".join(f"{k} {v}" for k, v in shown.items())
        )
    failed = any(one["result"] == "failed" for one in found)
    if as_json:
        result = "failed" if failed else "succeeded"
        print(json.dumps({"result": result, "shards": found}, indent=2))
    return 1 if failed else 0


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=found.tzinfo or UTC, microsecond=0).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CrmError(f"--to {text}: write a time in UTC, such as 2026-01-31T23:59:59Z") from None
    if found > datetime.now(UTC):
        raise CrmError(f"--to {text}: is yet to come; write a time in UTC that has passed")
    return found


def _text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
