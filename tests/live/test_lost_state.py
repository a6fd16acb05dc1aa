"""A lost ``.crm``: the way back that the refusal names keeps the rows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.client import call
from tests.live.stack import deployed

pytestmark = pytest.mark.live


def test_rows_survive_the_loss_of_all_local_state(tmp_path: Path) -> None:
    with deployed(tmp_path / "project", "dev") as stack:
        body = {"name": "Survivor", "email": "survivor@example.org"}
        customer = call(f"{stack.url}/api/v1/customers", "POST", body).json["id"]
        shutil.rmtree(stack.project.root / ".crm")

        refused = stack.crm("up", "--engine", "embedded", "--yes")
        assert refused.code == 1
        assert "its state was lost" in refused.err
        command = refused.err.strip().rpartition("run again: ")[2]
        assert command.startswith("docker rm -f $(docker ps")
        assert call(f"{stack.url}/api/v1/customers/{customer}").status == 200

        # Exactly what a person would paste.
        subprocess.run(["bash", "-c", command], check=True, capture_output=True, timeout=120)
        stack.up()
        read = call(f"{stack.url}/api/v1/customers/{customer}")
        assert (read.status, read.json["name"]) == (200, "Survivor")
