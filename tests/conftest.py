"""Fixtures that all tests share, and the order they run in."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests import project as projects
from tests import turns


@pytest.fixture
def project(tmp_path: Path) -> projects.Project:
    """A copy of what ``crm`` runs from, in a folder of its own."""
    return projects.copy(tmp_path / "project")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests stay together."""
    item.add_marker(pytest.mark.xdist_group(turns.group(item)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order all tests by what they share."""
    items[:] = turns.in_order(items, workers=hasattr(config, "workerinput"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Give a test that measures the machine alone, among the workers of this run."""
    worker = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    base: Path = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    with turns.turn(base.parent, alone=item.get_closest_marker("alone") is not None):
        return (yield)
