"""What this replica was told: app.json, environment variables and the secrets' folder."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from crm.errors import CrmError

STOPPING = "stopping"  # a file of that name in Settings.shared says that SIGTERM came

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")]
Identifier = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Port = Annotated[int, Meta(ge=1, le=65535)]


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """``threads`` is per worker: a replica answers workers * threads requests at once.

    ``body_kib`` is the largest body of a request, in KiB.
    """

    workers: Annotated[int, Meta(ge=1, le=64)]
    threads: Annotated[int, Meta(ge=1, le=256)]
    port: Port = 8000
    body_kib: Annotated[int, Meta(ge=1, le=1_048_576)] = 64


class ShardSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One MySQL server and the buckets it holds, both ends included."""

    name: Name
    host: Host
    port: Port
    first_bucket: Annotated[int, Meta(ge=0)]
    last_bucket: Annotated[int, Meta(ge=0)]


class DatabaseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """``pool_size`` is connections per worker and shard; ``map_version`` is of the whole map.

    ``ssl_mode`` says how a server is verified, in the words of MySQL's own clients; ``ca`` is the
    secret with the authority (PEM) that it is verified by (None: those the system trusts).
    """

    buckets: Annotated[int, Meta(ge=1, le=65536)]
    map_version: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}$")]
    name: Annotated[str, Meta(min_length=1)]
    user: Annotated[str, Meta(min_length=1)]
    pool_size: Annotated[int, Meta(ge=1, le=256)]
    shards: Annotated[tuple[ShardSettings, ...], Meta(min_length=1)]
    ssl_mode: Literal["verify_identity", "verify_ca", "required"] = "verify_identity"
    ca: Identifier | None = None


class NodeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    host: Host
    port: Port


class CacheSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """``nodes`` of a cluster are where to ask first; it names the others itself."""

    mode: Literal["single", "cluster"]
    nodes: Annotated[tuple[NodeSettings, ...], Meta(min_length=1)]
    ttl_seconds: Annotated[int, Meta(ge=1)]


class PartitionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a table's range partitions are kept, in intervals of its ``column``.

    So many ``ahead`` and so many behind (``retention``; None: all). ``archive``: what is older
    goes into a table of its own, from there into a file, or, with a yes, nowhere.
    """

    table: Identifier
    column: Identifier
    interval: Literal["month", "week", "day"]
    ahead: Annotated[int, Meta(ge=1)]
    retention: Annotated[int, Meta(ge=1)] | None = None
    archive: Literal["table", "file", "drop"] = "table"


class AppFile(Struct, frozen=True, forbid_unknown_fields=True):
    """app.json, as the platform writes it."""

    stack: str
    server: ServerSettings
    database: DatabaseSettings
    cache: CacheSettings
    partitions: tuple[PartitionSettings, ...] = ()


@dataclass(frozen=True)
class Secrets:
    """The folder of secret files. Read at need, so that a rotated one is seen at reconnect."""

    folder: Path

    def read(self, name: str) -> str:
        try:
            value = (self.folder / name).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CrmError(f"secret {name} cannot be read: {type(error).__name__}") from error
        if not value:
            raise CrmError(f"secret {name} is empty")
        return value


@dataclass(frozen=True)
class Settings:
    """Everything the application is made from.

    ``shared`` is a folder on tmpfs in which the workers of one replica meet.
    """

    instance: str
    secrets: Secrets
    file: AppFile
    schema: Path
    shared: Path

    @property
    def is_stopping(self) -> bool:
        """Whether SIGTERM came: requests are still served, but checks fail."""
        return (self.shared / STOPPING).exists()


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises CrmError naming file and key."""
    path = Path(environ.get("CRM_CONFIG", "/etc/crm/app.json"))
    instance = environ.get("CRM_INSTANCE", "app")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", instance):
        raise CrmError(f"CRM_INSTANCE: {instance!r} is no name; right would be: app-1")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CrmError(f"{path}: cannot be read: {error.strerror}") from error
    return Settings(
        instance=instance,
        secrets=Secrets(Path(environ.get("CRM_SECRETS", "/etc/crm/secrets"))),
        file=parse(content, str(path)),
        schema=path.with_name("schema.sql"),
        shared=Path(environ.get("PROMETHEUS_MULTIPROC_DIR", "/run/crm/metrics")),
    )


def parse(content: bytes, where: str) -> AppFile:
    """app.json's bytes, checked. ``where`` names the file in errors."""
    try:
        file = msgspec.json.decode(content, type=AppFile)
    except msgspec.ValidationError as error:
        what, _, key = str(error).partition(" - at `$.")
        raise CrmError(f"{where}: {key.rstrip('`') or 'file'}: {what}{_nearest(what)}") from error
    except msgspec.DecodeError as error:
        raise CrmError(f"{where}: is no JSON: {error}") from error
    _check_map(file.database, where)
    return file


def _nearest(what: str) -> str:
    """The known key closest to a misspelt one."""
    unknown = re.search(r"unknown field `(.+)`", what)
    structs = (
        *(AppFile, ServerSettings, DatabaseSettings, ShardSettings),
        *(CacheSettings, PartitionSettings),
    )
    known = {field for struct in structs for field in struct.__struct_fields__}
    near = difflib.get_close_matches(unknown[1], sorted(known), n=1) if unknown else []
    return f"; did you mean `{near[0]}`?" if near else ""


def _check_map(database: DatabaseSettings, where: str) -> None:
    """Every bucket must be on exactly one shard, or customers would be lost or found twice."""
    shards = database.shards
    if len({shard.name for shard in shards}) < len(shards):
        raise CrmError(f"{where}: database.shards: two shards have one name")
    expected = 0
    for shard in sorted(shards, key=lambda shard: shard.first_bucket):
        if shard.first_bucket != expected or shard.last_bucket < shard.first_bucket:
            raise CrmError(
                f"{where}: database.shards: {shard.name} holds buckets {shard.first_bucket} to "
                f"{shard.last_bucket}, but the next free bucket is {expected}: "
                f"shards must cover 0 to {database.buckets - 1} without gap or overlap"
            )
        expected = shard.last_bucket + 1
    if expected != database.buckets:
        raise CrmError(
            f"{where}: database.shards: cover buckets 0 to {expected - 1}, "
            f"right would be 0 to {database.buckets - 1}"
        )
