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
DISTRUST_SECONDS = 30.0  # a server takes up a new certificate every ten
# Data definition may have to wait for running transactions.
STATEMENT_SECONDS = 300

# A table that an earlier release made has no such column; schema.sql makes it of new ones.
VERSION = "map_version VARCHAR(16) NOT NULL DEFAULT ''"
HAS_VERSION = (
    "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() "
    "AND table_name = 'crm_shard' AND column_name = 'map_version'"
)


def main(environ: Mapping[str, str]) -> None:
    """Bring every shard up to schema.sql. Raises CrmError, naming the shard."""
    loaded = settings.load(environ)
    try:
        statements = list(split(loaded.schema.read_text(encoding="utf-8")))
    except OSError as error:
        raise CrmError(f"{loaded.schema}: cannot be read: {error.strerror}") from error
    database = loaded.file.database
    with ExitStack() as stack:
        connections = [
            (shard, stack.enter_context(wait_for(shard, database, loaded.secrets)))
            for shard in database.shards
        ]
        # Each step on all of them before the next: a map that one of them refuses changes none,
        # and two shards that name one server have overwritten each other's row by the last.
        for shard, connection in connections:
            with told(shard):
                accept(connection, shard, database)
        for shard, connection in connections:
            with told(shard):
                apply(connection, shard, database, statements)
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


def connect(
    shard: ShardSettings,
    database: DatabaseSettings,
    secrets: Secrets,
    read_seconds: int = STATEMENT_SECONDS,
) -> mysql.RawConnection:
    """A connection as the account that may change tables."""
    password = secrets.read("database_owner_password")
    return mysql.connect(shard, database, secrets, password, read_seconds=read_seconds)


def wait_for(
    shard: ShardSettings, database: DatabaseSettings, secrets: Secrets
) -> mysql.RawConnection:
    """A connection as the schema's owner. The server may still be starting, or making accounts."""
    deadline = time.monotonic() + WAIT_SECONDS
    distrusted = time.monotonic() + DISTRUST_SECONDS
    while True:
        try:
            return connect(shard, database, secrets)
        except (CrmError, OSError, RuntimeError, pymysql.MySQLError) as error:
            if mysql.is_distrusted(error) and time.monotonic() > distrusted:
                raise CrmError(
                    f"{shard.name}: {mysql.plain(error)}; of a database of your own, "
                    "crm:database.external.ca_certificate names the authority, and ssl_mode what "
                    "is verified"
                ) from error
            if time.monotonic() > deadline:
                raise CrmError(
                    f"{shard.name}: not reached within {WAIT_SECONDS:g} s: {mysql.plain(error)}"
                ) from error
        time.sleep(PAUSE_SECONDS)


def accept(
    connection: mysql.RawConnection, shard: ShardSettings, database: DatabaseSettings
) -> None:
    """Refuse a map that does not fit the rows that are there. One job at a time per shard: from
    here on it holds the lock, as long as its connection lives."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION max_execution_time = 0")
        # Named after the shard, so that another one which names the same server is found out.
        if scalar(cursor, "SELECT GET_LOCK(%s, 60)", f"crm_schema {shard.name}") != 1:
            raise CrmError(f"{shard.name}: another schema job is running; try again when it ended")
        stored = mysql.stored_identity(connection)
        expected = mysql.expected_identity(shard, database)
        if stored is None:
            return
        fits = stored._replace(map_version=stored.map_version or expected.map_version) == expected
        if not fits and holds_rows(cursor):
            raise CrmError(
                f"{shard.name}: this server holds rows as {mysql.describe(stored)}, "
                f"the shard map says {mysql.describe(expected)}: "
                "with this map its customers would not be found, so nothing was changed"
            )


def apply(
    connection: mysql.RawConnection,
    shard: ShardSettings,
    database: DatabaseSettings,
    statements: list[str],
) -> None:
    """Run the statements, then write the identity."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        if not scalar(cursor, HAS_VERSION):
            cursor.execute(f"ALTER TABLE crm_shard ADD {VERSION}")
        cursor.execute(
            "REPLACE INTO crm_shard (id, name, buckets, first_bucket, last_bucket, map_version) "
            "VALUES (1, %s, %s, %s, %s, %s)",
            mysql.expected_identity(shard, database),
        )
        connection.commit()


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


def scalar(cursor: Any, query: str, *values: str) -> Any:
    cursor.execute(query, values)
    return cursor.fetchone()[0]
