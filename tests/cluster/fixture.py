"""The fixture of tests that need Kubernetes: one cluster for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import needs
from tests.cluster.build import build
from tests.cluster.cluster import Cluster


def say(line: str) -> None:
    print(line, flush=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """This checkout's cluster. One that `make cluster` started is used, and left running."""
    if reason := needs.obstacle():
        pytest.fail(reason)
    build(say)
    found = Cluster(say=say)
    if found.is_running():
        yield found
        return
    with found:
        yield found
