# ruff: noqa: S608 - names come from the settings, or from the server itself
"""The life cycle of range partitions on every shard: what is missing is made, what is old archived.

Each statement is whole or not at all (MySQL's DDL is atomic), and what comes next follows from what
the server has: a run that was killed anywhere is finished by the next one.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pymysql
from msgspec import Struct

from crm import archive_files, mysql, partition_plan, schema, settings
from crm.errors import CrmError
from crm.partition_plan import COPIED_ROWS, Partition, Step, Table, Unit
from crm.settings import PartitionSettings, Settings, ShardSettings

LOCK = "crm_partitions"
LOCK_SECONDS = 60
# A statement that waits for a table's metadata lock makes all later ones wait behind it, so it
# gives up within the patience of the application's own (mysql.READ_SECONDS), and tries again.
METADATA_LOCK_SECONDS = 2
PAUSES = (1.0, 2.0, 4.0, 8.0)
LOCKED = 1205
# 1114, 1021, 3675, 1030 and 3: a table, the disk, a tablespace, the engine's write, a file's.
DISK_FULL = {1114, 1021, 3675, 1030, 3}
# Splitting off many rows takes long; it is never done without a yes.
STATEMENT_SECONDS = 3600
CLOCK_SECONDS = 3600
LOOKS = 4

Say = Callable[[str], None]


class Outcome(Struct, frozen=True):
    """What a run found and did to a table on one shard: steps done, steps that wait for a yes,
    partitions ahead (the catch-all left out)."""

    done: int
    waiting: tuple[Step, ...]
    ahead: int


def main(environ: Mapping[str, str], *, apply: bool, yes: bool) -> None:
    """Print what every shard needs, and with ``apply`` do it. Raises CrmError, naming shards."""
    loaded = settings.load(environ)
    problems = []
    for shard, life in everywhere(loaded):
        try:
            with connected(loaded, shard) as connection:
                found = run(connection, shard, life, datetime.now(UTC), print, apply=apply, yes=yes)
        except CrmError as error:
            problems.append(str(error))
            continue
        if apply and found.waiting:
            problems.append(
                f"{shard.name}: {life.table}: {len(found.waiting)} steps wait for --yes; see above"
            )
    if problems:
        raise CrmError("; ".join(problems))


def everywhere(loaded: Settings) -> list[tuple[ShardSettings, PartitionSettings]]:
    """Each table on each shard."""
    if not loaded.file.partitions:
        raise CrmError("app.json: partitions: is missing; this stack keeps none ahead or behind")
    return list(product(loaded.file.database.shards, loaded.file.partitions))


@contextmanager
def connected(loaded: Settings, shard: ShardSettings) -> Iterator[mysql.RawConnection]:
    """A connection as the schema's owner, to the server that the shard map means."""
    database = loaded.file.database
    with schema.told(shard):
        connection = schema.connect(shard, database, loaded.secrets, STATEMENT_SECONDS)
    with closing(connection):
        with schema.told(shard):
            schema.verify(connection, shard, database)
        yield connection


def run(
    connection: mysql.RawConnection,
    shard: ShardSettings,
    life: PartitionSettings,
    now: datetime,
    say: Say,
    *,
    apply: bool,
    yes: bool,
    files: Path = archive_files.FOLDER,
) -> Outcome:
    """Say what a table on ``shard`` needs at ``now`` (UTC), then do it; with ``yes`` all of it.
    Archives that are to be files are kept in ``files``.

    Raises CrmError when another run is at work, the clocks differ, or the server refuses.
    """
    with schema.told(shard), connection.cursor() as cursor:
        cursor.execute(
            "SET SESSION max_execution_time = 0, autocommit = 1, "
            f"lock_wait_timeout = {METADATA_LOCK_SECONDS}"
        )
        if apply and schema.scalar(cursor, f"SELECT GET_LOCK('{LOCK}', {LOCK_SECONDS})") != 1:
            raise CrmError(f"{shard.name}: another run is at work; try again when it ended")
        check_clock(shard, now, schema.scalar(cursor, "SELECT UTC_TIMESTAMP()"))
        done = 0
        # What is split off late may be old already, and rows may come to what was just archived.
        for look in range(LOOKS):
            try:
                table = examine(cursor, life, now.date(), files / shard.name)
                steps = partition_plan.steps(life, table, now.date())
            except CrmError as error:
                raise CrmError(f"{shard.name}: {error}") from None
            ready = [step for step in steps if yes or not step.waits_for]
            if look == 0 or ready:
                for line in shown(shard, life, steps):
                    say(line)
            if not (apply and ready):
                break
            for step in ready:
                carry_out(cursor, shard, step, files)
            done += len(ready)
            say(f"-- {shard.name}: {life.table}: {len(ready)} of {len(steps)} steps done")
        if apply:
            cursor.execute(f"SELECT RELEASE_LOCK('{LOCK}')")
        return Outcome(
            done=done,
            waiting=tuple(step for step in steps if step.waits_for),
            ahead=partition_plan.ahead(table.partitions, now.date()),
        )


