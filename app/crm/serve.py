"""Serve the application with granian until SIGTERM."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from crm import logs, settings
from crm.errors import CrmError

if TYPE_CHECKING:
    from flask import Flask

METRICS_FOLDER = Path("/run/crm/metrics")
# Above what any request may take (shards.FAN_OUT_SECONDS), so that none is cut off at a stop.
STOP_SECONDS = 15


def application() -> "Flask":
    """What each worker serves. Imported late: prometheus_client reads its folder at import."""
    from crm.factory import create_app

    return create_app(settings.load(os.environ))


def prepare_metrics(environ: MutableMapping[str, str]) -> None:
    """Name and empty the folder in which the workers' counters meet."""
    folder = Path(environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(METRICS_FOLDER)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.db"):
            old.unlink()
    except OSError as error:
        raise CrmError(
            f"PROMETHEUS_MULTIPROC_DIR: {folder}: {error.strerror}; "
            "right would be a folder this user may write, on tmpfs"
        ) from error


def main(environ: MutableMapping[str, str]) -> None:
    server = settings.load(environ).file.server
    prepare_metrics(environ)
    Granian(
        "crm.serve:application",
        factory=True,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        address="0.0.0.0",  # noqa: S104 - the container's network is the fence
        port=server.port,
        workers=server.workers,
        blocking_threads=server.threads,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        websockets=False,
        log_dictconfig=logs.configuration(),
    ).serve()
