"""``crm partitions``: what is run beside the keeper, and what its answer means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stacks import partitions_command, plan, render, stack_file
from stacks.errors import CrmError
from stacks.spec import StackSpec
from stacks.targets import docker_inside
from stacks.targets.docker_inside import DockerInside

ORDERS = {
    "partition_by": "range",
    "column": "order_date",
    "interval": "month",
    "start": "2026-01",
    "count": 24,
    "ahead": 3,
}


class Api:
    """Docker's, as far as a command inside a container that was told ``told`` needs it."""

    def __init__(self, told: str, code: int) -> None:
        self.told, self.code = told, code
        self.ran: list[list[str]] = []

    def exec_create(self, _container: str, command: list[str]) -> dict[str, str]:
        if command[0] != "cat":
            self.ran.append(command)
        return {"Id": command[0]}

    def exec_start(self, key: str, **_options: bool) -> list[tuple[bytes | None, bytes | None]]:
        if key == "cat":
            return [(self.told.encode(), None)]
        # A letter may come in two parts.
        said = "ALTER TABLE ü".encode()
        return [(said[:-1], None), (None, b"error: no\n"), (said[-1:], None), (b"t;\n", None)]

    def exec_inspect(self, key: str) -> dict[str, int]:
        return {"ExitCode": 0 if key == "cat" else self.code}


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> StackSpec:
    """What the stack file says."""
    asked = stack_file.parse({"database": {"orders": ORDERS}}, "sales")
    monkeypatch.setattr(stack_file, "load", lambda _stack: asked)
    return asked


def keeper(monkeypatch: pytest.MonkeyPatch, told: str, code: int = 0) -> Api:
    """A container that was told ``told``."""
    api = Api(told, code)
    container: Any = SimpleNamespace(
        id="c",
        name="crm-sales-partitions",
        client=SimpleNamespace(api=api),
    )
    monkeypatch.setattr(docker_inside, "running", lambda _stack, _workload: DockerInside(container))
    return api


@pytest.mark.parametrize("code", [0, 1])
def test_command_says_what_is_said_inside_and_ends_as_it_did(
    spec: StackSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    told = render.Renderer().tree(plan.make("sales", spec))["app/partitions.json"]
    api = keeper(monkeypatch, told, code)
    assert partitions_command.run("plan", "sales", False) == code
    assert partitions_command.run("apply", "sales", True) == code
    assert api.ran == [
        ["python3", "-m", "crm", "partitions", "plan"],
        ["python3", "-m", "crm", "partitions", "apply", "--yes"],
    ]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("ALTER TABLE üt;\n" * 2, "error: no\n" * 2)


def test_keeper_that_was_told_something_else_is_not_asked(
    spec: StackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = keeper(monkeypatch, "{}\n")
    with pytest.raises(CrmError, match="has changed since the last `up`; run `crm up sales` first"):
        partitions_command.run("apply", "sales", True)
    assert api.ran == []
