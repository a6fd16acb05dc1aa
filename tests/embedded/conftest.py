"""A small Pulumi project in a folder of its own, and a way to drive the engine over it."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stacks.paths import ROOT
from tests.embedded.names import STACK

PROGRAM = '''
import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class NoteProvider(ResourceProvider):
    """Says what it does in a file, and holds a secret."""

    def _log(self, props, word):
        with open(props["log"], "a") as file:
            file.write(word + " " + props["name"] + "\\n")

    def create(self, props):
        self._log(props, "create")
        if props["text"] == "fail":
            raise RuntimeError("cannot note that")
        return CreateResult("id-" + props["name"], {**props, "key": "canary-" + props["text"]})

    def diff(self, _id, olds, news):
        changed = [k for k in ("text", "kind") if olds.get(k) != news.get(k)]
        return DiffResult(changes=bool(changed), replaces=[k for k in changed if k == "kind"])

    def update(self, _id, _olds, props):
        self._log(props, "update")
        if props["text"] == "fail":
            raise RuntimeError("cannot note that")
        return UpdateResult({**props, "key": "canary-" + props["text"]})

    def delete(self, _id, props):
        self._log(props, "delete")
        if props["kind"] == "undeletable":
            raise RuntimeError("cannot delete that")


class Note(Resource, module="crm", name="Note"):
    key: pulumi.Output[str]
    text: pulumi.Output[str]

    def __init__(self, name, text="a", kind="x", opts=None, **props):
        props = {"name": name, "text": text, "kind": kind, "key": None, "log": LOG, **props}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key"])
        super().__init__(NoteProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))


class Shelf(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("crm:test:Shelf", name, None, opts)


def options(**given):
    return pulumi.ResourceOptions(**given)
'''


@dataclass
class Project:
    """A folder with ``program/__main__.py``, ``Pulumi.test.yaml`` and the state."""

    folder: Path

    @property
    def log(self) -> list[str]:
        """What the program's own resources did, a line each."""
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def program(self, body: str, head: str = PROGRAM) -> None:
        """Replace the program: ``body`` after the definitions above."""
        text = f"LOG = {str(self.folder / 'log')!r}\n{head}\n{textwrap.dedent(body)}"
        (self.folder / "program" / "__main__.py").write_text(text)

    def config(self, text: str) -> None:
        """Replace the stack file."""
        (self.folder / f"Pulumi.{STACK}.yaml").write_text(textwrap.dedent(text))

    def command(self, verb: str, **arguments: Any) -> list[str]:
        """What runs ``verb`` in a process of its own."""
        module = ["-m", "tests.embedded.driver", str(self.folder), STACK, verb]
        return [sys.executable, *module, json.dumps(arguments)]

    def run(self, verb: str, *, kill_at: str = "", **arguments: Any) -> dict[str, Any]:
        """What ``verb`` came to; empty when the process was killed on the way."""
        env = {**os.environ, **({"KILL_AT": kill_at} if kill_at else {})}
        done = subprocess.run(
            self.command(verb, **arguments), cwd=ROOT, env=env, capture_output=True, text=True
        )
        if kill_at:
            assert done.returncode == -9, f"{kill_at} was never reached: {done.stderr}"
            return {}
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def checkpoint(self) -> dict[str, Any]:
        """The state as it is on disk."""
        path = self.folder / "state" / ".pulumi" / "stacks" / "crm" / f"{STACK}.json"
        document: dict[str, Any] = json.loads(path.read_text())["checkpoint"]
        return document

    def names(self) -> list[str]:
        """The names of the resources in the state, in its order, providers left out."""
        resources = self.checkpoint()["latest"]["resources"]
        kept = [r for r in resources if not r["type"].startswith("pulumi:providers:")]
        return [r["urn"].rsplit("::", 1)[1] for r in kept]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose program makes one note."""
    (tmp_path / "program").mkdir()
    made = Project(tmp_path)
    made.config("config: {}\n")
    made.program('Note("one")')
    return made
