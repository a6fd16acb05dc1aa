"""A stack that a policy denies leaves nothing behind on a real Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.stack import Stack, prepare

pytestmark = pytest.mark.live


@pytest.mark.parametrize("words", [["preview"], ["up", "--yes"]], ids=lambda words: words[0])
def test_denied_stack_touches_nothing(tmp_path: Path, words: list[str]) -> None:
    stack = prepare(tmp_path, "dev")
    stack.edit("  crm:app:\n", "  crm:policies:\n    production: true\n  crm:app:\n")
    done = stack.crm(*words)
    assert done.code == 1
    assert "redundancy (mandatory): app: has 1 of the 2 replicas" in done.err
    assert not any(stack.objects().values())
    assert not list(stack.project.root.rglob(f"{stack.name}.json"))


def test_what_is_mended_is_planned_and_said(dev: Stack) -> None:
    """The target's code as somebody left it who forgot what a container does once it stopped."""
    code = dev.project.root / "stacks" / "targets" / "docker.py"
    file = dev.project.root / dev.file
    before = {path: path.read_bytes() for path in (code, file)}
    try:
        dev.project.edit(
            "stacks/targets/docker.py", '"restart": "unless-stopped"', '"restart": "no"'
        )
        denied = dev.crm("preview")
        assert denied.code == 1
        assert "restart_policy (mandatory): app-1, cache-1, database-1, edge: " in denied.err
        level = "  crm:policies:\n    levels:\n      restart_policy: remediate\n  crm:app:\n"
        dev.edit("  crm:app:\n", level)
        planned = dev.crm("preview")
        assert planned.code == 0, planned.err
        assert (
            "policy restart_policy (remediate): app-1, cache-1, database-1, edge: " in planned.err
        )
        assert "(restart: no), mended before it is deployed; " in planned.err
    finally:
        for path, text in before.items():
            path.write_bytes(text)
