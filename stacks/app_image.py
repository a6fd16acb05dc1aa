"""The name of the CRM's own image: its tag is a hash of what it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from stacks import paths
from stacks.errors import CrmError

APP = "crm-app"


def app_files(app: Path = paths.APP) -> Iterator[tuple[str, bytes]]:
    """What the app's image is made of, sorted: (path inside ``app/``, content).

    The same list is hashed for the tag and sent to the builder, so the tag cannot lie.
    """
    for path in sorted([app / "Dockerfile", app / "requirements.txt", *(app / "crm").rglob("*")]):
        if "__pycache__" in path.parts or path.suffix == ".pyc" or path.is_dir():
            continue
        try:
            yield path.relative_to(app).as_posix(), path.read_bytes()
        except FileNotFoundError:
            raise CrmError(
                f"{path}: missing, and the app's image is made from it; "
                "get it back with: git checkout -- app"
            ) from None


def app_reference(root: Path = paths.ROOT) -> str:
    """``crm-app:<12 hex of the content of app/>``; no clock, no file times, no bytecode in it."""
    digest = hashlib.sha256()
    for name, content in app_files(root / "app"):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"{APP}:{digest.hexdigest()[:12]}"
