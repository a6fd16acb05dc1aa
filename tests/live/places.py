"""Where a secret must not be: every place it could leak to, as bytes, and a search of them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

from tests.live.stack import LABEL

GZIP = b"\x1f\x8b"
Places = Iterable[tuple[str, bytes]]
"""Names of places, and what is there."""


def needles(core: str) -> list[bytes]:
    """Every form to look for: plain, hex, and base64 wherever in a longer text it begins.

    ``core`` is of letters, digits, ``-`` and ``_``, so that plain is also its form in URLs, JSON,
    SQL and shell, whatever surrounds it.
    """
    plain = core.encode()
    forms = [plain, plain.hex().encode(), plain.hex().upper().encode()]
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + plain)
        # Without the characters at either end that also depend on what stands beside it.
        inner = encoded[-(-offset * 8 // 6) : (offset + len(plain)) * 8 // 6]
        forms += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    assert all(len(form) >= 20 for form in forms)
    return list(dict.fromkeys(forms))


def found(places: Places, secrets: Mapping[str, str]) -> list[str]:
    """Which of ``secrets`` (name → core) is in which of ``places``."""
    forms = {name: needles(core) for name, core in secrets.items()}
    return [
        f"{name} in {place}"
        for place, content in places
        for name, wanted in forms.items()
        if any(form in content for form in wanted)
    ]


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file under ``folder``, hidden ones too."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()


def docker_says(stack: str) -> Iterator[tuple[str, bytes]]:
    """What ``docker inspect`` says of the stack's objects, and what its containers logged."""
    api = docker.from_env().api
    only = {"label": f"{LABEL}={stack}"}
    for container in api.containers(all=True, filters=only):
        name = str(container["Names"][0])
        yield f"inspect of {name}", _text(api.inspect_container(container["Id"]))
        yield f"log of {name}", api.logs(container["Id"], stdout=True, stderr=True)
    for volume in api.volumes(filters=only)["Volumes"] or []:
        yield f"inspect of {volume['Name']}", _text(api.inspect_volume(volume["Name"]))
    for network in api.networks(filters=only):
        yield f"inspect of {network['Name']}", _text(api.inspect_network(network["Id"]))


def image(reference: str) -> Iterator[tuple[str, bytes]]:
    """An image's history and configuration, and every file of every layer of it."""
    found = docker.from_env().images.get(reference)
    yield f"history of {reference}", _text(found.history())
    yield f"inspect of {reference}", _text(found.attrs)
    saved = b"".join(found.save(named=reference))
    yield from _unpacked(reference, saved)


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and where it is a tar or compressed, what is in it."""
    yield name, content
    if content.startswith(GZIP):
        yield from _unpacked(f"{name} (unzipped)", gzip.decompress(content))
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isfile() else None
                if file is not None:
                    yield from _unpacked(f"{name}/{entry.name}", file.read())


@contextmanager
def command_lines() -> Iterator[dict[str, bytes]]:
    """The command lines of all processes there are until the block ends, containers' too."""
    seen: dict[str, bytes] = {}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            # Not glob(): it asks of each file whether it is there, and fails when that has ended.
            for process in Path("/proc").iterdir():
                path = process / "cmdline"
                if not process.name.isdigit():
                    continue
                try:
                    line = path.read_bytes()
                except OSError:
                    continue  # It ended meanwhile.
                seen.setdefault(f"{path} {line!r}", line)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()