def check_clock(shard: ShardSettings, now: datetime, server: datetime) -> None:
    """Two clocks have to agree on what is old."""
    if abs((now.replace(tzinfo=None) - server).total_seconds()) > CLOCK_SECONDS + 60:
        raise CrmError(
            f"{shard.name}: the clock here says {now:%Y-%m-%d %H:%M}, the server's "
            f"{server:%Y-%m-%d %H:%M} (UTC): nothing was changed; set the one that is wrong"
        )


def shown(shard: ShardSettings, life: PartitionSettings, steps: list[Step]) -> Iterator[str]:
    """The steps as SQL to read, or to run by hand."""
    if not steps:
        yield f"-- {shard.name}: {life.table}: nothing to do"
    for step in steps:
        yield f"-- {shard.name}: {step.why}"
        if step.waits_for:
            yield f"-- waits for --yes: {step.waits_for}"
        for statement in statements(step):
            yield f"{statement};"


def statements(step: Step) -> list[str]:
    """All of a step's, locks included."""
    if not step.locks:
        return list(step.statements)
    locks = ", ".join(f"`{name}` WRITE" for name in step.locks)
    return [f"LOCK TABLES {locks}", *step.statements, "UNLOCK TABLES"]


def examine(cursor: Any, life: PartitionSettings, today: date, files: Path) -> Table:
    """What the server has, and what of it the shard's ``files`` have.

    Raises CrmError for a table that is partitioned in another way.
    """
    partitions = read_partitions(cursor, life)
    units = {}
    definition = ""
    for partition in partition_plan.expired(life, partitions, today):
        for name in partition.units:
            units[name] = Unit(
                name,
                filled=holds_rows(cursor, life.table, name),
                archive=archive_state(cursor, partition_plan.archive_of(life.table, name)),
            )
    if units:
        cursor.execute(f"SHOW CREATE TABLE `{life.table}`")
        # A line of its own, which no string in there can begin: line breaks in them are escaped.
        whole = re.split(r"\n/\*!\d+ PARTITION BY", cursor.fetchone()[1])[0]
        definition = whole.removeprefix(f"CREATE TABLE `{life.table}` ")
    late = 0
    if partitions[-1].below is None:
        some = f"SELECT 1 FROM `{life.table}` PARTITION (`{partitions[-1].name}`)"
        some += f" LIMIT {COPIED_ROWS + 1}"
        late = int(schema.scalar(cursor, f"SELECT COUNT(*) FROM ({some}) AS late"))
    archived = {}
    if life.archive == "file":
        live = {partition_plan.archive_of(life.table, u) for p in partitions for u in p.units}
        archived = {
            name: bool(archive_files.files(files, name))
            for name in archives(cursor, life)
            if name not in live
        }
    return Table(partitions, definition, units, late, archived)


def archives(cursor: Any, life: PartitionSettings) -> list[str]:
    """The tables that partitions have become: whatever their names, no views, nothing that is
    partitioned itself, and nothing without the column that rows are old by."""
    cursor.execute(
        "SELECT TABLE_NAME FROM information_schema.TABLES JOIN information_schema.COLUMNS "
        "USING (TABLE_SCHEMA, TABLE_NAME) WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = %s "
        "AND TABLE_TYPE = 'BASE TABLE' AND CREATE_OPTIONS NOT LIKE %s "
        "AND LEFT(TABLE_NAME, CHAR_LENGTH(%s)) = %s ORDER BY TABLE_NAME",
        (
            *(life.column, "%partitioned%"),
            *(prefix := partition_plan.archive_of(life.table, ""), prefix),
        ),
    )
    return [str(name) for (name,) in cursor.fetchall()]


