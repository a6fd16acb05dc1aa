"""A stack that a policy denies leaves nothing behind on a real Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.stack import prepare

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
