"""A ``dev`` stack to be killed: what is there after a kill, and whether all is well again.

What is there is asked of Docker and of the state file, never of the code under test.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import docker
import pytest

from stacks.images import app_reference
from stacks.paths import CACHE
from stacks.pulumi_state.crypter import Crypter
from stacks.pulumi_state.values import reveal
from tests import project as projects
from tests.live.parity import read_state
from tests.live.stack import prepare

EDGE_TEMPLATE = "templates/nginx/nginx.conf.j2"
APP_SOURCE = "app/crm/__init__.py"
EDITED = (EDGE_TEMPLATE, APP_SOURCE)
"""What tests change beside the stack file."""
FILES = ("app", "cache-1", "database-1", "edge", "schema")
"""Whose files volumes the stack has, always."""


@dataclass
class Seen:
    """What there is of a stack. Names are without ``crm-<stack>-``, containers' with their hash."""

    containers: dict[str, Any]
    networks: dict[str, str]
    volumes: set[str]
    resources: list[dict[str, Any]]

    def named(self, name: str) -> list[str]:
        """The full names of the containers that are instance ``name``, whatever their state."""
        return [full for full in self.containers if plain(full) == name]

    def health(self, name: str) -> list[str]:
        """How those of them are that have been started."""
        states = [self.containers[full].attrs["State"] for full in self.named(name)]
        return [state["Health"]["Status"] for state in states if "Health" in state]

    def records(self, kind: str, name: str) -> list[dict[str, Any]]:
        """What the state file says of the ``kind`` (the end of its type) named ``name``."""
        found = [r for r in self.resources if str(r["urn"]).rpartition("::")[2] == name]
        return [r for r in found if str(r["type"]).endswith(f":{kind}")]

    def ids(self) -> set[str]:
        """The ids of everything recorded."""
        return {str(r["id"]) for r in self.resources if r.get("id")}