def read_partitions(cursor: Any, life: PartitionSettings) -> tuple[Partition, ...]:
    cursor.execute(
        "SELECT PARTITION_NAME, SUBPARTITION_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, "
        "PARTITION_DESCRIPTION FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() "
        "AND TABLE_NAME = %s ORDER BY PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION",
        (life.table,),
    )
    found: dict[str, Partition] = {}
    rows = cursor.fetchall()
    if not rows:
        raise CrmError(f"{life.table}: there is no such table")
    for name, part, method, expression, below in rows:
        if method != "RANGE COLUMNS" or expression != f"`{life.column}`":
            raise CrmError(
                f"{life.table}: is partitioned by {method or 'nothing'} ({expression}), right "
                f"would be RANGE COLUMNS (`{life.column}`): `up` does not alter a table that is "
                "there; see docs/operations.md, Partitions"
            )
        bound = None if below == "MAXVALUE" else date.fromisoformat(below.strip("'")[:10])
        before = found[name].units if name in found else ()
        found[name] = Partition(name, bound, (*before, part or name))
    return tuple(found.values())


def holds_rows(cursor: Any, table: str, partition: str = "") -> bool:
    where = f"`{table}` PARTITION (`{partition}`)" if partition else f"`{table}`"
    return bool(schema.scalar(cursor, f"SELECT EXISTS (SELECT 1 FROM {where})"))


def archive_state(cursor: Any, archive: str) -> Literal["absent", "empty", "filled"]:
    cursor.execute(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
        "AND TABLE_NAME = %s",
        (archive,),
    )
    if cursor.fetchone() is None:
        return "absent"
    return "filled" if holds_rows(cursor, archive) else "empty"


def carry_out(cursor: Any, shard: ShardSettings, step: Step, files: Path) -> None:
    """Do one step, again after a pause where others hold the table. Raises CrmError."""
    filed = None
    for pause in (*PAUSES, None):
        try:
            # It takes long, so once, and before anything is locked.
            if step.file and filed is None:
                filed = archive_files.ensure(cursor, files / shard.name, step.file)
            _carry_out(cursor, step, filed)
            return
        except CrmError as error:
            raise CrmError(f"{shard.name}: {error}") from error
        except pymysql.MySQLError as error:
            number = error.args[0] if error.args else 0
            what = f"{shard.name}: {(*step.statements, step.why)[0].splitlines()[0]}"
            if number in DISK_FULL:
                raise CrmError(
                    f"{what}: the disk is full ({mysql.plain(error)}): the statement was taken "
                    "back and no row is lost; make room, and the next run goes on from here"
                ) from error
            if number != LOCKED:
                raise CrmError(f"{what}: {mysql.plain(error)}") from error
            if pause is None:
                raise CrmError(
                    f"{what}: a transaction held the table {len(PAUSES) + 1} times for "
                    f"{METADATA_LOCK_SECONDS} s: nothing was changed; the next run tries again"
                ) from error
        time.sleep(pause)


def _carry_out(cursor: Any, step: Step, filed: archive_files.Measure | None) -> None:
    if not step.locks:
        for statement in step.statements:
            cursor.execute(statement)
        return
    lock, *_, unlock = statements(step)
    # As the manual has it for transactions under locks: no commit but the one at the end.
    cursor.execute("SET SESSION autocommit = 0")
    try:
        cursor.execute(lock)
        # Rows may have come since it was looked at: they are archived next time.
        if not (step.empty and holds_rows(cursor, step.locks[0], step.empty)):
            if step.file and archive_files.measured(cursor, step.file) != filed:
                raise CrmError(
                    f"{step.file}: changed while it was read: it stays, the next run tries again"
                )
            for statement in step.statements:
                cursor.execute(statement)
    except (pymysql.MySQLError, CrmError):
        # A server that is gone says no more; what it said first is what is told.
        with suppress(pymysql.MySQLError):
            _end(cursor, "ROLLBACK", unlock)
        raise
    _end(cursor, "COMMIT", unlock)


def _end(cursor: Any, end: str, unlock: str) -> None:
    for statement in (end, unlock, "SET SESSION autocommit = 1"):
        cursor.execute(statement)
