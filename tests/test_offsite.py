"""Copies of backups in a bucket: what a stack file may ask for, what follows on either target."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies import judge
from stacks import manifests, offsite, plan, policy_gate, render, stack_file, tiers
from stacks.plan import Plan
from stacks.spec import StackSpec
from stacks.spec_policies import Policies
from stacks.workload import DATA_PATH, Workload
from tests.policies.judged import TODAY, production, register
from tests.refusals import FILE, refusal

KEYS = {"access_key_id": {"env": "CRM_S3_ID"}, "secret_access_key": {"file": "/run/s3"}}
S3: dict[str, Any] = {"bucket": "crm-backups", **KEYS}
OWN: dict[str, Any] = {
    **S3,
    "endpoint": "https://s3.example.com:9000",
    "ca_certificate": {"file": "/run/ca"},
}


def spec(target: str = "docker", shards: int = 1, **s3: Any) -> StackSpec:
    database = {"shards": shards, "backup": {"every_hours": 6, "keep": 4, "s3": {**S3, **s3}}}
    return stack_file.parse({"target": target, "database": database}, "dev")


def planned(target: str = "docker", shards: int = 1, **s3: Any) -> Plan:
    return plan.make("dev", spec(target, shards, **s3))


def told(**s3: Any) -> dict[str, Any]:
    """What the copier reads."""
    found = json.loads(render.Renderer().tree(planned(**s3))["backup/offsite.json"])
    assert isinstance(found, dict)
    return found


def workloads(of: Plan) -> dict[str, Workload]:
    listed = tiers.workloads(of, render.Renderer().tree(of), "crm-app:0")
    return {workload.name: workload for workload in listed}


# --- What a stack may ask for --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("s3", "says"),
    [
        ({"acces_key_id": {"env": "A"}}, "crm:database.backup.s3.acces_key_id: there is no such"),
        ({"bucket": "My_Bucket"}, "crm:database.backup.s3.bucket: 'My_Bucket' is not allowed"),
        ({"endpoint": "s3.example.com"}, "crm:database.backup.s3.endpoint: 's3.example.com' is"),
        ({"endpoint": "ftp://s3.example.com"}, "write https:// and a host, perhaps a port"),
        ({"endpoint": "https://s3.example.com/b"}, "and no path"),
        ({"endpoint": "https://me:secret@s3.example.com"}, "https:// and a host"),
        ({"prefix": "/a"}, "crm:database.backup.s3.prefix: '/a' is not allowed"),
        ({"prefix": "a/../b"}, "crm:database.backup.s3.prefix: 'a/../b' is not allowed"),
        ({"region": "EU"}, "crm:database.backup.s3.region: 'EU' is not allowed"),
        ({"access_key_id": "AKIA"}, "crm:database.backup.s3.access_key_id: "),
        ({"secret_access_key": {}}, "name exactly one source, such as {env: "),
        ({"ca_certificate": {"env": "CA"}}, "`ca_certificate` is for an `endpoint` of your own"),
    ],
)
def test_what_is_no_bucket_is_refused_with_file_and_key(s3: dict[str, Any], says: str) -> None:
    message = refusal({"database": {"backup": {"s3": {**S3, **s3}}}})
    assert message.startswith(f"{FILE}: ")
    assert says in message


@pytest.mark.parametrize("missing", ["bucket", "access_key_id", "secret_access_key"])
def test_what_is_missing_is_named(missing: str) -> None:
    s3 = {key: value for key, value in S3.items() if key != missing}
    message = refusal({"database": {"backup": {"s3": s3}}})
    assert message.startswith(f"{FILE}: crm:database.backup.s3.{missing}: is missing; ")


def test_plain_http_has_to_be_written_and_is_refused_in_production() -> None:
    plain = {**S3, "endpoint": "http://10.0.0.7:9000"}
    assert told(endpoint=plain["endpoint"])["endpoint"] == "http://10.0.0.7:9000"
    message = refusal({"database": {"backup": {"s3": plain}}, "policies": {"production": True}})
    assert message == (
        f"{FILE}: `database.backup.s3.endpoint` is not encrypted, and the stack is in production; "
        "write one that begins with https://"
    )


def test_backups_without_a_bucket_have_nothing_of_it() -> None:
    of = plan.make("dev", stack_file.parse({"database": {"backup": {}}}, "dev"))
    tree = render.Renderer().tree(of)
    assert "offsite" not in workloads(of)
    assert "backup/offsite.json" not in tree
    assert not any("offsite" in text or "bucket crm" in text for text in tree.values())
    assert not any("s3" in name for name in of.secrets)


def test_copier_is_told_what_is_asked_and_how_long_the_keeper_keeps() -> None:
    assert told() == {
        "bucket": "crm-backups",
        "prefix": "dev",
        "region": "us-east-1",
        "endpoint": None,
        "path_style": False,
        "ca": False,
        "every_seconds": 30,
        "overdue_seconds": 600,
        "backups_overdue_seconds": 2 * 6 * 3600,
        "keep": 4,
        "keep_seconds": 4 * 6 * 3600,
    }
    own = told(**OWN, prefix="crm/sales", region="eu-1")
    assert (own["endpoint"], own["path_style"], own["ca"]) == (OWN["endpoint"], True, True)
    assert (own["prefix"], own["region"]) == ("crm/sales", "eu-1")
    assert told(**OWN, path_style=False)["path_style"] is False


def test_sizes_name_the_copiers_and_their_bucket() -> None:
    page = render.Renderer().tree(planned(shards=2))["summary.md"]
    assert "| offsite | copies to a bucket | 2 | 0.25 | 192 |" in page
    smaller = planned("kubernetes", cpus=0.1)
    assert "| 1 | 0.1 | 192 |" in render.Renderer().tree(smaller)["summary.md"]
    assert workloads(smaller)["offsite"].cpus == 0.1
    assert "| their copies | in the bucket crm-backups of us-east-1, under dev/; " in page


# --- What runs -----------------------------------------------------------------------------------


def test_each_keeper_has_a_copier_that_sees_its_volume_and_the_outside_alone() -> None:
    of = planned(shards=2, **OWN)
    found = workloads(of)
    copier, keeper = found["offsite"], found["backup"]
    assert copier.image == found["app"].image
    assert copier.uid == keeper.uid, "else it could not read what that writes"
    assert not copier.connects_to and not copier.ports
    assert copier.reaches_outside and not keeper.reaches_outside
    assert copier.stop_first, "two of them would do the same"
    assert copier.after == ("backup",)
    for one, kept in zip(copier.instances, keeper.instances, strict=True):
        assert one.data is not None and kept.data is not None
        assert (one.data.name, one.data.of) == (kept.data.name, "backup")
        assert one.env["CRM_SHARD"] == kept.env["CRM_SHARD"]


def test_access_key_is_the_copiers_alone_and_in_no_file() -> None:
    of = planned(**OWN)
    found = workloads(of)
    wanted = (offsite.ACCESS_KEY_ID, offsite.SECRET_ACCESS_KEY, offsite.AUTHORITY)
    assert found["offsite"].secrets == wanted
    assert not any({*wanted} & {*w.secrets} for n, w in found.items() if n != "offsite")
    assert not {*wanted} & {*of.own_secrets}, "it is another's, and is not made up here"
    tree = render.Renderer().tree(of)
    assert not any("CRM_S3_ID" in text or "/run/s3" in text for text in tree.values())


@pytest.mark.parametrize("target", ["docker", "kubernetes"])
def test_every_policy_passes(target: str) -> None:
    database = stack_file.read("horizontal")["database"]
    assert isinstance(database, dict)
    asked = production(target, database={**database, "backup": {"s3": OWN}})
    declared = register(asked)
    assert [r for r in declared if r.name == "offsite-1"]
    found = judge.judge(policy_gate.plain(declared), Policies(production=True), TODAY)
    assert found == []


def test_docker_shares_the_keepers_volume_and_makes_no_other() -> None:
    declared = register(spec(), "dev")
    volumes = {r.name for r in declared if r.type.endswith(":Volume")}
    assert "backup-1-data" in volumes
    assert not {name for name in volumes if "offsite" in name} - {"offsite-1-files"}
    (container,) = (r for r in declared if r.name == "offsite-1" and r.type.endswith(":Container"))
    mounted = {v["volumeName"]: v["containerPath"] for v in container.inputs["volumes"]}
    assert mounted["crm-dev-backup-1-data"] == DATA_PATH
    assert [n["name"] for n in container.inputs["networksAdvanced"]] == ["crm-dev-offsite-outside"]


def test_cluster_has_the_pod_on_the_node_of_the_keepers_and_one_claim_for_both() -> None:
    of = planned("kubernetes", shards=2, **OWN)
    found = {m.key: m for m in manifests.manifests(of, list(workloads(of).values()))}
    claims = [m for m in found.values() if m.object["kind"] == "PersistentVolumeClaim"]
    assert sorted(m.key for m in claims if "database" not in m.key) == [
        "backup-1-data",
        "backup-2-data",
    ]
    for number in ("1", "2"):
        assert "affinity" not in found[f"database-{number}"].object["spec"]["template"]["spec"]
        copier = found[f"offsite-{number}"]
        assert {f"backup-{number}-data", f"backup-{number}"} <= set(copier.after)
        pod = copier.object["spec"]["template"]["spec"]
        (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        keeper = found[f"backup-{number}"].object["spec"]["template"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        wanted = term["labelSelector"]["matchLabels"].items()
        assert wanted <= keeper["metadata"]["labels"].items()
        # Either way, and each may be the first: then it has itself to go by.
        assert wanted <= copier.object["spec"]["template"]["metadata"]["labels"].items()
        assert keeper["spec"]["affinity"] == pod["affinity"]
        (volume,) = (v for v in pod["volumes"] if v["name"] == "data")
        assert volume["persistentVolumeClaim"] == {"claimName": f"backup-{number}-data"}
    policies = {key for key in found if key.startswith("offsite-") and "-to-" in key}
    assert policies == {"offsite-to-outside"}
    assert "database-from-offsite" not in found