@dataclass
class KillStack:
    """The shipped ``dev`` under a name and a port of its own, in a copy of the project."""

    project: projects.Project
    name: str
    engine: str
    port: int
    replicas: int = 1
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    customers: dict[int, str] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    is_well: bool = False

    def __post_init__(self) -> None:
        self.client = docker.from_env()
        wheels = self.project.root / ".crm" / "cache" / "wheels"
        if (CACHE / "wheels").exists():  # else they are downloaded when an image is built
            wheels.parent.parent.mkdir(mode=0o700)
            shutil.copytree(CACHE / "wheels", wheels)

    @property
    def prefix(self) -> str:
        return f"crm-{self.name}-"

    @property
    def path(self) -> str:
        """The stack file, as ``Project.edit`` wants it."""
        return f"stacks/config/Pulumi.{self.name}.yaml"

    def set(self, tier: str, key: str, value: object) -> None:
        """Change one value in the stack file; it must be another one."""
        text = (self.project.root / self.path).read_text(encoding="utf-8")
        [(tier_text, line)] = re.findall(rf"(crm:{tier}:\n(?:    .*\n)*?(    {key}: .*\n))", text)
        new = f"    {key}: {value}\n"
        assert new != line
        self.project.edit(self.path, tier_text, tier_text.replace(line, new))
        if key == "replicas":
            self.replicas = int(str(value))

    def grow(self, tier: str) -> None:
        """Give each instance of ``tier`` 8 MiB more, which makes a new container of it."""
        text = (self.project.root / self.path).read_text(encoding="utf-8")
        [size] = re.findall(rf"crm:{tier}:\n(?:    .*\n)*?    memory_mib: (\d+)\n", text)
        self.set(tier, "memory_mib", int(size) + 8)

    def change_edge(self) -> tuple[str, str]:
        """Have the proxy keep connections a second longer; returns the old text and the new."""
        text = (self.project.root / EDGE_TEMPLATE).read_text(encoding="utf-8")
        [(old, seconds)] = re.findall(r"(keepalive_timeout (\d+)s;)", text)
        new = old.replace(seconds, str(int(seconds) + 1))
        self.project.edit(EDGE_TEMPLATE, old, new)
        return old, new

    def change_app(self) -> str:
        """Change the app's source; returns the reference of its image, which clean() removes."""
        path = self.project.root / APP_SOURCE
        path.write_text(f"{path.read_text(encoding='utf-8')}# {self.name}\n", encoding="utf-8")
        reference = app_reference(self.project.root)
        self.images.add(reference)
        return reference

    def crm(self, verb: str, *arguments: str) -> projects.Run:
        """Run a verb of ``crm`` on the stack; asks nothing."""
        yes = () if verb in ("preview", "outputs") else ("--yes",)
        engine = ("--engine", self.engine)
        return self.project.crm(verb, self.name, *engine, *yes, *arguments, seconds=300)

    # --- What is there ---------------------------------------------------------------------------

    def seen(self) -> Seen:
        """What there is now, by label or by name."""
        return Seen(
            containers={name: c for c in self._containers() if (name := self._short(c.name))},
            networks={
                name or str(n.name): str(n.id)
                for n in self.client.networks.list()
                if (name := self._short(n.name)) or self._is_ours(n.attrs)
            },
            volumes={
                name or str(v.name)
                for v in self.client.volumes.list()
                if (name := self._short(v.name)) or self._is_ours(v.attrs)
            },
            resources=self.state().get("resources", []),
        )

    def _containers(self) -> list[Any]:
        every = self.client.containers.list(all=True, ignore_removed=True)
        return [c for c in every if self._short(c.name) or self._is_ours(c.attrs["Config"])]

    def _short(self, name: str | None) -> str:
        return str(name).removeprefix(self.prefix) if str(name).startswith(self.prefix) else ""

    def _is_ours(self, attributes: dict[str, Any]) -> bool:
        return (attributes.get("Labels") or {}).get("crm.stack") == self.name

    @property
    def state_file(self) -> Path:
        return self.project.root / f".crm/state/.pulumi/stacks/crm/{self.name}.json"

    def state(self) -> dict[str, Any]:
        """The ``latest`` of the checkpoint; empty where there is none."""
        if not self.state_file.exists():
            return {}
        latest = read_state(self.project.root, self.name)["checkpoint"].get("latest")
        return dict(latest or {})

    def opened(self) -> list[dict[str, Any]]:
        """The resources of the state, their secrets opened."""
        state = self.state()
        passphrase = (self.project.root / ".crm" / "passphrase").read_text(encoding="utf-8")
        crypter = Crypter(passphrase, state["secrets_providers"]["state"]["salt"], self.name)
        return [dict(reveal(crypter.open(r))) for r in state["resources"]]

    def look(self, *volumes: str) -> dict[str, str]:
        """The files in ``volumes``: ``<volume>/<path>`` → text."""
        image = next(iter(self.seen().containers.values())).attrs["Config"]["Image"]
        binds = {self.prefix + v: {"bind": f"/look/{v}", "mode": "ro"} for v in volumes}
        looking = self.client.containers.create(image, ["true"], volumes=binds)
        try:
            stream, _ = looking.get_archive("/look")
            content = io.BytesIO(b"".join(stream))
        finally:
            looking.remove(force=True)
        with tarfile.open(fileobj=content) as archive:
            files = {member.name: archive.extractfile(member) for member in archive}
            return {
                name.removeprefix("look/"): file.read().decode()
                for name, file in files.items()
                if file is not None
            }

    def changed(self, volume: str, name: str, before: str) -> str:
        """The file ``name`` in ``volume`` once it is not ``before`` any more: the daemon, which
        unpacks what it was sent, is not killed."""
        deadline = time.monotonic() + 10
        while (text := self.look(volume)[f"{volume}/{name}"]) == before:
            assert time.monotonic() < deadline, f"{name} is what it was"
            time.sleep(0.1)
        return text

    # --- Whether all is well ---------------------------------------------------------------------

    def converge(self) -> None:
        """The next ``crm up`` after a kill ends well, and then everything is as it should be."""
        run = self.crm("up")
        assert run.code == 0, f"{run.err}\n{run.out}"
        self.assert_well()

    def well(self) -> KillStack:
        """Itself, deployed and well: made so where a test before has left it otherwise."""
        if not self.is_well:
            self.converge()
        return self

    def assert_well(self) -> None:
        """A further ``up`` changes nothing; what is there is what should be; nothing is lost."""
        run = self.crm("up", "--json")
        assert run.code == 0, run.err
        answer = json.loads(run.out)
        changed = {op: number for op, number in answer["changes"].items() if op != "same"}
        assert changed == {"create": 0, "update": 0, "replace": 0, "delete": 0}, run.err
        assert answer["changes"]["same"] > 30
        self._assert_customers()
        seen = self._healthy()
        self._assert_docker(seen)
        self._assert_state(seen)
        self._assert_files()
        command = ["git", "status", "--porcelain"]
        status = subprocess.run(
            command, cwd=self.project.root, check=True, capture_output=True, text=True
        )
        assert {line[3:] for line in status.stdout.splitlines()} <= {self.path, *EDITED}
        self.is_well = True

    def _healthy(self) -> Seen:
        """What there is once Docker, which asks every two seconds, calls all of them healthy: one
        that ``up`` had no reason to touch may have noticed that its database was away."""
        deadline = time.monotonic() + 30
        while True:
            seen = self.seen()
            states = {name: c.attrs["State"] for name, c in seen.containers.items()}
            unwell = [n for n, s in states.items() if s["Health"]["Status"] != "healthy"]
            if not unwell:
                return seen
            assert time.monotonic() < deadline, f"not healthy: {unwell}"
            time.sleep(0.2)

    def _assert_docker(self, seen: Seen) -> None:
        apps = [f"app-{number}" for number in range(1, self.replicas + 1)]
        expected = sorted([*apps, "cache-1", "database-1", "edge"])
        assert sorted(map(plain, seen.containers)) == expected
        assert set(seen.networks) == {"app", "cache", "database", "edge"}
        assert seen.volumes == {"database-1-data", *(f"{name}-files" for name in FILES)}
        text = (self.project.root / self.path).read_text(encoding="utf-8")
        sizes = re.findall(r"crm:(\w+):|memory_mib: (\d+)", text)
        tiers = [tier for tier, _ in sizes if tier and tier != "target"]
        wanted = dict(zip(tiers, (int(size) for _, size in sizes if size), strict=True))
        for name, container in seen.containers.items():
            tier = container.labels["crm.tier"]
            assert container.attrs["HostConfig"]["Memory"] == wanted[tier] * 2**20, name

    def _assert_state(self, seen: Seen) -> None:
        assert "pending_operations" not in self.state()
        flags = ("delete", "pendingReplacement", "taint", "initErrors")
        assert [r["urn"] for r in seen.resources if any(r.get(flag) for flag in flags)] == []
        urns = [r["urn"] for r in seen.resources]
        assert len(urns) == len(set(urns))
        there = {str(c.id) for c in seen.containers.values()} | set(seen.networks.values())
        kinds = ("docker:index/container:Container", "docker:index/network:Network")
        assert {r["id"] for r in seen.resources if r["type"] in kinds} == there
        assert list(self.state_file.parent.glob(".*unfinished")) == []
        made = {
            str(r["outputs"]["name"]): str(r["outputs"]["value"])
            for r in self.opened()
            if r["type"].endswith("crm:GeneratedSecret")
        }
        assert len(made) == 4
        self.secrets = self.secrets or made
        assert made == self.secrets

    def _assert_files(self) -> None:
        """Each files volume holds what the state says, no more and no less."""
        wanted = {
            f"{self._short(r['outputs']['volume'])}/{name}": text
            for r in self.opened()
            if r["type"].endswith("crm:Files")
            for name, text in (
                *r["outputs"]["files"].items(),
                *((f"secrets/{name}", text) for name, text in r["outputs"]["secrets"].items()),
            )
        }
        found = self.look(*(f"{name}-files" for name in FILES))
        assert len(wanted) > 10
        assert {name for name in wanted if found.get(name) != wanted[name]} == set()
        assert found.keys() == wanted.keys()

    def _assert_customers(self) -> None:
        """The app reads every customer made so far and makes another one."""
        for number, name in self.customers.items():
            assert self.ask("GET", f"/api/v1/customers/{number}")["name"] == name
        name = f"Customer {len(self.customers) + 1}"
        made = self.ask("POST", "/api/v1/customers", {"name": name, "email": "c@example.com"})
        self.customers[int(made["id"])] = name

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        """What the app answers through the edge; asked once."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            assert answer.status in (200, 201), f"{method} {path}: {answer.status} {text}"
            return dict(json.loads(text))
        finally:
            connection.close()

    def clean(self) -> list[str]:
        """Destroy the stack with its data; returns what was left of it, and removes that too."""
        left = []
        if self.state().get("resources"):
            run = self.crm("destroy", "--delete-data")
            left += [] if run.code == 0 else [run.err]
        for container in self._containers():
            left.append(f"container {container.name}")
            container.remove(force=True, v=True)
        seen = self.seen()
        for name, key in seen.networks.items():
            left.append(f"network {name}")
            self.client.networks.get(key).remove()
        for name in seen.volumes:
            left.append(f"volume {name}")
            self.client.volumes.get(self.prefix + name).remove()
        for image in self.images:
            if self.client.api.images(name=image):  # A test may have failed before it was built.
                self.client.images.remove(image)
        self.client.close()
        return left


def plain(name: str) -> str:
    """A container's name without the hash of its shape."""
    return re.sub(r"-[0-9a-f]{8}$", "", name)


@contextmanager
def made(folder: Path, engine: str) -> Iterator[KillStack]:
    """A stack that is not deployed yet, in a copy of the project in ``folder``; nothing of it may
    be left when it is destroyed in the end."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE"):
            patch.delenv(name, raising=False)
        fresh = prepare(folder, "dev", engine)
        stack = KillStack(fresh.project, fresh.name, engine, fresh.port)
        yield stack
        assert stack.clean() == []
