"""The database: which shard holds a row, connections to each, and asking all of them at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from pymysql import MySQLError
from sqlalchemy import Connection, CursorResult, Executable, Table, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from crm import mysql
from crm.errors import CrmError, DependencyError
from crm.figures import Figures
from crm.gate import Gate
from crm.ids import bucket_of, new_id
from crm.settings import DatabaseSettings, Secrets, Settings, ShardSettings

# Long enough for a statement to meet its own limit first (see mysql.SESSION).
FAN_OUT_SECONDS = 4.0

T = TypeVar("T")


class Transaction:
    """A transaction on one shard, each statement timed."""

    def __init__(self, connection: Connection, shard: str, figures: Figures) -> None:
        self._connection = connection
        self._shard = shard
        self._figures = figures

    def run(self, table: Table, statement: Executable) -> CursorResult[Any]:
        with self._figures.query(self._shard, table.name):
            return self._connection.execute(statement)

    def look(self, statement: Executable) -> list[Any]:
        """The rows of what no request asked for: it is not among the queries that are timed."""
        return list(self._connection.execute(statement))


class Shard:
    """One MySQL server. Each new connection proves that it is the server the map means."""

    def __init__(
        self, shard: ShardSettings, database: DatabaseSettings, secrets: Secrets, figures: Figures
    ) -> None:
        self.name = shard.name
        self.settings = shard
        self._database = database
        self._secrets = secrets
        self._good = ""
        self._denied = False
        self._figures = figures
        self._gate = Gate(shard.name, lambda: self._open().close())
        self._engine = create_engine(
            "mysql+pymysql://",
            creator=self._connect,
            pool_size=database.pool_size,
            max_overflow=0,
            pool_timeout=mysql.CONNECT_SECONDS,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        # Of its own, so that work for a slow shard queues here and not before the others.
        self.threads = ThreadPoolExecutor(database.pool_size, thread_name_prefix=shard.name)

    @property
    def is_open(self) -> bool:
        return self._gate.reason is None

    @property
    def is_locked_out(self) -> bool:
        """Whether the server has taken no password of this process so far: one that was changed
        may not have reached the server yet."""
        return self._denied and not self._good

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """A transaction, committed when the block ends well. Raises DependencyError."""
        try:
            with self._engine.begin() as connection:
                yield Transaction(connection, self.name, self._figures)
        except PoolTimeout as error:
            raise DependencyError(self.name, "all connections are in use") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                # Raised by the driver: the next connection tells whether the server is gone.
                raise DependencyError(self.name, "the connection was lost") from error
            reason = mysql.PASSING.get(mysql.number(error))
            if reason is None:
                raise
            raise DependencyError(self.name, reason) from error

    def check(self) -> None:
        """Raise DependencyError unless the shard answers and is the one the map means."""
        self._gate.check()
        try:
            connection = self._engine.raw_connection()
        except PoolTimeout as error:
            raise DependencyError(self.name, "all connections are in use") from error
        try:
            self._verify(connection.driver_connection)
        except DependencyError:
            # It may have died with the server's last run, and the server be back: a new one tells.
            connection.invalidate()
            self._connect().close()
        finally:
            connection.close()

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def _connect(self) -> mysql.RawConnection:
        """What the pool calls: known to be down fails at once, found to be down shuts the gate."""
        self._gate.check()
        try:
            return self._open()
        except DependencyError as error:
            self._gate.shut(error.reason)
            raise

    def _open(self) -> mysql.RawConnection:
        try:
            connection = self._reach(self._secrets.read("database_app_password"))
        except (CrmError, OSError, RuntimeError, MySQLError) as error:
            raise DependencyError(self.name, mysql.plain(error)) from error
        try:
            self._verify(connection)
        except DependencyError:
            connection.close()
            raise
        return connection

    def _reach(self, password: str) -> mysql.RawConnection:
        """A connection by ``password``, or by the last one that was good: where it was changed, its
        file may be ahead of the server."""
        reach = partial(mysql.connect, self.settings, self._database, self._secrets)
        try:
            connection = reach(password)
        except MySQLError as error:
            self._denied = mysql.is_denied(error)
            if not self._denied or self._good in ("", password):
                raise
            return reach(self._good)
        self._good = password
        return connection

    def _verify(self, connection: Any) -> None:
        try:
            found = mysql.stored_identity(connection)
            connection.rollback()
        except (OSError, MySQLError) as error:
            raise DependencyError(self.name, mysql.plain(error)) from error
        expected = mysql.expected_identity(self.settings, self._database)
        if found is None:
            raise DependencyError(self.name, "has no identity yet: run the schema job")
        if found != expected:
            raise DependencyError(
                self.name,
                f"refused: the server says it is {mysql.describe(found)}, "
                f"the shard map expects {mysql.describe(expected)}",
            )


class Shards:
    """The shard map."""

    def __init__(self, settings: Settings, figures: Figures) -> None:
        database = settings.file.database
        self.buckets = database.buckets
        self._shards = [
            Shard(shard, database, settings.secrets, figures)
            for shard in sorted(database.shards, key=lambda shard: shard.first_bucket)
        ]
        self._by_bucket = [
            shard
            for shard in self._shards
            for _ in range(shard.settings.first_bucket, shard.settings.last_bucket + 1)
        ]

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards)

    def bucket_of(self, row_id: int) -> int:
        return bucket_of(row_id, self.buckets)

    def of(self, row_id: int) -> Shard:
        """The shard that holds a customer (and their orders) or a user."""
        return self._by_bucket[self.bucket_of(row_id)]

    def place(self) -> int:
        """An id for a new row, on a shard that is not known to be down if there is one."""
        row_id = new_id()
        for _ in range(self.buckets):
            if self.of(row_id).is_open:
                break
            row_id = new_id()
        return row_id

    def ask(
        self, work: Callable[[Shard], T], seconds: float = FAN_OUT_SECONDS
    ) -> Iterator[tuple[Shard, T | DependencyError]]:
        """Ask every shard at once; answers come as they arrive, a shard that is down as its error.

        A caller who has enough may stop reading: work not begun by then is dropped.
        """
        waiting = {shard.threads.submit(work, shard): shard for shard in self._shards}
        try:
            for future in as_completed(tuple(waiting), timeout=seconds):
                shard = waiting.pop(future)
                try:
                    answer: T | DependencyError = future.result()
                except DependencyError as error:
                    answer = error
                yield shard, answer
        except TimeoutError:
            for shard in waiting.values():
                yield shard, DependencyError(shard.name, f"no answer within {seconds:g} s")
        finally:
            for future in waiting:
                future.cancel()

    def check_soon(self) -> None:
        """Check every shard in the background: one that is down or wrong is logged at the start."""
        for shard in self._shards:
            shard.threads.submit(shard.check)

    def close(self) -> None:
        for shard in self._shards:
            shard.close()
