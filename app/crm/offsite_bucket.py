"""A place in a bucket of S3's kind: what is written is read back and compared.

obstore signs each request over the bytes it carries, so that a server refuses what arrives
otherwise; an object is there whole or not at all.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from crm.errors import CrmError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, S3Config

CHUNK = 8 * 1024 * 1024
"""Bytes that are held in memory at a time. With the most parts that S3 takes, 10000, the largest
object is 80 GB; where a file is larger its chunks are."""

_MOST_PARTS = 9_000
_ANSWER = timedelta(seconds=120)
"""For one chunk either way."""


class ArchivedError(CrmError):
    """An object is kept where it cannot be read from at once."""


class Bucket:
    """Objects by their names under ``prefix`` (no slash at its end); ``where`` is for people.

    Every method raises ``CrmError`` when the server refuses, or does not answer within a minute.
    """

    def __init__(self, store: "ObjectStore", prefix: str, where: str) -> None:
        self._store = store
        self._prefix = prefix
        self.where = where

    def sizes(self) -> dict[str, int]:
        """The bytes of every object there, by name."""
        start = len(self._prefix) + 1
        with self._asked():
            return {
                found["path"][start:]: found["size"]
                for some in obstore.list(self._store, self._prefix, chunk_size=1000)
                for found in some
            }

    def put(self, name: str, content: Path | bytes, sha256: str) -> None:
        """Write an object, and read it back: its SHA-256 must be ``sha256`` (hexadecimal)."""
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        with self._asked():
            obstore.put(
                self._store,
                self._path(name),
                content,
                use_multipart=size > CHUNK,
                chunk_size=max(CHUNK, -(-size // _MOST_PARTS)),
                max_concurrency=2,
            )
        digest = hashlib.sha256()
        for chunk in self.chunks(name, size):
            digest.update(chunk)
        if digest.hexdigest() != sha256:
            self.delete([name])
            raise CrmError(f"{self.where}: {name} is not what was sent when it is read back")

    def chunks(self, name: str, size: int) -> Iterator[bytes]:
        """The ``size`` bytes of an object, a chunk at a time."""
        for start in range(0, size, CHUNK):
            end = min(start + CHUNK, size)
            with self._asked():
                chunk = obstore.get_range(self._store, self._path(name), start=start, end=end)
            yield bytes(chunk)

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects, one after the other; one that is not there is none to remove."""
        for name in names:
            with self._asked(), suppress(NotFoundError):
                obstore.delete(self._store, self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            kind = ArchivedError if _code(error) == "InvalidObjectState" else CrmError
            raise kind(f"{self.where}: {_why(error)}") from None


def s3(
    *,
    bucket: str,
    region: str,
    endpoint: str | None,
    path_style: bool,
    keys: tuple[str, str],
    authority: str | None,
) -> S3Store:
    """A client of S3 or of what answers like it. ``endpoint`` is AWS's of the region when not
    given; ``keys`` the access key's id and secret; ``authority`` PEM, trusted beside those that
    are known anyway."""
    if endpoint is not None and not path_style:
        scheme, host = endpoint.split("://")
        endpoint = f"{scheme}://{bucket}.{host}"
    client: ClientConfig = {
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=5),
        "timeout": _ANSWER,
    }
    if authority is not None:
        client["root_certificate"] = authority
    config: S3Config = {
        "region": region,
        "access_key_id": keys[0],
        "secret_access_key": keys[1],
        "virtual_hosted_style_request": not path_style,
    }
    if endpoint is not None:
        config["endpoint"] = endpoint
    return S3Store(
        bucket,
        config=config,
        client_options=client,
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
    )


def _code(error: Exception) -> str:
    """S3's word for what is wrong, if there is one in the answer."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""


def _why(error: Exception) -> str:
    """Why a server could not be asked. What it answered is not shown in whole: it repeats parts of
    the request."""
    text = str(error)
    code = _code(error)
    # Refused with 403 as well, and it is not for the key.
    if code == "InvalidObjectState":
        return (
            "an object is in an archive class, and cannot be read there; restore it to one that "
            "is read at once, and have no rule of the bucket move what is under the prefix"
        )
    # What lists objects has no error of its own for it.
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or "403 Forbidden" in text:
        return (
            f"refuses the access key ({code or 'and does not say why'}); see where access_key_id "
            "and secret_access_key of crm:database.backup.s3 are read from, and what the key may do"
        )
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or correct crm:database.backup.s3.bucket"
    if isinstance(error, NotFoundError):
        return "an object went while it was read"
    if code:
        return f"refuses ({code})"
    if found := re.search(r"InvalidCertificate\(\s*(\w+)", text):
        return (
            f"its certificate is not accepted ({found[1]}); where an authority of your own made "
            "it, write crm:database.backup.s3.ca_certificate"
        )
    # The innermost cause there is, in the operating system's words.
    causes = re.findall(r'(?:message|error): "([^"]*)"', text) or [
        text.strip().partition("\n")[0].rpartition(" - ")[2]
    ]
    return f"does not answer: {causes[-1][:300]}"
