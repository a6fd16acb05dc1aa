"""``crm`` in a process that kills itself (SIGKILL) at a place where it hurts.

``KILL_AT=PLACE KILL_MARK=FILE python -m tests.live.kill up STACK …`` runs the real command. Just
before it dies it writes what it was doing into FILE, so that a test knows that it got there.
``PLACE`` is a name below and, after a colon, the resource it is about. The product has no such
hooks: functions of its own and of the Docker SDK are wrapped from here.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docker.api.build import BuildApiMixin
from docker.models.containers import Container

from stacks import cli
from stacks.embedded.docker_handlers import DockerHandler
from stacks.pulumi_state.files import Store

Test = Callable[..., bool]


def die(detail: str) -> None:
    """Leave the mark and end as by a power cut; with ``KILL_HOLD`` wait to be killed instead."""
    mark = {"place": os.environ["KILL_AT"], "pid": os.getpid(), "detail": detail}
    Path(os.environ["KILL_MARK"]).write_text(json.dumps(mark), encoding="utf-8")
    if "KILL_HOLD" in os.environ:
        threading.Event().wait()
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: object, name: str, wrapper: Callable[..., Any]) -> None:
    """Have ``owner.name`` call ``wrapper`` with the original and the arguments."""
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    setattr(owner, name, wrapped)


def before(owner: object, name: str, is_it: Test) -> None:
    """Die instead of calling ``owner.name`` with arguments of which ``is_it`` is true."""

    def deadly(original: Any, *args: Any) -> Any:
        if is_it(*args):
            die(f"before {name}")
        return original(*args)

    wrap(owner, name, deadly)


def after(owner: object, name: str, is_it: Test) -> None:
    """Die when ``owner.name`` has returned, and nobody has heard of it yet."""

    def deadly(original: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if is_it(*args):
            die(f"after {name}")
        return result

    wrap(owner, name, deadly)


def half_of_the_state(holding: str) -> None:
    """Die when half of a checkpoint that holds the text ``holding`` is on disk."""

    def opened(original: Any, descriptor: int, *args: Any, **kwargs: Any) -> Any:
        file = original(descriptor, *args, **kwargs)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.name.endswith(".json.unfinished") and path.parent.parent.name == "stacks":
            write = file.write

            def half(text: str) -> None:
                if holding in text:
                    write(text[: len(text) // 2])
                    file.flush()
                    die(f"{len(text) // 2} of {len(text)} characters in {path.name}")
                write(text)

            file.write = half
        return file

    wrap(os, "fdopen", opened)


def half_of_the_files(volume: str) -> None:
    """Die when the daemon has been sent the files that go into ``volume``, but not all of the
    last one."""

    def put(original: Any, writer: Container, path: str, data: bytes) -> Any:
        if writer.name != f"{volume}-writer":
            return original(writer, path, data)

        def half() -> Iterator[bytes]:
            middle = len(data.rstrip(b"\0")) * 3 // 4  # A tar ends in zeros.
            yield data[:middle]
            time.sleep(0.5)  # The daemon unpacks as it reads.
            die(f"{middle} of {len(data)} bytes sent to {path}")

        return original(writer, path, half())

    wrap(Container, "put_archive", put)


def half_of_the_image() -> None:
    """Die when the daemon has begun to build an image."""

    def build(original: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for event in original(*args, **kwargs):
            if "Step 2" in event.get("stream", ""):
                die(event["stream"].strip())
            yield event

    wrap(BuildApiMixin, "build", build)


def job_runs(name: str) -> None:
    """Die when the container ``name`` has been started and is waited for."""

    def wait(original: Any, container: Container, **kwargs: Any) -> Any:
        if container.name == name:
            container.reload()
            die(container.status)
        return original(container, **kwargs)

    wrap(Container, "wait", wait)


def arm(place: str, stack: str) -> None:
    """Arrange for this process to die at ``place``."""
    what, _, name = place.partition(":")

    def is_named(_self: Any, resource: Any, *_: Any) -> bool:
        return bool(resource.name == name)

    def is_container(handler: Any, inputs: Any, *_: Any) -> bool:
        # Its volumes are called after it; the name of some ends in the hash of their shape.
        full = re.escape(f"crm-{stack}-{name}") + "(-[0-9a-f]{8})?"
        return handler._kind == "containers" and bool(re.fullmatch(full, inputs["name"]))

    def is_it(container: Container) -> bool:
        return container.name == f"crm-{stack}-{name}"

    places: dict[str, Callable[[], None]] = {
        "locked": lambda: after(Store, "claim", lambda *_: True),
        "half-a-state": lambda: half_of_the_state(name),
        "half-the-files": lambda: half_of_the_files(f"crm-{stack}-{name}"),
        "half-an-image": half_of_the_image,
        "secret": lambda: before(secrets, "token_urlsafe", lambda *_: True),
        "job-runs": lambda: job_runs(f"crm-{stack}-{name}"),
        "started": lambda: after(DockerHandler, "_make", is_container),
        "made": lambda: after(DockerHandler, "create", is_named),
        "stopped": lambda: after(Container, "stop", is_it),
        "deleting": lambda: before(DockerHandler, "delete", is_named),
        "deleted": lambda: after(DockerHandler, "delete", is_named),
    }
    places[what]()


if __name__ == "__main__":
    arm(os.environ["KILL_AT"], sys.argv[2])
    sys.exit(cli.main(sys.argv[1:]))
