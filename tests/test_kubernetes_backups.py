"""Where the work of a restore may run on a cluster, over pods as a cluster lists them."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import plan, stack_file
from stacks.errors import CrmError
from stacks.targets import kubernetes_host
from stacks.targets.kubernetes_backups import KubernetesPlace

CLAIMS = {"/backup": "backup-1-data", "/data": "database-1-data"}


class Cluster:
    """One that has a pod for each of ``nodes``: instance → node, empty while it has none."""

    def __init__(self, **nodes: str) -> None:
        self._nodes = {name.replace("_", "-"): node for name, node in nodes.items()}

    def find(
        self, _version: str, kind: str, namespace: str, labels: dict[str, str]
    ) -> list[dict[str, Any]]:
        assert (kind, namespace, labels["crm.stack"]) == ("Pod", "crm-dev", "dev")
        node = self._nodes.get(labels["crm.instance"])
        return [] if node is None else [{"spec": {"nodeName": node} if node else {}}]


def place(monkeypatch: pytest.MonkeyPatch, context: str | None = None, **nodes: str) -> Any:
    monkeypatch.setattr(kubernetes_host, "connect", lambda _context: Cluster(**nodes))
    config: dict[str, Any] = {"target": "kubernetes", "database": {"backup": {}}}
    config |= {"kubernetes": {"context": context}} if context else {}
    made = plan.make("dev", stack_file.parse(config, "dev"))
    return KubernetesPlace(made, "database-1", "backup-1", {})


@pytest.mark.parametrize(
    ("nodes", "node"),
    [
        ({"backup_1": "a", "database_1": "a"}, "a"),
        ({"backup_1": "a"}, "a"),
        ({"backup_1": "", "database_1": "b"}, "b"),
        ({}, None),
    ],
)
def test_it_runs_where_the_volumes_are(
    monkeypatch: pytest.MonkeyPatch, nodes: dict[str, str], node: str | None
) -> None:
    assert place(monkeypatch, **nodes)._node(CLAIMS) == node


def test_volumes_on_two_nodes_are_refused_with_what_brings_them_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = place(monkeypatch, "there", backup_1="a", database_1="b")
    with pytest.raises(CrmError, match="nothing was changed: backup-1 runs on a") as caught:
        found._node(CLAIMS)
    assert "kubectl --context there -n crm-dev delete pod backup-1-0" in str(caught.value)
    # A drill needs one of them.
    assert found._node({"/backup": "backup-1-data"}) == "a"


def test_people_are_told_commands_of_the_stacks_own_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = place(monkeypatch, "there")
    assert found.inside_of("database-1") == (
        "kubectl --context there -n crm-dev exec database-1-0 --"
    )
    assert place(monkeypatch).logs_of("backup-1") == "kubectl -n crm-dev logs backup-1-0"
    assert found.volume("backup-1") == "the claim backup-1-data of the namespace crm-dev"
