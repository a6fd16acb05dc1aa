"""What is built, and where the result is kept.

Standard library only: the bootstrap asks, with the system's Python, whether it is there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.cluster import recipe as cluster

PROGRAM = "versitygw"
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
SOURCES = Path(__file__).resolve().parent


def program() -> Path:
    """The program of this version of the sources; complete once it is there."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((SOURCES / name).read_bytes())
    return cluster.cache_folder().with_name("s3") / digest.hexdigest()[:16] / PROGRAM
