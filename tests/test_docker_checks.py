"""What a machine cannot carry is refused by the key that says it, without Docker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stacks.errors import CrmError
from stacks.targets import docker_checks, docker_host
from tests.refusals import FILE
from tests.sizes import OVERSIZED, workloads_of


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"NCPU": 4, "MemTotal": 2**34}
    client = SimpleNamespace(info=lambda: info)
    monkeypatch.setattr(docker_host, "connect", lambda: client)


@pytest.mark.parametrize(("config", "key"), OVERSIZED)
def test_more_cpus_than_there_are_names_their_own_key(config: dict[str, Any], key: str) -> None:
    _, workloads = workloads_of(config)
    with pytest.raises(CrmError) as refused:
        docker_checks.check("dev", workloads)
    assert str(refused.value) == (
        f"{FILE}: crm:{key}.cpus: 8 CPUs, but this machine has 4; write 4 or less"
    )
