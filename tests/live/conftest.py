"""The shipped stacks, each deployed once for all live tests, which follow each other by stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.fixture import cluster
from tests.live import edge_stack, kubernetes_stack
from tests.live.edge_stack import Edge
from tests.live.kubernetes_stack import KubernetesStack
from tests.live.shared import SHARED, needed_by
from tests.live.stack import Stack, deployed

__all__ = ["cluster"]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Destroy the shared stack after the last test of it."""
    if nextitem is None or needed_by(nextitem) != needed_by(item):
        SHARED.close()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """``dev``: one of each, nginx."""
    folder = tmp_path_factory.mktemp("dev") / "project"
    return SHARED.get("dev", lambda: deployed(folder, "dev"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Edge:
    """``dev`` with three replicas, for the tests of the edge."""
    folder = tmp_path_factory.mktemp("edge") / "project"
    return SHARED.get("three", lambda: edge_stack.edge(folder))


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def edge(request: pytest.FixtureRequest, three: Edge) -> Edge:
    """The same behind each proxy in turn."""
    three.behind(request.param)
    three.policy("algorithm: round_robin")
    return three


@pytest.fixture(scope="module")
def horizontal(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """``horizontal``: three replicas, two shards, a Redis Cluster, HAProxy."""
    folder = tmp_path_factory.mktemp("horizontal") / "project"
    return SHARED.get("horizontal", lambda: deployed(folder, "horizontal"))


@pytest.fixture(scope="module")
def vertical(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """``vertical``: one large of each, orders by month."""
    folder = tmp_path_factory.mktemp("vertical") / "project"
    return SHARED.get("vertical", lambda: deployed(folder, "vertical"))


@pytest.fixture(scope="session")
def outlived(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, which goes after the stack on it, also when both go after the last test."""
    yield cluster
    SHARED.close()


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory, outlived: Cluster) -> KubernetesStack:
    """``kubernetes``: what ``horizontal`` is, on the cluster for tests."""
    folder = tmp_path_factory.mktemp("kubernetes") / "project"
    return SHARED.get("kubernetes", lambda: kubernetes_stack.deployed(folder, outlived))


@pytest.fixture(params=["dev", "horizontal", "vertical"])
def docker_stack(request: pytest.FixtureRequest) -> Stack:
    """Each of those on this machine in turn, for what only Docker can be asked."""
    stack = request.getfixturevalue(request.param)
    assert isinstance(stack, Stack)
    return stack


@pytest.fixture(params=["dev", "horizontal", "vertical", "kubernetes"])
def any_stack(request: pytest.FixtureRequest) -> Stack:
    """Each of the four in turn."""
    stack = request.getfixturevalue(request.param)
    assert isinstance(stack, Stack)
    return stack
