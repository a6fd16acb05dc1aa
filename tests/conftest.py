"""Fixtures that all tests share."""

from pathlib import Path

import pytest

from tests import project as projects


@pytest.fixture
def project(tmp_path: Path) -> projects.Project:
    """A copy of what ``crm`` runs from, in a folder of its own."""
    return projects.copy(tmp_path / "project")
