"""Serve the application with granian until SIGTERM."""

import os
import signal
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.server.common import AbstractServer

from crm import logs, settings
from crm.errors import CrmError

if TYPE_CHECKING:
    from flask import Flask

# How long a replica that was told to stop goes on serving, its health checks failing, so that
# load balancers send their next requests elsewhere: two checks of a second each, or, where a proxy
# knows its successor by name only, the time to ask for that name once more if an answer is lost:
# nginx does after 5 s, of which a roll-out takes the rest.
DRAIN_SECONDS = 4.0
# Above what any request may take (see shards.FAN_OUT_SECONDS), so that none is cut off.
STOP_SECONDS = 15


def application() -> "Flask":
    """What each worker serves. Imported late: prometheus_client reads its folder at import."""
    from crm.factory import create_app
    from crm.services import Services

    app = create_app(settings.load(os.environ))
    services = app.extensions["crm"]
    assert isinstance(services, Services)
    services.shards.check_soon()
    return app


def prepare(folder: Path) -> None:
    """Make and empty the folder in which the workers meet."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob("*.db"), folder / settings.STOPPING):
            old.unlink(missing_ok=True)
    except OSError as error:
        raise CrmError(
            f"PROMETHEUS_MULTIPROC_DIR: {folder}: {error.strerror}; "
            "right would be a folder this user may write, on tmpfs"
        ) from error


def drain_first(server: AbstractServer[Any], folder: Path) -> None:
    """Put DRAIN_SECONDS between SIGTERM and the stop."""

    def drain(*_: object) -> None:
        (folder / settings.STOPPING).touch()
        threading.Timer(DRAIN_SECONDS, server.signal_handler_interrupt).start()

    def hook() -> None:
        signal.signal(signal.SIGTERM, drain)

    server.on_startup(hook)


def main(environ: MutableMapping[str, str]) -> None:
    loaded = settings.load(environ)
    prepare(loaded.shared)
    environ["PROMETHEUS_MULTIPROC_DIR"] = str(loaded.shared)
    server = Granian(
        "crm.serve:application",
        factory=True,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        address="0.0.0.0",  # noqa: S104 - the container's network is the fence
        port=loaded.file.server.port,
        workers=loaded.file.server.workers,
        blocking_threads=loaded.file.server.threads,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        websockets=False,
        log_dictconfig=logs.configuration(),
    )
    drain_first(server, loaded.shared)
    server.serve()
