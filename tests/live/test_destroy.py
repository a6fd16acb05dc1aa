"""Destroying a stack leaves nothing but its data and what opens it; data goes only when asked."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from tests import pulumi_cli
from tests.live.client import call
from tests.live.stack import deployed

pytestmark = pytest.mark.live


def test_destroy_keeps_the_data_until_it_is_asked_for(tmp_path: Path) -> None:
    with deployed(tmp_path / "project", "dev") as stack:
        body = {"name": "Old customer", "email": "old@example.org"}
        customer = call(f"{stack.url}/api/v1/customers", "POST", body).json["id"]
        everything = stack.objects()

        refused = stack.crm("destroy")
        assert refused.code == 1
        assert "add --yes" in refused.err
        assert stack.objects() == everything

        shown = stack.run("destroy", "--yes")
        assert shown["result"] == "succeeded"
        assert shown["changes"]["delete"] > 20
        data = f"crm-{stack.name}-database-1-data"
        assert stack.objects() == {"containers": [], "networks": [], "volumes": [data]}

        # The rows that are left lie by the map of one shard.
        stack.edit("shards: 1", "shards: 2")
        refused = stack.crm("up", "--yes")
        stack.edit("shards: 2", "shards: 1")
        assert "is deployed with 1; with 2, 32 of 64 buckets" in refused.err
        assert stack.objects() == {"containers": [], "networks": [], "volumes": [data]}

        stack.up()
        read = call(f"{stack.url}/api/v1/customers/{customer}")
        assert read.status == 200
        assert read.json["name"] == "Old customer"

        refused = stack.crm("destroy", "--delete-data")
        assert refused.code == 1
        assert data in stack.objects()["volumes"]

        assert stack.run("destroy", "--yes", "--delete-data")["result"] == "succeeded"
        assert stack.objects() == {"containers": [], "networks": [], "volumes": []}
        state = stack.project.root / ".crm" / "state" / ".pulumi" / "stacks" / "crm"
        assert not list(state.glob("*.json"))

        stack.up()
        assert call(f"{stack.url}/api/v1/customers/{customer}").status == 404


@pytest.mark.parametrize(
    "engine",
    [
        "embedded",
        pytest.param("pulumi", marks=pulumi_cli.NEEDED),
    ],
)
def test_delete_data_that_fails_gives_up_neither_protection_nor_credentials(
    tmp_path: Path, engine: str
) -> None:
    with deployed(tmp_path / "project", "dev", engine) as stack:
        body = {"name": "Old customer", "email": "old@example.org"}
        customer = call(f"{stack.url}/api/v1/customers", "POST", body).json["id"]
        data = f"crm-{stack.name}-database-1-data"
        # Somebody else's container has the volume, so Docker does not let it go.
        holder = docker.from_env().containers.create(
            stack.container("database-1").attrs["Image"],
            ["true"],
            volumes={data: {"bind": "/held"}},
        )
        try:
            failed = stack.crm("destroy", "--yes", "--delete-data")
            assert failed.code == 1
            assert "database-1-data" in failed.err
            assert stack.objects()["volumes"] == [data]

            assert stack.run("destroy", "--yes")["result"] == "succeeded"
            assert stack.objects()["volumes"] == [data]
        finally:
            holder.remove(force=True)
        # Nobody holds it any more: only protection keeps it now.
        assert stack.run("destroy", "--yes")["result"] == "succeeded"
        assert stack.objects() == {"containers": [], "networks": [], "volumes": [data]}

        stack.up()
        assert call(f"{stack.url}/api/v1/customers/{customer}").json["name"] == "Old customer"
        assert stack.run("destroy", "--yes", "--delete-data")["result"] == "succeeded"
        assert stack.objects() == {"containers": [], "networks": [], "volumes": []}
