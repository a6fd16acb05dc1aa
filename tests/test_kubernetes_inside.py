"""How a command inside a pod ended, by the status that a cluster sends at its end."""

from __future__ import annotations

import json

import pytest

from stacks.errors import CrmError
from stacks.targets.kubernetes_inside import exit_code


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


def test_a_connection_that_broke_off_has_none() -> None:
    assert exit_code(b"") is None


def test_what_could_not_be_run_is_said_as_the_cluster_says_it() -> None:
    said = 'exec: "bash": executable file not found in $PATH'
    with pytest.raises(CrmError, match="executable file not found"):
        exit_code(status(status="Failure", message=said, reason="InternalError"))
