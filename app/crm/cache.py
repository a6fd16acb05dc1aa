"""The cache: read through it, change behind it, live without it.

Cache-aside with leases. Who misses leaves a lease in the key's place, reads the database and fills
the key only if the lease is still there; who changes a row puts its own lease down first and
removes the key after the commit. So a slow reader cannot bring an old value back after a change
(the race of plain cache-aside), and a writer that dies between commit and removal leaves a lease
that runs out, not an old value.

A cache that cannot be reached never fails a request, and the first ones only wait, for about a
second: the read goes to the database and counts as a miss. A removal that failed is done when the
cache is back; until then, and at most for the time to live, others may read the old value.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.credentials import CredentialProvider
from redis.retry import Retry

from crm.errors import DependencyError
from crm.figures import Figures
from crm.gate import Gate
from crm.settings import CacheSettings, Secrets

TIMEOUT_SECONDS = 0.25
# Longer than any transaction may take (see mysql.SESSION).
LEASE_SECONDS = 10
LEASE = b"lease:"
NAME = "cache"

FILL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
"""

# Redis or RedisCluster. Any, as much of redis-py is unannotated or annotated as awaitable too.
Client = Any
T = TypeVar("T")


class PasswordFile(CredentialProvider):
    """Reads the password at each connection, so that a rotated one is seen."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def get_credentials(self) -> tuple[str]:
        return (self._secrets.read("cache_password"),)


def open_client(settings: CacheSettings, secrets: Secrets) -> Client:
    """A client whose every step is bounded by TIMEOUT_SECONDS. A cluster's asks the cluster."""
    bounds: dict[str, Any] = {
        "credential_provider": PasswordFile(secrets),
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "socket_timeout": TIMEOUT_SECONDS,
    }
    if settings.mode == "single":
        node = settings.nodes[0]
        return Redis(node.host, node.port, retry=Retry(NoBackoff(), 0), **bounds)
    make_node: Any = ClusterNode
    return RedisCluster(
        startup_nodes=[make_node(node.host, node.port) for node in settings.nodes],
        retry=Retry(NoBackoff(), 1),
        require_full_coverage=False,
        # Addresses learnt from the cluster go stale when its containers are made anew.
        dynamic_startup_nodes=False,
        **bounds,
    )


class Cache:
    """Values by key. ``connect`` makes the client, at first need."""

    def __init__(
        self, settings: CacheSettings, connect: Callable[[], Client], figures: Figures
    ) -> None:
        self._clustered = settings.mode == "cluster"
        self._ttl_seconds = settings.ttl_seconds
        self._connect = connect
        self._figures = figures
        self._lock = threading.Lock()
        self._made: Client = None
        self._gate = Gate(NAME, self._probe, opened=self._forget_late)
        self._nodes: dict[str, Gate] = {}
        self._late: set[tuple[str, object]] = set()

    def fetch(self, key: str, load: Callable[[], bytes | None]) -> bytes | None:
        """The value of a key, loaded and kept if it was not there. None is not kept."""
        lease = LEASE + uuid.uuid4().hex.encode()
        found = self._try(
            key, lambda client: client.set(key, lease, nx=True, get=True, ex=LEASE_SECONDS)
        )
        if isinstance(found, bytes) and not found.startswith(LEASE):
            self._figures.cache_hit()
            return found
        self._figures.cache_miss()
        value = load()
        if value is not None and found is None:
            fill = (FILL, 1, key, lease, value, self._ttl_seconds)
            self._try(key, lambda client: client.eval(*fill))
        return value

    @contextmanager
    def changing(self, key: str) -> Iterator[None]:
        """Wrap the transaction that changes what a key stands for."""
        self._try(key, lambda client: client.set(key, LEASE + b"change", ex=LEASE_SECONDS))
        try:
            yield
        finally:
            # Noted before it is tried: a gate that opens in between finds the note.
            note = (key, object())
            self._late.add(note)
            self._forget(note)

    def check(self) -> None:
        """Raise DependencyError unless all of the cache answers."""
        if self._made is None or not self._clustered:
            self._ping(self._gate, None)
        self._gate.check()
        if self._clustered:
            for node in self._client().get_primaries():
                self._ping(self._node_gate(node.name), node.name)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def _forget(self, note: tuple[str, object]) -> None:
        if self._try(note[0], lambda client: client.delete(note[0])) is not None:
            self._late.discard(note)

    def _forget_late(self) -> None:
        for note in tuple(self._late):
            self._forget(note)

    def _try(self, key: str, command: Callable[[Client], T]) -> T | None:
        """Run a command; None if the cache, or the node that holds the key, does not answer."""
        gate = self._gate
        if gate.reason is not None:
            return None
        try:
            client = self._client()
            gate = self._gate_of(client, key)
            return command(client) if gate.reason is None else None
        except Exception as error:  # redis-py raises IndexError too, for a cluster it cannot reach
            gate.shut(plain(error))
            return None

    def _client(self) -> Client:
        if self._made is None:
            if not self._lock.acquire(timeout=TIMEOUT_SECONDS):
                raise TimeoutError("another request is still connecting")
            try:
                if self._made is None:
                    self._made = self._connect()
            finally:
                self._lock.release()
        return self._made

    def _gate_of(self, client: Client, key: str) -> Gate:
        return (
            self._node_gate(client.get_node_from_key(key).name) if self._clustered else self._gate
        )

    def _node_gate(self, node: str) -> Gate:
        """A cluster's nodes have a gate each: a lost master costs its own keys only."""
        gate = self._nodes.get(node)
        if gate is None:
            made = Gate(f"{NAME} {node}", lambda: self._probe(node), opened=self._forget_late)
            gate = self._nodes.setdefault(node, made)
        return gate

    def _ping(self, gate: Gate, node: str | None) -> None:
        gate.check()
        try:
            self._probe(node)
        except DependencyError as error:
            gate.shut(error.reason)
            raise

    def _probe(self, node: str | None = None) -> None:
        """Raise DependencyError unless the cache answers, or its one node if that is still in use.

        A cluster as a whole answers when any of its nodes tells where the keys are.
        """
        client: Client = None
        try:
            client = self._client()
            if node is not None:
                found = client.get_node(node_name=node)
                if found is not None:
                    client.ping(target_nodes=found)
            elif self._clustered:
                client.nodes_manager.initialize()
            else:
                client.ping()
        except Exception as error:
            if node is None and client is not None:
                # The next one starts from the nodes we were told, not from addresses gone stale.
                self._made = None
                client.close()
            raise DependencyError(NAME, plain(error)) from error


def plain(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
