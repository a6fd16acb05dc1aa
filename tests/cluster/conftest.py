"""Fixtures of the cluster's own tests."""

from tests.cluster.fixture import cluster

__all__ = ["cluster"]
