"""A stack deployed for a test: a shipped stack file under a name and a port of its own."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from tests import project as projects
from tests.live.client import call
from tests.live.own import is_question
from tests.live.ports import free_port

UP_SECONDS = 900
LABEL = "crm.stack"


@dataclass(frozen=True)
class Stack:
    """One deployed stack and the checkout it was deployed from."""

    project: projects.Project
    name: str
    port: int
    engine: str

    @property
    def url(self) -> str:
        """Where its load balancer answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def file(self) -> str:
        """The path of its stack file in the checkout."""
        return f"stacks/config/Pulumi.{self.name}.yaml"

    def crm(self, verb: str, *arguments: str, **environment: str) -> projects.Run:
        """Run a verb on this stack."""
        return self.project.crm(verb, self.name, *arguments, seconds=UP_SECONDS, **environment)

    def run(self, verb: str, *arguments: str) -> dict[str, Any]:
        """Run a verb that must succeed; what ``--json`` says."""
        done = self.crm(verb, "--json", *arguments)
        assert done.code == 0, done.err + done.out
        document = json.loads(done.out)
        assert isinstance(document, dict)
        return document

    def up(self) -> dict[str, int]:
        """``crm up``; the counts of what changed."""
        changes = self.run("up", "--engine", self.engine, "--yes")["changes"]
        assert isinstance(changes, dict)
        return changes

    def edit(self, old: str, new: str) -> None:
        """Replace ``old``, which must be there, in the stack file."""
        self.project.edit(self.file, old, new)

    # --- How it answers --------------------------------------------------------------------------

    def meets(self, instances: set[str]) -> bool:
        """Whether six requests for each of these replicas meet all of them."""
        answers = [call(f"{self.url}/healthz") for _ in range(6 * len(instances))]
        return {answer.headers.get("x-served-by", "") for answer in answers} >= instances

    def has_cache(self) -> bool:
        """Whether the replica that is asked has its cache. Each looks for itself, now and then."""
        ready = call(f"{self.url}/readyz")
        return ready.status == 200 and ready.json["cache"]["status"] == "up"

    # --- What really runs ------------------------------------------------------------------------

    def containers(self) -> dict[str, Container]:
        """The stack's containers, stopped ones too, by instance."""
        found = docker.from_env().containers.list(
            all=True, filters={"label": f"{LABEL}={self.name}"}
        )
        return {
            str(container.labels.get("crm.instance", container.name)): container
            for container in found
        }

    def container(self, instance: str) -> Container:
        """The container of ``instance``."""
        return self.containers()[instance]

    def execute(self, instance: str, *command: str) -> str:
        """What ``command`` prints inside ``instance``; it must succeed."""
        code, text = self.attempt(instance, *command)
        assert code == 0, text
        return text

    def attempt(self, instance: str, *command: str) -> tuple[int, str]:
        """The exit code of ``command`` inside ``instance``, and what it prints."""
        code, output = self.container(instance).exec_run(list(command))
        assert code is not None
        assert isinstance(output, bytes)
        return code, output.decode()

    def sql(self, instance: str, statement: str) -> list[list[str]]:
        """The rows of ``statement``, carried out by ``instance`` itself."""
        client = ("mysql", "--defaults-file=/run/crm/client.cnf", "-NBe", statement, "crm")
        text = self.execute(instance, *client)
        if not text and is_question(statement):
            text = self.execute(instance, *client)
        return [line.split("\t") for line in text.splitlines()]

    def redis(self, instance: str, *command: str) -> str:
        """What a Redis command answers, asked of ``instance`` itself."""
        words = " ".join(command)
        return self.execute(
            instance,
            "sh",
            "-c",
            "REDISCLI_AUTH=$(cat /etc/crm/secrets/cache_password); export REDISCLI_AUTH; "
            f"redis-cli {words}",
        )

    def objects(self) -> dict[str, list[str]]:
        """Names of everything Docker has of this stack, by kind, sorted."""
        client = docker.from_env()
        only: dict[str, Any] = {"label": f"{LABEL}={self.name}"}
        return {
            "containers": sorted(
                str(c.name) for c in client.containers.list(all=True, filters=only)
            ),
            "networks": sorted(str(n.name) for n in client.networks.list(filters=only)),
            "volumes": sorted(str(v.name) for v in client.volumes.list(filters=only)),
        }


def prepare(folder: Path, shipped: str, engine: str = "embedded") -> Stack:
    """A checkout in ``folder`` with the stack file of ``shipped`` under a name of its own."""
    project = projects.copy(folder, under=(*projects.RUN_FROM, "Pulumi", ".gitignore"))
    name, port = f"t{secrets.token_hex(3)}-{shipped}", free_port()
    text = project.stack_file(shipped).read_text(encoding="utf-8")
    assert "port: 8080" in text
    project.write_stack(name, text.replace("port: 8080", f"port: {port}"))
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "copy"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=project.root, check=True)
    return Stack(project, name, port, engine)


@contextmanager
def deployed(
    folder: Path,
    shipped: str,
    engine: str = "embedded",
    change: Callable[[Stack], None] | None = None,
) -> Iterator[Stack]:
    """Deploy ``shipped``, perhaps with a ``change``, and, whatever happens, destroy it with its
    data afterwards."""
    stack = prepare(folder, shipped, engine)
    if change is not None:
        change(stack)
    try:
        stack.up()
        yield stack
    finally:
        stack.crm("destroy", "--yes", "--delete-data")
