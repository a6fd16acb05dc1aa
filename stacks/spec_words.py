"""The words stack files are made of: every form of text and every range of numbers.

Patterns are strict on purpose: no value a person writes can carry a newline, ``;``, ``}`` or ``{{``
into a rendered file. The descriptions and examples are what a refused value is answered with.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Name = Annotated[
    str,
    Meta(
        # It is a label of Kubernetes objects, whose values have no dash last.
        pattern=r"\A[a-z]([a-z0-9-]{0,29}[a-z0-9])?\Z",
        description="lower-case letters, digits and dashes, a letter first, no dash last, 31 at "
        "most",
        examples=["sales"],
    ),
]
ServiceName = Annotated[
    str,
    Meta(
        # Not a name something else of the platform has, and none that looks as those do that are
        # made of it.
        pattern=r"\A(?!(allow-dns|app|backup|cache|database|deny-all|drill|edge|job|namespace"
        r"|offsite|partitions|registry-pull|restore|schema|service-account|switch)\Z)"
        r"(?!.*-(autoscaler|data|disruptions|drill|endpoint|files|followed|ingress|network|next"
        r"|outside|restore|secrets|service)\Z)(?!.*-(from|to)-)"
        r"[a-z]([a-z0-9-]{0,18}[a-z])?\Z",
        description="lower-case letters, digits and dashes, a letter first and last, 20 at most; "
        "not allow-dns, app, backup, cache, database, deny-all, drill, edge, job, namespace, "
        "offsite, partitions, registry-pull, restore, schema, service-account or switch, nor with "
        "-from- or -to- in it, nor with an ending such as -files",
        examples=["orders"],
    ),
]
SqlName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z][a-z0-9_]{0,30}\Z",
        description="lower-case letters, digits and underscores, a letter first, 31 at most",
        examples=["crm"],
    ),
]
DatabaseName = Annotated[
    str,
    Meta(
        # Those are the server's own: https://dev.mysql.com/doc/refman/8.4/en/system-schema.html
        pattern=r"\A(?!(information_schema|mysql|ndbinfo|performance_schema|sys)\Z)"
        r"[a-z][a-z0-9_]{0,30}\Z",
        description="lower-case letters, digits and underscores, a letter first, 31 at most; "
        "not one of MySQL's own, which are information_schema, mysql, ndbinfo, "
        "performance_schema and sys",
        examples=["crm"],
    ),
]
HostName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z",
        description="a host name or IPv4 address",
        examples=["db.internal.example.com"],
    ),
]
BucketName = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9]([a-z0-9.-]{1,61})[a-z0-9]\Z",
        description="3 to 63 lower-case letters, digits, dashes and dots",
        examples=["crm-backups"],
    ),
]
KeyPrefix = Annotated[
    str,
    Meta(
        pattern=r"\A(?=.{1,200}\Z)[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*\Z",
        description="letters, digits, `_`, `-` and `.`, parts divided by a slash, none at its ends",
        examples=["crm/sales"],
    ),
]
StorageUrl = Annotated[
    str,
    Meta(
        pattern=r"\Ahttps?://[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?\Z",
        description="https:// and a host, perhaps a port, and no path (http:// is not encrypted)",
        examples=["https://s3.example.com:9000"],
    ),
]
Region = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z0-9]([a-z0-9-]{0,62})\Z",
        description="lower-case letters, digits and dashes",
        examples=["eu-central-1"],
    ),
]
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z][A-Za-z0-9-]{0,62}\Z",
        description="an HTTP header's name",
        examples=["X-Customer-ID"],
    ),
]
CookieName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,62}\Z",
        description="a cookie's name: letters, digits and underscores",
        examples=["session"],
    ),
]
UrlPath = Annotated[
    str,
    Meta(
        # No `.` and `..`: nginx takes them out of a path before it looks, HAProxy does not.
        pattern=r"\A(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]{1,64}){1,16}\Z",
        description="a path, a slash first and none last",
        examples=["/api/v1/orders"],
    ),
]
ImageReference = Annotated[
    str,
    Meta(
        pattern=(
            r"\A[a-z0-9][a-z0-9._-]{0,127}(:[0-9]{1,5}(?=/))?(/[a-z0-9][a-z0-9._-]{0,127}){0,8}"
            r"(:(?!latest(@|\Z))[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?"
            r"|@sha256:[0-9a-f]{64})\Z"
        ),
        description="an image pinned to a version tag (never :latest) or a digest",
        examples=["nginx:1.30.0"],
    ),
]
Registry = Annotated[
    str,
    Meta(
        pattern=(
            r"\A(?=[a-z0-9.-]*[.:]|localhost[:/])[a-z0-9][a-z0-9.-]{0,251}(:[0-9]{1,5})?"
            r"(/[a-z0-9][a-z0-9._-]{0,127}){0,8}\Z"
        ),
        description="a registry's host, then perhaps its port and a path",
        examples=["registry.example.com/team"],
    ),
]
EnvironmentName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z_][A-Za-z0-9_]{0,127}\Z",
        description="an environment variable's name",
        examples=["CRM_DATABASE_PASSWORD"],
    ),
]
FilePath = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9_./~-]{1,4096}\Z",
        description="a file's path",
        examples=["/run/secrets/database"],
    ),
]
Folder = Annotated[
    str,
    Meta(
        pattern=r"\A(/[A-Za-z0-9_.-]{1,255}){1,15}\Z",
        description="a folder's path from the root, without a slash at its end",
        examples=["/srv/backups"],
    ),
]
FirstDay = Annotated[
    str,
    Meta(
        pattern=r"\A(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?\Z",
        description="a month written YYYY-MM, or a day written YYYY-MM-DD",
        examples=["2026-01"],
    ),
]
ContextName = Annotated[
    str,
    Meta(
        pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}\Z",
        description="the name of a context of your kubeconfig",
        examples=["kind-crm"],
    ),
]
Label = Annotated[
    str,
    Meta(
        pattern=r"\A[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z",
        description="lower-case letters, digits and dashes, a letter first, 63 at most",
        examples=["sales-crm"],
    ),
]
Subdomain = Annotated[
    str,
    Meta(
        pattern=(
            r"\A(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
            r"(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z"
        ),
        description="lower-case letters, digits, dashes and dots",
        examples=["crm.example.com"],
    ),
]
NodePort = Annotated[
    int, Meta(ge=30000, le=32767, description="a node port, 30000 to 32767", examples=[30080])
]
Gibibytes = Annotated[int, Meta(ge=1, le=65536, description="GiB, 1 to 65536", examples=[10])]
Hours = Annotated[int, Meta(ge=1, le=720, description="hours, 1 to 720", examples=[24])]
KeptBackups = Annotated[
    int, Meta(ge=2, le=1000, description="a whole number from 2 to 1000", examples=[7])
]
Percent = Annotated[int, Meta(ge=10, le=95, description="percent, 10 to 95", examples=[70])]
Port = Annotated[int, Meta(ge=1, le=65535, description="a TCP port, 1 to 65535", examples=[8080])]
Address = Annotated[
    str,
    Meta(
        pattern=(
            r"\A((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}"
            r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\Z"
        ),
        description="the IPv4 address of this machine to listen on",
        examples=["127.0.0.1"],
    ),
]


# The edge.
Seconds = Annotated[int, Meta(ge=1, le=3600, description="seconds, 1 to 3600", examples=[30])]
SlowStart = Annotated[int, Meta(ge=0, le=600, description="seconds, 0 to 600", examples=[30])]
HstsSeconds = Annotated[
    int, Meta(ge=0, le=126_144_000, description="seconds, 0 to 126144000", examples=[63_072_000])
]
Retries = Annotated[int, Meta(ge=0, le=5, description="a whole number from 0 to 5", examples=[2])]
InFlight = Annotated[
    int, Meta(ge=1, le=60_000, description="a whole number from 1 to 60000", examples=[64])
]
BodyKibibytes = Annotated[
    int, Meta(ge=1, le=1_048_576, description="KiB, 1 to 1048576", examples=[1024])
]

# Horizontal: how many.
Replicas = Annotated[
    int, Meta(ge=1, le=500, description="a whole number from 1 to 500", examples=[3])
]
EdgeReplicas = Annotated[
    int, Meta(ge=1, le=10, description="a whole number from 1 to 10", examples=[2])
]
Shards = Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64", examples=[2])]
Masters = Annotated[
    int, Meta(ge=1, le=100, description="a whole number from 1 to 100", examples=[3])
]
Weight = Annotated[
    int, Meta(ge=1, le=256, description="a whole number from 1 to 256", examples=[2])
]

# Vertical: how much each. The upper bounds are those of the largest machines one can rent.
Cpus = Annotated[float, Meta(ge=0.1, le=1024, description="CPU cores, 0.1 to 1024", examples=[0.5])]
_MOST_MIB = 32 * 1024 * 1024
EdgeMemory = Annotated[
    int, Meta(ge=32, le=_MOST_MIB, description="MiB, 32 to 33554432", examples=[64])
]
AppMemory = Annotated[
    int, Meta(ge=128, le=_MOST_MIB, description="MiB, 128 to 33554432", examples=[256])
]
DatabaseMemory = Annotated[
    int, Meta(ge=512, le=_MOST_MIB, description="MiB, 512 to 33554432", examples=[768])
]
BackupMemory = Annotated[
    int, Meta(ge=96, le=_MOST_MIB, description="MiB, 96 to 33554432", examples=[128])
]
CacheMemory = Annotated[
    int, Meta(ge=32, le=_MOST_MIB, description="MiB, 32 to 33554432", examples=[64])
]

# Partitions.
Subpartitions = Annotated[
    int, Meta(ge=2, le=64, description="a whole number from 2 to 64", examples=[4])
]
Ahead = Annotated[
    int, Meta(ge=1, le=366, description="intervals, a whole number from 1 to 366", examples=[3])
]
Retention = Annotated[
    int, Meta(ge=1, le=3660, description="intervals, a whole number from 1 to 3660", examples=[24])
]

Algorithm = Literal[
    "round_robin", "random", "weighted", "least_connections", "consistent_hash", "first"
]
Eviction = Literal[
    "allkeys-lru", "allkeys-lfu", "volatile-lru", "volatile-lfu", "volatile-ttl", "noeviction"
]
SecretName = Literal[
    "database_root_password",
    "database_owner_password",
    "database_app_password",
    "database_backup_password",
    "cache_password",
]

Setting = (
    Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9_.,:/-]{1,200}\Z",
            description="a plain value: letters, digits, `_ . , : / -`",
            examples=["2000"],
        ),
    ]
    | int
)
