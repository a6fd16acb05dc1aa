"""What works on volumes once: fenced in like all else, found by nobody, gone afterwards."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from stacks import manifests, plan, render, stack_file, tiers
from stacks.manifests import helpers
from stacks.manifests.common import selector
from stacks.tiers import backup

CONFIG = {
    "target": "kubernetes",
    "kubernetes": {"storage_class": "fast"},
    "database": {"backup": {}, "storage_gib": 30},
}
PLAN = plan.make("dev", stack_file.parse(CONFIG, "dev"))
FILES = render.Renderer().tree(PLAN)
DRILL = backup.restorer(PLAN, FILES, "database-1", "backup-1", "drill", ["bash", "-c", "x"])
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "uid": "u"}}


def job(**options: Any) -> dict[str, Any]:
    claims = options.pop("claims", {"/backup": "backup-1-data"})
    return helpers.job(PLAN, DRILL, claims, seconds=60, **{"own_gib": 30, **options})


def pod(made: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = made["spec"]["template"]["spec"]
    return spec


def mounts(made: dict[str, Any]) -> dict[str, bool]:
    (container,) = pod(made)["containers"]
    return {m["mountPath"]: m.get("readOnly", False) for m in container["volumeMounts"]}


@pytest.mark.parametrize("version", ["1.33", "1.36"])
def test_every_version_knows_it(version: str) -> None:
    for value in (job(node="n"), helpers.files(PLAN, DRILL, OWNER)):
        assert kubernetes_validate.validate(value, version, strict=True) == version


def test_it_is_fenced_in_as_the_server_is() -> None:
    workloads = tiers.workloads(PLAN, FILES, "crm-app:0")
    made = {m.key: m.object for m in manifests.manifests(PLAN, workloads)}
    server = made["database-1"]["spec"]["template"]["spec"]
    mine = pod(job())
    for key in ("automountServiceAccountToken", "securityContext", "serviceAccountName"):
        assert mine[key] == server[key]
    assert mine["containers"][0]["securityContext"] == server["containers"][0]["securityContext"]
    assert "env" not in mine["containers"][0]
    assert not [v for v in mine["volumes"] if "secret" in str(v)]


def test_no_service_controller_or_policy_takes_it_for_its_own() -> None:
    labels = job()["spec"]["template"]["metadata"]["labels"]
    for name in ("database", "backup"):
        assert not selector(PLAN, name).items() <= labels.items()
    assert selector(PLAN, "drill", "backup-1-drill").items() <= labels.items()


def test_drill_reads_the_backups_and_has_a_volume_that_goes_with_its_pod() -> None:
    made = job()
    assert mounts(made) == {
        "/etc/crm": True,
        "/backup": True,
        "/data": False,
        "/run/crm": False,
        "/tmp": False,
    }
    (own,) = [v["ephemeral"] for v in pod(made)["volumes"] if "ephemeral" in v]
    assert own["volumeClaimTemplate"]["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "30Gi"}},
        "storageClassName": "fast",
    }


def test_restore_works_in_the_shards_own_claim_on_its_node() -> None:
    claims = {"/backup": "backup-1-data", "/data": "database-1-data"}
    made = job(claims=claims, own_gib=None, node="node-7")
    assert (mounts(made)["/backup"], mounts(made)["/data"]) == (True, False)
    found = {
        v["persistentVolumeClaim"]["claimName"]
        for v in pod(made)["volumes"]
        if "persistentVolumeClaim" in v
    }
    assert found == set(claims.values())
    assert "node-7" in str(pod(made)["affinity"])
    assert "affinity" not in pod(job())


def test_it_runs_once_when_its_files_are_there_and_goes_by_itself() -> None:
    made = job()["spec"]
    assert (made["suspend"], made["backoffLimit"], made["activeDeadlineSeconds"]) == (True, 0, 60)
    assert made["ttlSecondsAfterFinished"] <= 3600
    assert pod(job())["restartPolicy"] == "Never"
    files = helpers.files(PLAN, DRILL, OWNER)
    assert [o["uid"] for o in files["metadata"]["ownerReferences"]] == ["u"]
    assert set(files["data"]) == {"my.cnf", "restore.sh", "rows.sql"}
    sources = pod(job())["volumes"][0]["projected"]["sources"]
    assert sources[0]["configMap"]["name"] == files["metadata"]["name"]
