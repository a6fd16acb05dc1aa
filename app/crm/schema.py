"""The run-once job: tables on every shard, and the row that says which shard it is."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pymysql

from crm import mysql, settings
from crm.errors import CrmError
from crm.settings import DatabaseSettings, Secrets, ShardSettings

WAIT_SECONDS = 120.0
PAUSE_SECONDS = 1.0
# Data definition may have to wait for running transactions.
STATEMENT_SECONDS = 300
LOCK = "crm_schema"


def main(environ: Mapping[str, str]) -> None:
    """Bring every shard up to schema.sql. Raises CrmError, naming the shard."""
    loaded = settings.load(environ)
    try:
        statements = list(split(loaded.schema.read_text(encoding="utf-8")))
    except OSError as error:
        raise CrmError(f"{loaded.schema}: cannot be read: {error.strerror}") from error
    database = loaded.file.database
    with ExitStack() as stack:
        connections = []
        for shard in database.shards:
            connection = stack.enter_context(wait_for(shard, database, loaded.secrets))
            with told(shard):
                apply(connection, shard, database, statements)
            connections.append((shard, connection))
        # Only now: two shards that name one server overwrite each other's row.
        for shard, connection in connections:
            with told(shard):
                verify(connection, shard, database)
            print(f"{shard.name}: {len(statements)} statements applied, identity verified")


@contextmanager
def told(shard: ShardSettings) -> Iterator[None]:
    """Turn a driver's error into a sentence that names the shard."""
    try:
        yield
    except (OSError, pymysql.MySQLError) as error:
        raise CrmError(f"{shard.name}: {mysql.plain(error)}") from error


def split(script: str) -> Iterator[str]:
    """The statements of a script: each ends in a semicolon at the end of a line."""
    lines: list[str] = []
    for line in script.splitlines():
        if not lines and (not line.strip() or line.lstrip().startswith("--")):
            continue
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines).rstrip().rstrip(";")
            lines = []
    if lines:
        raise CrmError(f"schema.sql: the last statement lacks its semicolon: {lines[0].strip()}")


def wait_for(
    shard: ShardSettings, database: DatabaseSettings, secrets: Secrets
) -> mysql.RawConnection:
    """A connection as the schema's owner. The server may still be starting, or making accounts."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            password = secrets.read("database_owner_password")
            return mysql.connect(shard, database, password, read_seconds=STATEMENT_SECONDS)
        except (CrmError, OSError, RuntimeError, pymysql.MySQLError) as error:
            if time.monotonic() > deadline:
                raise CrmError(
                    f"{shard.name}: not reached within {WAIT_SECONDS:g} s: {mysql.plain(error)}"
                ) from error
        time.sleep(PAUSE_SECONDS)


def apply(
    connection: mysql.RawConnection,
    shard: ShardSettings,
    database: DatabaseSettings,
    statements: list[str],
) -> None:
    """Run the statements, then write the identity. One job at a time per shard."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION max_execution_time = 0")
        if scalar(cursor, f"SELECT GET_LOCK('{LOCK}', 60)") != 1:
            raise CrmError(f"{shard.name}: another schema job is running; try again when it ended")
        stored = mysql.stored_identity(connection)
        expected = mysql.expected_identity(shard, database)
        if stored is not None and stored != expected and holds_rows(cursor):
            raise CrmError(
                f"{shard.name}: this server holds rows as {mysql.describe(stored)}, "
                f"the shard map says {mysql.describe(expected)}: "
                "with this map its customers would not be found, so nothing was changed"
            )
        for statement in statements:
            cursor.execute(statement)
        cursor.execute(
            "REPLACE INTO crm_shard (id, name, buckets, first_bucket, last_bucket) "
            "VALUES (1, %s, %s, %s, %s)",
            expected,
        )
        connection.commit()
        cursor.execute(f"SELECT RELEASE_LOCK('{LOCK}')")


def verify(
    connection: mysql.RawConnection, shard: ShardSettings, database: DatabaseSettings
) -> None:
    connection.rollback()
    stored = mysql.stored_identity(connection)
    expected = mysql.expected_identity(shard, database)
    if stored is None:
        raise CrmError(f"{shard.name}: the identity that was written is not there any more")
    if stored != expected:
        raise CrmError(
            f"{shard.name}: the server now says it is {mysql.describe(stored)}, "
            f"right would be {mysql.describe(expected)}: do two shards name one server?"
        )


def holds_rows(cursor: Any) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM customers) OR EXISTS (SELECT 1 FROM users)"
    return bool(scalar(cursor, query))


def scalar(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchone()[0]
