"""The copy of backups in a bucket: what follows from what a stack asks for. Pure: no I/O."""

from __future__ import annotations

from msgspec import UNSET, Struct

from stacks.services import numbered
from stacks.spec import Backup
from stacks.spec_backup import S3
from stacks.spec_edge import SecretReference

ACCESS_KEY_ID, SECRET_ACCESS_KEY = "backup_s3_access_key_id", "backup_s3_secret_access_key"
AUTHORITY = "backup_s3_ca"
"""The stack's names of the secrets that the copier is given."""

OFFSITE_MIB = 192
"""A copier holds few chunks of 8 MiB at a time, however large a backup is."""

_EVERY_SECONDS = 30
_OVERDUE_SECONDS = 600


class OffsiteFile(Struct, frozen=True):
    """What ``offsite.json`` holds, in its order; ``app/crm/offsite.py`` says what each means."""

    bucket: str
    prefix: str
    region: str
    endpoint: str | None
    path_style: bool
    ca: bool
    every_seconds: int
    overdue_seconds: int
    backups_overdue_seconds: int
    keep: int
    keep_seconds: int


class OffsitePlan(Struct, frozen=True):
    """One copier for each keeper of backups, in their order. ``authority`` is where that is read
    from, ``None`` where those that systems trust will do."""

    file: OffsiteFile
    instances: tuple[str, ...]
    cpus: float
    authority: SecretReference | None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets, by name, that each copier is given."""
        return (ACCESS_KEY_ID, SECRET_ACCESS_KEY, *((AUTHORITY,) if self.authority else ()))


def keys(asked: S3 | None) -> dict[str, SecretReference]:
    """Where the access key is read from, by the stack's names of its two halves."""
    if asked is None:
        return {}
    return {ACCESS_KEY_ID: asked.access_key_id, SECRET_ACCESS_KEY: asked.secret_access_key}


def work_out(backup: Backup, stack: str, shards: int) -> OffsitePlan | None:
    """What it is for backups that are kept as ``backup`` says; ``None`` where that names no
    bucket."""
    asked = backup.s3
    if asked is None:
        return None
    every = backup.every_hours * 3600
    own = asked.endpoint is not None
    return OffsitePlan(
        file=OffsiteFile(
            bucket=asked.bucket,
            prefix=asked.prefix or stack,
            region=asked.region,
            endpoint=asked.endpoint,
            path_style=own if asked.path_style is UNSET else asked.path_style,
            ca=asked.ca_certificate is not None,
            every_seconds=_EVERY_SECONDS,
            overdue_seconds=_OVERDUE_SECONDS,
            backups_overdue_seconds=2 * every,
            keep=backup.keep,
            keep_seconds=backup.keep * every,
        ),
        instances=numbered("offsite", shards),
        cpus=asked.cpus,
        authority=asked.ca_certificate,
    )
