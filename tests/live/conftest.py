"""The shipped stacks, each deployed once for all live tests and destroyed afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.fixture import cluster
from tests.live import edge_stack, kubernetes_stack
from tests.live.edge_stack import Edge
from tests.live.kubernetes_stack import KubernetesStack
from tests.live.stack import Stack, deployed

__all__ = ["cluster"]


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``dev``: one of each, nginx."""
    with deployed(tmp_path_factory.mktemp("dev") / "project", "dev") as stack:
        yield stack


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """``dev`` with three replicas, for the tests of the edge."""
    with edge_stack.edge(tmp_path_factory.mktemp("edge") / "project") as found:
        yield found


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def edge(request: pytest.FixtureRequest, three: Edge) -> Edge:
    """The same behind each proxy in turn."""
    three.behind(request.param)
    three.policy("algorithm: round_robin")
    return three


@pytest.fixture(scope="session")
def horizontal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``horizontal``: three replicas, two shards, a Redis Cluster, HAProxy."""
    with deployed(tmp_path_factory.mktemp("horizontal") / "project", "horizontal") as stack:
        yield stack


@pytest.fixture(scope="session")
def vertical(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``vertical``: one large of each, orders by month."""
    with deployed(tmp_path_factory.mktemp("vertical") / "project", "vertical") as stack:
        yield stack


@pytest.fixture(scope="session")
def kubernetes(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster
) -> Iterator[KubernetesStack]:
    """``kubernetes``: what ``horizontal`` is, on the cluster for tests."""
    folder = tmp_path_factory.mktemp("kubernetes") / "project"
    with kubernetes_stack.deployed(folder, cluster) as stack:
        yield stack


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
