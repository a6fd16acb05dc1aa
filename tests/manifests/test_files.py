"""Files, secrets and data: what rolls when, what stays, and what is in no file."""

from __future__ import annotations

from msgspec import structs

from stacks import database_tls, manifests
from stacks.balancing import CERTIFICATE_SECRETS
from tests.manifests.reading import (
    container_of,
    containers,
    every_set,
    named,
    of_kind,
    one,
    pods,
    reachable,
)
from tests.manifests.sets import made, parsed

SERVER = (database_tls.CERTIFICATE, database_tls.KEY, database_tls.AUTHORITY)

# --- Files and secrets ----------------------------------------------------------------------------


def test_changed_file_rolls_what_mounts_it_and_nothing_else() -> None:
    planned, workloads, before = made("kubernetes")
    edited = [
        structs.replace(w, files={n: f"{t}# changed\n" for n, t in w.files.items()})
        if w.name == "edge"
        else w
        for w in workloads
    ]
    after = manifests.manifests(planned, edited)
    changed = {m.key for m, old in zip(after, before, strict=True) if m.object != old.object}
    assert changed == {"edge-files", "edge"}
    old, new = (one(found, "edge-files")["metadata"]["name"] for found in (before, after))
    assert old != new, "a pod that starts late must not read the next version's files"


def test_an_instances_own_file_rolls_that_instance_alone() -> None:
    planned, workloads, before = made("kubernetes")
    database = named(workloads, "database")
    first, second = database.instances
    changed_instance = structs.replace(first, files={**first.files, "my.cnf": "[mysqld]\n"})
    edited = [
        structs.replace(w, instances=(changed_instance, second)) if w is database else w
        for w in workloads
    ]
    after = manifests.manifests(planned, edited)
    changed = {m.key for m, old in zip(after, before, strict=True) if m.object != old.object}
    assert changed == {"database-1-files", "database-1"}


@every_set
def test_files_never_change_under_a_running_pod(name: str) -> None:
    _, _, found = made(name)
    for object_ in of_kind(found, "ConfigMap").values():
        assert object_["immutable"] is True
    for _, template in pods(found):
        volume = template["spec"]["volumes"][0]["projected"]
        assert volume["defaultMode"] == 0o440
        assert template["spec"]["securityContext"]["fsGroup"] >= 10000
    for _, container in containers(found):
        mount = next(m for m in container["volumeMounts"] if m["mountPath"] == "/etc/crm")
        assert mount["readOnly"] is True


@every_set
def test_no_secret_has_a_value_in_any_file(name: str) -> None:
    planned, workloads, found = made(name)
    for manifest in found:
        if manifest.object["kind"] == "Secret":
            assert manifest.secrets
            assert not {"data", "stringData"} & manifest.object.keys()
            assert manifest.object["metadata"]["annotations"] == {"crm.dev/filled-by": "crm up"}
        else:
            assert not manifest.secrets
    given = {secret for m in found for secret in m.secrets} - {manifests.PULL_SECRET}
    server = () if planned.database.external else SERVER
    certificates = {*server, *(CERTIFICATE_SECRETS if planned.edge.tls else ())}
    assert given == {*planned.secrets, *certificates}
    # By files and not by the environment, which every child process and crash dump holds.
    for _, container in containers(found):
        assert not any("secretKeyRef" in str(e) for e in container.get("env", []))
    for workload in workloads:
        for instance in workload.instances:
            sources = dict(pods(found))[instance.name]["spec"]["volumes"][0]["projected"]["sources"]
            paths = [i["path"] for s in sources if "secret" in s for i in s["secret"]["items"]]
            assert sorted(paths) == [f"secrets/{n}" for n in sorted(workload.secrets)]


@every_set
def test_changed_secret_rolls_its_users_but_no_job_that_is_done(name: str) -> None:
    _, workloads, found = made(name)
    for workload in workloads:
        for instance in workload.instances:
            manifest = next(m for m in found if m.key == instance.name)
            rolls = bool(workload.secrets) and not workload.run_once
            assert manifest.rolls_on == ((f"{workload.name}-secrets",) if rolls else ())


