"""Looks after partitions once, as a process that kills itself on the way.

``python -m tests.live.partitions_killed NOW N before|sent``: at its Nth statement that changes
something, before it is sent, or when the server has it and its answer was not read.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from typing import Any

from pymysql.connections import Connection

from crm import partitions, settings


def main(now: datetime, last: int, when: str) -> None:
    met = 0
    send, read = Connection._execute_command, Connection._read_query_result  # type: ignore[attr-defined]

    def counted(self: Any, command: int, sql: Any) -> Any:
        nonlocal met
        text = sql.decode() if isinstance(sql, bytes) else sql
        met += text.startswith(("ALTER", "CREATE", "LOCK", "INSERT", "DELETE", "COMMIT", "UNLOCK"))
        if met == last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        return send(self, command, sql)

    def answered(self: Any, *args: Any, **kwargs: Any) -> Any:
        if met == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, *args, **kwargs)

    loaded = settings.load(os.environ)
    shard = loaded.file.database.shards[0]
    with partitions.connected(loaded, shard) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"SET timestamp = {now.timestamp()}")
        Connection._execute_command = counted  # type: ignore[attr-defined]
        Connection._read_query_result = answered  # type: ignore[attr-defined]
        life = loaded.file.partitions[0]
        partitions.run(connection, shard, life, now, print, apply=True, yes=False)


if __name__ == "__main__":
    main(datetime.fromisoformat(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
