"""How to reach one MySQL server, and whether it is the one that was meant."""

import ssl
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor
from sqlalchemy.exc import DBAPIError

from crm.settings import DatabaseSettings, Secrets, ShardSettings

RawConnection: TypeAlias = "Connection[Any]"

CONNECT_SECONDS = 2
READ_SECONDS = 3

# The server gives up before READ_SECONDS do, so that a slow statement ends as an error of that
# statement and not as a connection lost in an unknown state.
SESSION = (
    "SET SESSION innodb_lock_wait_timeout = 2, max_execution_time = 2500, time_zone = '+00:00', "
    # Else sizes (crm.sizes) would be those of up to a day ago.
    "information_schema_stats_expiry = 0"
)

# Errors of the moment, by MySQL's number: the same request may succeed in a second.
PASSING = {
    1053: "the server is shutting down",
    1205: "another change holds the row",
    1213: "another change won a deadlock",
    1290: "the server takes no writes",
    1836: "the server takes no writes",
    3024: "the statement took too long",
}

NO_TABLE = 1146
ACCESS_DENIED = 1045


class Identity(NamedTuple):
    """Which shard a server is, of which map; an older one's row has no version, which is ""."""

    name: str
    buckets: int
    first_bucket: int
    last_bucket: int
    map_version: str


def connect(
    shard: ShardSettings,
    database: DatabaseSettings,
    secrets: Secrets,
    password: str,
    *,
    read_seconds: int = READ_SECONDS,
) -> RawConnection:
    """One connection, encrypted, to a server that is verified before ``password`` is sent.

    ``secrets`` hold whom it is verified by. ``read_seconds`` bounds each wait for an answer. Raises
    CrmError for a secret that is not there, else what the driver raises.
    """
    return pymysql.connect(
        host=shard.host,
        port=shard.port,
        user=database.user,
        password=password,
        database=database.name,
        charset="utf8mb4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        write_timeout=READ_SECONDS,
        init_command=SESSION,
        ssl=trust(database.ssl_mode, secrets.read(database.ca) if database.ca else None),
    )


@lru_cache(maxsize=4)
def trust(ssl_mode: str, authority: str | None) -> ssl.SSLContext:
    """Who is taken for a server: by ``authority`` (PEM), or else those that the system trusts.

    Not ``ssl.create_default_context``: it refuses the authorities that MySQL makes for itself,
    which lack what RFC 5280 asks for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = ssl_mode == "verify_identity"
    if ssl_mode == "required":
        context.verify_mode = ssl.CERT_NONE
    elif authority is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authority)
    return context


def is_denied(error: BaseException) -> bool:
    """Whether the server did not take the password."""
    return _code(error) == ACCESS_DENIED


def is_distrusted(error: BaseException) -> bool:
    """Whether a connection was given up because the server's certificate was not taken."""
    cause = getattr(error, "original_exception", None)
    return isinstance(cause, ssl.SSLCertVerificationError)


def stored_identity(connection: RawConnection) -> Identity | None:
    """Who the server says it is: its crm_shard row. None before the schema job has written it."""
    with connection.cursor(DictCursor) as cursor:
        try:
            # All columns: a server from before there were versions has one less.
            cursor.execute("SELECT * FROM crm_shard WHERE id = 1")
        except pymysql.MySQLError as error:
            if _code(error) == NO_TABLE:
                return None
            raise
        row = cursor.fetchone()
    if row is None:
        return None
    return Identity(**{name: row.get(name, "") for name in Identity._fields})


def expected_identity(shard: ShardSettings, database: DatabaseSettings) -> Identity:
    return Identity(
        shard.name, database.buckets, shard.first_bucket, shard.last_bucket, database.map_version
    )


def describe(identity: Identity) -> str:
    name, buckets, first, last, version = identity
    return f"{name} (buckets {first} to {last} of {buckets}, map {version or 'without version'})"


def number(error: DBAPIError) -> int:
    """MySQL's number of an error, 0 for one the driver made itself."""
    return _code(error.orig)


def plain(error: BaseException) -> str:
    """One sentence about an error, for operators."""
    code = _code(error)
    return f"{error.args[1]} ({code})" if code else f"{type(error).__name__}: {error}"


def _code(error: BaseException | None) -> int:
    if isinstance(error, pymysql.MySQLError) and len(error.args) > 1:
        code = error.args[0]
        return code if isinstance(code, int) else 0
    return 0
