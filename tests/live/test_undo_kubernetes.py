"""On a cluster the same commands make backups, try and restore them, and keep partitions.

Last of those on this stack, as its backups stay with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.live.kubernetes_stack import KubernetesStack, others
from tests.live.test_backup import now
from tests.live.waiting import wait_until
from tests.s3.server import Server

pytestmark = pytest.mark.live

ROWS = 2_000
VISITS = f"""
CREATE TABLE visits (id INT NOT NULL, day DATE NOT NULL, PRIMARY KEY (id, day))
PARTITION BY RANGE COLUMNS (day) (
    PARTITION p_2026_01 VALUES LESS THAN ('2026-02-01'),
    PARTITION p_future VALUES LESS THAN (MAXVALUE));
SET SESSION cte_max_recursion_depth = {ROWS};
INSERT INTO visits WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
SELECT i, '2026-01-15' FROM n;
"""
KEPT = """\
  crm:database:
    backup:
      cpus: 0.1
      storage_gib: 1
      s3:
        cpus: 0.1
        bucket: {bucket}
        endpoint: {endpoint}
        access_key_id: {{env: CRM_S3_ID}}
        secret_access_key: {{env: CRM_S3_SECRET}}
        ca_certificate: {{file: {authority}}}
    tables:
      visits:
        column: day
        interval: month
        ahead: 15
"""
ENDS = "SELECT PARTITION_DESCRIPTION FROM information_schema.PARTITIONS WHERE TABLE_NAME = 'visits'"


@pytest.fixture(scope="module")
def bucket(
    tmp_path_factory: pytest.TempPathFactory, kubernetes: KubernetesStack
) -> Iterator[Server]:
    """A server of S3 on this machine, outside the cluster."""
    server = Server(tmp_path_factory.mktemp("s3"), kubernetes.cluster.outside)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def kept(kubernetes: KubernetesStack, bucket: Server) -> Iterator[KubernetesStack]:
    """The stack, with backups of each shard, copies of them outside, and a table of somebody
    else's that is kept too."""
    for shard in ("database-1", "database-2"):
        kubernetes.sql(shard, VISITS)
    asked = KEPT.format(bucket=bucket.bucket, endpoint=bucket.endpoint, authority=bucket.authority)
    kubernetes.edit("  crm:database:\n", asked)
    kubernetes.edit("replicas: 2", "replicas: 1")  # The node's two CPUs are for all of it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRM_S3_ID", bucket.key_id)
        patch.setenv("CRM_S3_SECRET", bucket.secret)
        kubernetes.up()
        yield kubernetes


def shards_backed_up(stack: KubernetesStack) -> list[str]:
    return sorted(backup["shard"] for backup in stack.run("backups")["backups"])


def count(stack: KubernetesStack) -> int:
    return int(stack.sql("database-1", "SELECT COUNT(*) FROM visits")[0][0])


def leftovers(stack: KubernetesStack) -> list[str]:
    """What a helper would leave: of the kinds it is made of, all but the stack's own."""
    return [
        f"{kind}/{found['metadata']['name']}"
        for kind in ("jobs", "pods", "configmaps", "persistentvolumeclaims")
        for found in stack.get(kind)
        if found["metadata"]["labels"]["crm.workload"] in ("drill", "restore", "switch")
    ]


def test_partitions_are_planned_and_made_in_the_keepers_pod(kept: KubernetesStack) -> None:
    for action in ("plan", "apply"):
        done = kept.project.crm(
            "partitions", action, kept.name, KUBECONFIG=str(kept.cluster.kubeconfig)
        )
        assert (done.code, done.err) == (0, "")
        assert "database-2: visits: " in done.out
    bounds = [text.strip("'") for (text,) in kept.sql("database-2", ENDS)]
    # The month that is under way, and those ahead.
    assert sum(now() < bound < "MAXVALUE" for bound in bounds) == 16
    wrong = kept.project.crm("partitions", "plan", kept.name, KUBECONFIG="/nowhere")
    assert wrong.code == 1
    assert "no kubeconfig at /nowhere" in wrong.err


def test_mistaken_delete_is_undone_to_the_second_before(kept: KubernetesStack) -> None:
    before = kept.started()
    # The first one is made on time, by the pod itself, and one only.
    wait_until(
        lambda: set(shards_backed_up(kept)) == {"database-1", "database-2"}, "a backup of each"
    )
    time.sleep(3)
    assert shards_backed_up(kept) == ["database-1", "database-2"]
    (backup,) = kept.run("backup", "--shard", "database-1")["shards"]
    assert backup["rows"] >= ROWS
    (drilled,) = kept.run("drill", "--shard", "database-1")["shards"]
    assert (drilled["result"], drilled["rows"]) == ("succeeded", backup["rows"])
    assert drilled["rpo_seconds"] == 0
    wait_until(lambda: not leftovers(kept), "nothing to be left")
    assert kept.started() == before

    kept.sql("database-1", "INSERT INTO visits VALUES (0, '2026-01-01')")
    time.sleep(1.1)
    right = now()
    time.sleep(1.1)
    kept.sql("database-1", "DELETE FROM visits")
    asked = kept.crm("restore", "--to", right, "--shard", "database-1")
    assert asked.code == 1
    assert "add --yes" in asked.err
    assert count(kept) == 0
    kept.run("restore", "--to", right, "--shard", "database-1", "--yes")
    assert count(kept) == ROWS + 1
    assert "before-restore-" in kept.execute("database-1", "ls", "/data")
    assert "restored" not in kept.execute("database-1", "ls", "/data")
    after = kept.started()
    assert [name for name in before if after[name] != before[name]] == ["database-1-0"]
    wait_until(lambda: not leftovers(kept), "nothing to be left")


def test_lost_volume_has_its_backups_back_from_the_bucket(
    kept: KubernetesStack, bucket: Server
) -> None:
    (made,) = kept.run("backup", "--shard", "database-2")["shards"]
    mine = f"kubernetes/database-2/backups/{made['taken']}/SHA256SUMS"
    wait_until(lambda: any(name.endswith(mine) for name in bucket.names()), "it is copied", 60)
    before = kept.started()
    kept.sql("database-2", "DELETE FROM visits")
    kept.execute("backup-2", "find", "/data", "-mindepth", "1", "-delete")
    lost = [name for name in before if name.startswith(("backup-2", "offsite-2"))]
    assert len(lost) == 2
    kept.cluster.kubectl("delete", "pod", f"--namespace={kept.namespace}", *lost)

    def is_back() -> bool:
        return made["taken"] in {backup["taken"] for backup in kept.run("backups")["backups"]}

    wait_until(is_back, "the backup is back", 120)
    kept.run("restore", "--to", made["taken"], "--shard", "database-2", "--yes")
    assert kept.sql("database-2", "SELECT COUNT(*) FROM visits") == [[str(ROWS)]]
    after = kept.started()
    stayed = others(before, *lost, "database-2")
    assert stayed == {name: after[name] for name in stayed}


def test_damaged_backup_fails_the_drill_and_leaves_nothing(kept: KubernetesStack) -> None:
    damage = "echo >>$(ls -d /data/backups/*/rows.tsv | tail -n 1)"
    kept.execute("backup-2", "bash", "-c", damage)
    done = kept.crm("drill", "--shard", "database-2", "--json")
    assert done.code == 1
    (shard,) = json.loads(done.out)["shards"]
    assert "rows.tsv is damaged" in shard["message"]
    wait_until(lambda: not leftovers(kept), "nothing to be left")