def test_renewed_certificate_or_password_rolls_no_database_server() -> None:
    _, workloads, found = made("kubernetes")
    secrets = {m.key: set(m.secrets) for m in found if m.workload == "database" and m.secrets}
    root = {"database_root_password"}
    assert secrets == {
        "database-followed-secrets": set(named(workloads, "database").secrets) - root,
        "database-secrets": root,
    }
    for key in ("database-1", "database-2"):
        assert next(m for m in found if m.key == key).rolls_on == ("database-secrets",)
        assert {"database-secrets", "database-followed-secrets"} <= set(reachable(found, key))
    # Another authority is another matter: who trusts it has to be told.
    for name in ("app", "schema"):
        (held,) = [set(m.secrets) for m in found if m.workload == name and m.secrets]
        assert database_tls.AUTHORITY in held
        assert not {database_tls.CERTIFICATE, database_tls.KEY} & held


def test_pull_secret_is_used_by_every_pod_and_is_of_its_own_form() -> None:
    _, _, found = made("registry")
    manifest = next(m for m in found if m.key == "registry-pull")
    assert manifest.object["type"] == "kubernetes.io/dockerconfigjson"
    assert manifest.secret_keys == {".dockerconfigjson": "registry_pull"}
    for key, template in pods(found):
        assert template["spec"]["imagePullSecrets"] == [{"name": "registry-pull"}]
        assert "registry-pull" in reachable(found, key)
    for _, container in containers(found):
        assert container["image"].startswith("registry.example.com:5000/team/")
    assert "registry-pull" not in {m.key for m in made("kubernetes")[2]}


def test_another_owner_restarts_nothing() -> None:
    _, _, before = parsed()
    _, _, after = parsed(owner="somebody-else")
    for manifest, old in zip(after, before, strict=True):
        if manifest.object["kind"] == "Secret":
            assert manifest.object == old.object, "its version is in the pods that use it"
            continue
        assert manifest.object["metadata"]["labels"]["crm.owner"] == "somebody-else"
        assert manifest.object["metadata"]["name"] == old.object["metadata"]["name"]
        assert manifest.object.get("spec") == old.object.get("spec")


# --- Data -----------------------------------------------------------------------------------------


def test_each_shard_has_a_protected_claim_and_a_cluster_node_one_that_is_not() -> None:
    _, _, found = made("kubernetes")
    claims = {m.key: m for m in found if m.object["kind"] == "PersistentVolumeClaim"}
    sizes = {k: m.object["spec"]["resources"]["requests"]["storage"] for k, m in claims.items()}
    assert sizes == {
        "database-1-data": "10Gi",
        "database-2-data": "10Gi",
        **{f"cache-{i}-of-3-data": "1Gi" for i in (1, 2, 3)},
    }
    assert [k for k, m in claims.items() if m.protect] == ["database-1-data", "database-2-data"]
    assert {m.key for m in found if m.protect} == {"database-1-data", "database-2-data"}
    for key, manifest in claims.items():
        # Bound only when its pod has a node: waiting for it before that would never end.
        assert manifest.object["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
        owner = key.split("-of-")[0].removesuffix("-data")
        mounts = {m["name"]: m["mountPath"] for m in container_of(found, owner)["volumeMounts"]}
        assert mounts["data"] == "/data"


def test_storage_class_and_size_are_those_the_stack_names() -> None:
    _, _, found = parsed(kubernetes={"storage_class": "fast"}, database={"storage_gib": 2048})
    spec = one(found, "database-1-data")["spec"]
    assert spec["storageClassName"] == "fast"
    assert spec["resources"]["requests"]["storage"] == "2Ti"
    # Left out, it is the cluster's default; an empty one would be none at all.
    assert "storageClassName" not in one(made("kubernetes")[2], "database-1-data")["spec"]
