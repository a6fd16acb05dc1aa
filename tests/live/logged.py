"""What a container says of a request, which it may say only after it has answered."""

from __future__ import annotations

import json
from typing import Any

from docker.models.containers import Container

from tests.live.waiting import wait_until


def logged(container: Container, request: str) -> list[dict[str, Any]]:
    """The lines of JSON with the id of ``request``, once the one that names its client is there."""
    found: list[dict[str, Any]] = []

    def is_told() -> bool:
        lines = container.logs(tail=400).decode().splitlines()
        found[:] = [json.loads(line) for line in lines if line.startswith("{") and request in line]
        return any("client" in line for line in found)

    wait_until(is_told, f"{container.name} says who asked {request}", 15)
    return found
