"""Both engines leave the same resources for the same program.

Everywhere: the fixtures, which the real CLI made, against what the embedded engine leaves (the
stacks' own live tests call ``assert_like_the_cli``). Where a CLI is present: live.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import pulumi_cli
from tests.live import parity
from tests.live.ports import free_port


@pytest.mark.parametrize("stack", parity.STACKS)
def test_fixture_names_the_cli_that_made_it_and_holds_no_secret(stack: str) -> None:
    document = parity.fixture(stack)
    assert str(document["cli_version"]).startswith("v3.")
    assert len(document["resources"]) > 20
    text = (parity.FIXTURES / f"parity-{stack}.json").read_text(encoding="utf-8")
    assert parity.secrets_in(text) == []
    assert "ciphertext" not in text


def test_secret_search_finds_a_secret() -> None:
    assert parity.secrets_in('{"value": "dEadB33f-0123456789_abcdefXYZ-qrstu"}')


@pytest.mark.live
@pytest.mark.parametrize(
    "stack", [pytest.param(name, marks=pulumi_cli.NEEDED) for name in parity.STACKS]
)
def test_cli_still_leaves_what_its_fixture_says(stack: str, tmp_path: Path) -> None:
    resources = parity.deploy(tmp_path / "project", stack, "pulumi", free_port())
    assert resources == parity.fixture(stack)["resources"]
