"""MySQL's settings in three visible layers: derived from the size, what the stack says, forced.

One pure function from memory and the stack's own settings to the lines of ``my.cnf``. Names and
ranges: https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html and
https://dev.mysql.com/doc/refman/8.4/en/innodb-parameters.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from msgspec import Struct

from stacks.database_tls import AUTHORITY, CERTIFICATE, KEY
from stacks.errors import CrmError
from stacks.workload import SECRETS_PATH


class Setting(Struct, frozen=True):
    """A line of ``my.cnf``; ``layer`` is ``derived``, ``stack`` or ``forced``."""

    name: str
    value: str
    layer: str
    reason: str


def derive(
    memory_mib: int,
    port: int,
    stack: Mapping[str, str | int],
    backup_every_hours: int | None = None,
) -> tuple[Setting, ...]:
    """The settings of a server that may use ``memory_mib`` MiB, sorted by layer and name.

    Where it is backed up, it has to write binary logs and keep them until they are archived.

    Raises ``CrmError`` when ``stack`` names a forced setting, or asks for more than memory holds.
    """
    forced = _forced(port) | _backed_up(backup_every_hours)
    for name in stack:
        if name in forced:
            value, reason = forced[name]
            raise CrmError(
                f"crm:database.settings.{name}: cannot be set, it is always {value} ({reason}); "
                "leave it out"
            )
    derived = {
        name: line
        for name, line in _derived(memory_mib).items()
        if name not in stack and name not in forced
    }
    made = (
        *(Setting(n, v, "derived", why) for n, (v, why) in sorted(derived.items())),
        *(Setting(n, str(v), "stack", "the stack file says so") for n, v in sorted(stack.items())),
        *(Setting(n, v, "forced", why) for n, (v, why) in sorted(forced.items())),
    )
    if not {_POOL, "max_connections"}.isdisjoint(stack):
        _check_memory(memory_mib, made, stack)
    return made


def max_connections(settings: tuple[Setting, ...]) -> int:
    """The number of connections the server allows.

    Raises ``CrmError`` when the stack set something that is no number.
    """
    value = next(s.value for s in settings if s.name == "max_connections")
    if not value.isdigit() or int(value) < 1:
        raise CrmError(
            f"crm:database.settings.max_connections: {value!r} is not allowed; "
            "write a whole number of connections, for example 200"
        )
    return int(value)


_POOL = "innodb_buffer_pool_size"

_SERVER_MIB = 384
"""The server itself, its threads and its dictionary, before any data."""

_CONNECTIONS_PER_MIB = 4
"""Idle ones: each has two buffers of 16 KiB and what its thread touched of its stack
(https://dev.mysql.com/doc/refman/8.4/en/memory-use.html)."""


def _check_memory(
    memory_mib: int, settings: tuple[Setting, ...], stack: Mapping[str, str | int]
) -> None:
    """Raise ``CrmError`` when the pool and all connections would not fit: a server that grows past
    its memory is killed."""
    connections, pool = max_connections(settings), _pool_mib(settings)
    each = math.ceil(connections / _CONNECTIONS_PER_MIB)
    wanted = _SERVER_MIB + pool + each
    if wanted <= memory_mib:
        return
    if _POOL in stack and (_SERVER_MIB + pool > memory_mib or "max_connections" not in stack):
        key, most, unit = _POOL, memory_mib - _SERVER_MIB - each, "M"
    else:
        key, unit = "max_connections", ""
        most = (memory_mib - _SERVER_MIB - pool) * _CONNECTIONS_PER_MIB
    way_out = f"write {most}{unit} or less, or raise" if most >= 5 else "raise"
    raise CrmError(
        f"crm:database.settings.{key}: {_SERVER_MIB} MiB for the server + {pool} for the buffer "
        f"pool + {each} for {connections} connections = {wanted} MiB, but a shard has "
        f"{memory_mib}; {way_out} crm:database.memory_mib"
    )


def _pool_mib(settings: tuple[Setting, ...]) -> int:
    value = next(s.value for s in settings if s.name == _POOL)
    found = re.fullmatch(r"([0-9]+)([KMGTPE]?)", value.upper())
    if found is None:
        raise CrmError(
            f"crm:database.settings.{_POOL}: {value!r} is not allowed; "
            "write a size, for example 512M"
        )
    unit: int = 1024 ** " KMGTPE".index(found[2] or " ")
    return math.ceil(int(found[1]) * unit / 2**20)


def _derived(memory_mib: int) -> dict[str, tuple[str, str]]:
    small = memory_mib < 2048
    instances = 1 if small else 4
    free = (memory_mib - _SERVER_MIB) * 3 // 4
    # The server rounds the pool *up* to whole chunks in every instance, beyond what was meant for
    # it, and wants 1000 chunks at most:
    # https://dev.mysql.com/doc/refman/8.4/en/innodb-buffer-pool-resize.html
    chunk = 32 // instances
    while free // chunk > 1000:
        chunk *= 2
    pool = max(64, free // (chunk * instances) * (chunk * instances))
    return {
        "binlog_expire_logs_seconds": ("604800", "a week of binary logs"),
        "innodb_buffer_pool_chunk_size": (f"{chunk}M", "lets the pool have the exact size below"),
        "innodb_buffer_pool_instances": (str(instances), "four where there is a gigabyte to share"),
        "innodb_buffer_pool_size": (f"{pool}M", "three quarters of what the server leaves free"),
        "innodb_flush_method": ("O_DIRECT", "data is cached once, in the buffer pool"),
        "innodb_redo_log_capacity": (
            f"{max(64, min(8192, pool // 4))}M",
            "a quarter of the buffer pool",
        ),
        "max_connections": (
            str(max(40, min(5000, (memory_mib - 256) // 4))),
            "one for each 4 MiB above 256",
        ),
        "performance_schema": (
            "OFF" if small else "ON",
            "its tables alone would take a fifth of a small server",
        ),
        "table_open_cache": ("400" if small else "2000", "few tables, many partitions"),
        # A temporary table that is made when there is nothing left of both is not found again where
        # a query goes over it twice: https://bugs.mysql.com/bug.php?id=112704
        "temptable_max_mmap": (f"{memory_mib}M", "files, which the kernel can write out"),
        "temptable_max_ram": (f"{max(16, memory_mib // 32)}M", "sorts never push the pool out"),
    }


def _forced(port: int) -> dict[str, tuple[str, str]]:
    layout = "where this platform keeps things"
    durable = "anything else loses acknowledged writes in a crash"
    vouched = "clients verify who they talk to"
    return {
        "bind_address": ("0.0.0.0", "only the stack's own networks reach it"),  # noqa: S104
        "character_set_server": ("utf8mb4", "names in every script"),
        "datadir": ("/data/mysql", layout),
        "default_time_zone": ("+00:00", "one clock for every shard"),
        "innodb_doublewrite": ("ON", durable),
        "innodb_flush_log_at_trx_commit": ("1", durable),
        "local_infile": ("OFF", "no client may hand the server its files"),
        "mysqlx": ("OFF", "a second port nobody asked for"),
        "pid_file": ("/run/crm/mysqld.pid", layout),
        "port": (str(port), "the stack's database.port"),
        "require_secure_transport": ("ON", "nothing is sent in plain text"),
        "secure_file_priv": ("NULL", "no statement may read or write the server's files"),
        "skip_name_resolve": ("ON", "accounts are by network, and DNS may be away"),
        "socket": ("/run/crm/mysqld.sock", layout),
        "ssl_ca": (f"{SECRETS_PATH}/{AUTHORITY}", vouched),
        "ssl_cert": (f"{SECRETS_PATH}/{CERTIFICATE}", vouched),
        "ssl_key": (f"{SECRETS_PATH}/{KEY}", vouched),
        "sql_mode": (
            "STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
            "NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY",
            "a value that does not fit is refused, never cut",
        ),
        "sync_binlog": ("1", durable),
        "tls_version": ("TLSv1.2,TLSv1.3", "earlier ones are read by whoever records them"),
        "tmpdir": ("/data/tmp", layout),
    }


def _backed_up(every_hours: int | None) -> dict[str, tuple[str, str]]:
    if every_hours is None:
        return {}
    seconds = max(7 * 24, 3 * every_hours) * 3600
    return {
        "binlog_expire_logs_seconds": (str(seconds), "three backups may fail, or be away a week"),
        "log_bin": ("binlog", "what a restore to a point in time goes by"),
    }
