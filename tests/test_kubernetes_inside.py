"""How a command inside a pod ended, by the status that a cluster sends at its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException

from stacks.errors import CrmError
from stacks.targets import inside
from stacks.targets.kubernetes_inside import KubernetesInside, exit_code


def status(**fields: object) -> bytes:
    return json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, **fields}).encode()


def test_success_and_any_exit_code_are_told() -> None:
    assert exit_code(status(status="Success")) == 0
    causes = [{"reason": "ExitCode", "message": "7"}]
    said = "command terminated with non-zero exit code"
    failed = status(status="Failure", message=said, reason="NonZeroExitCode")
    with pytest.raises(CrmError, match="non-zero exit code"):
        exit_code(failed)
    found = status(status="Failure", reason="NonZeroExitCode", details={"causes": causes})
    assert exit_code(found) == 7


class Interrupted:
    """Where a command runs while the person that asked for it presses Ctrl-C."""

    name = "backup-1-0"

    def run(self, _command: Sequence[str], _said: inside.Said) -> int:
        raise KeyboardInterrupt


@pytest.mark.parametrize("way", [inside.ask, inside.show])
def test_who_goes_away_is_told_that_it_goes_on(
    way: Callable[[Interrupted, list[str]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        way(Interrupted(), ["true"])
    assert capsys.readouterr().err == "backup-1-0: what was asked goes on there to its end\n"


def test_interruption_while_connecting_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            # As the client's websocket_call does.
            raise ApiException(status=0, reason=str(error))  # noqa: B904

    monkeypatch.setattr("kubernetes.stream.stream", connect)
    pod = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}}
    cluster: Any = SimpleNamespace(client=None)
    with pytest.raises(KeyboardInterrupt):
        KubernetesInside(cluster, pod).run(["true"], lambda *_: None)


def test_a_connection_that_broke_off_has_none() -> None:
    assert exit_code(b"") is None


def test_what_could_not_be_run_is_said_as_the_cluster_says_it() -> None:
    said = 'exec: "bash": executable file not found in $PATH'
    with pytest.raises(CrmError, match="executable file not found"):
        exit_code(status(status="Failure", message=said, reason="InternalError"))
