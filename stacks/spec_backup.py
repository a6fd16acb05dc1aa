"""What can be asked of backups' copy elsewhere: a bucket of S3, or of what answers like it."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from stacks.spec_edge import Part, SecretReference
from stacks.spec_words import BucketName, Cpus, KeyPrefix, Region, StorageUrl


class S3(Part, frozen=True, kw_only=True):
    """Where each shard's backups and binary logs are copied to."""

    bucket: BucketName
    """Made by whoever owns it; the platform makes none and removes none."""
    prefix: KeyPrefix | None = None
    """What objects' names begin with: the stack's name when not given. No two stacks may have the
    same one in one bucket."""
    endpoint: StorageUrl | None = None
    """AWS's of the region when not given."""
    region: Region = "us-east-1"
    """Of the bucket. Most of what is not AWS's takes any."""
    access_key_id: SecretReference
    secret_access_key: SecretReference
    path_style: bool | UnsetType = UNSET
    """Whether the bucket is in the path of an address rather than in its host name: with an
    ``endpoint`` yes, with AWS's own no, when not given."""
    ca_certificate: SecretReference | None = None
    """An authority to trust beside those that Debian does, in PEM."""
    cpus: Cpus = 0.25
    """Of each shard's copier, which compares all it sends."""

    def __post_init__(self) -> None:
        if self.ca_certificate is not None and not (self.endpoint or "").startswith("https://"):
            raise ValueError(
                "`ca_certificate` is for an `endpoint` of your own that begins with https://"
            )
