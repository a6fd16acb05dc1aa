"""The one list of things to run: what every target relies on, for every stack and variant."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import database_tls, plan, render, stack_file, tiers
from stacks.balancing import CERTIFICATE_SECRETS
from stacks.plan import Plan
from stacks.workload import FILES_PATH, Scale, Workload

SECRET = {"env": "CRM_PASSWORD"}
DATABASE = {"external": {"host": "db.example", "password": SECRET, "owner_password": SECRET}}
CACHE = {"external": {"host": "redis.example", "password": SECRET}}
APP_IMAGE = "crm-app:000000000000"

VARIANTS: dict[str, dict[str, Any]] = {
    "smallest": {},
    "haproxy": {"edge": {"proxy": "haproxy"}},
    "wide": {
        "app": {"replicas": 6},
        "database": {"shards": 4},
        "cache": {"mode": "cluster", "masters": 5},
    },
    "services": {
        "edge": {"routes": [{"prefix": "/api/v1/orders", "service": "orders"}]},
        "services": {"orders": {"health_path": "/healthz", "replicas": 2}},
    },
    "tls": {"edge": {"tls": {"port": 8444}}},
    "tls_haproxy": {"edge": {"tls": {"redirect": False}, "proxy": "haproxy"}},
    "partitions": {
        "database": {
            "shards": 2,
            "orders": {
                "partition_by": "range",
                "column": "order_date",
                "interval": "week",
                "start": "2026-01-05",
                "count": 8,
                "subpartitions": 2,
                "ahead": 4,
                "retention": 52,
            },
        }
    },
    "backup": {"database": {"shards": 2, "backup": {}}},
    "offsite": {
        "database": {
            "shards": 2,
            "backup": {
                "s3": {
                    "bucket": "crm-backups",
                    "access_key_id": SECRET,
                    "secret_access_key": SECRET,
                }
            },
        }
    },
    "archive_files": {
        "database": {
            "backup": {"folder": "/srv/backups"},
            "tables": {
                "visits": {"column": "day", "interval": "day", "ahead": 7, "archive": "file"}
            },
        }
    },
    "external_database": {"database": DATABASE},
    "external_cache": {"cache": CACHE},
    "external": {"database": DATABASE, "cache": CACHE},
}


def listed(planned: Plan) -> list[Workload]:
    return tiers.workloads(planned, render.Renderer().tree(planned), APP_IMAGE)


def variant(name: str) -> tuple[Plan, list[Workload]]:
    if name in VARIANTS:
        planned = plan.make(name, stack_file.parse(VARIANTS[name], "variant"))
    else:
        planned = plan.make(name, stack_file.load(name))
    return planned, listed(planned)


ALL = [*stack_file.names(), *VARIANTS]


@pytest.mark.parametrize("name", ALL)
def test_each_comes_after_what_it_needs(name: str) -> None:
    _, workloads = variant(name)
    before: set[str] = set()
    known = {workload.name for workload in workloads}
    for workload in workloads:
        assert set(workload.after) <= before, workload.name
        assert set(workload.connects_to) <= known, workload.name
        before.add(workload.name)
    assert workloads[-1].name == "edge"


@pytest.mark.parametrize("name", ALL)
def test_names_are_unique_and_hosts_are_too(name: str) -> None:
    _, workloads = variant(name)
    names = [i.name for workload in workloads for i in workload.instances]
    hosts = [i.host for workload in workloads for i in workload.instances]
    assert len(set(names)) == len(names)
    assert len(set(hosts)) == len(hosts)


@pytest.mark.parametrize("name", ALL)
def test_secrets_are_those_of_the_plan_and_no_other(name: str) -> None:
    planned, workloads = variant(name)
    used = {secret for workload in workloads for secret in workload.secrets}
    # A certificate and its key are given or self-made, never generated as passwords are.
    certificate = set(CERTIFICATE_SECRETS) if planned.edge.tls else set()
    server = {database_tls.CERTIFICATE, database_tls.KEY, database_tls.AUTHORITY}
    made = set() if planned.database.external else server
    assert used == set(planned.secrets) | certificate | made
    assert set(workloads[-1].secrets) == certificate


@pytest.mark.parametrize("name", ALL)
def test_commands_name_only_files_that_are_there(name: str) -> None:
    _, workloads = variant(name)
    for workload in workloads:
        for instance in workload.instances:
            files = workload.files_of(instance)
            assert files
            words = [*workload.command, *(workload.reload.validate if workload.reload else ())]
            for word in words:
                if word.startswith(f"{FILES_PATH}/"):
                    assert word.removeprefix(f"{FILES_PATH}/") in files, workload.name
            for text in files.values():
                assert text.endswith("\n")


@pytest.mark.parametrize("name", ALL)
def test_nothing_runs_as_root_and_everything_has_a_size(name: str) -> None:
    _, workloads = variant(name)
    for workload in workloads:
        # No user of this machine, of a node or of an image has such a number.
        assert workload.uid >= 10000
        assert workload.cpus > 0
        assert workload.memory_mib >= 32
        assert workload.run_once or workload.health is not None
        # Temporary files are memory: they must leave most of it to the workload.
        assert sum(workload.tmpfs_mib.values()) <= workload.memory_mib


@pytest.mark.parametrize("name", ALL)
def test_only_the_edge_is_offered_outside(name: str) -> None:
    planned, workloads = variant(name)
    published = [
        (workload.name, port.number, port.publish)
        for workload in workloads
        for port in workload.ports
        if port.publish
    ]
    doors = [planned.edge.port]
    if planned.edge.tls:
        doors.append(planned.edge.tls.port)
    assert published == [("edge", port, planned.edge.address) for port in doors]
    metrics = [port for port in workloads[-1].ports if port.name == "metrics"]
    assert [port.number for port in metrics] == [planned.edge.metrics_port]


def test_app_runs_as_often_and_as_large_as_asked() -> None:
    spec = stack_file.parse({"app": {"replicas": 3, "cpus": 1.5, "memory_mib": 512}}, "dev")
    workloads = {workload.name: workload for workload in listed(plan.make("dev", spec))}
    app = workloads["app"]
    assert (len(app.instances), app.cpus, app.memory_mib) == (3, 1.5, 512)
    assert [i.env["CRM_INSTANCE"] for i in app.instances] == ["app-1", "app-2", "app-3"]
    assert app.image == workloads["schema"].image == APP_IMAGE
    assert not app.stop_first, "a replica starts before the one it replaces is stopped"


def test_service_is_an_app_of_its_own_name_and_size() -> None:
    own = {"health_path": "/readyz", "replicas": 2, "cpus": 2, "memory_mib": 512}
    config = {**VARIANTS["services"], "services": {"orders": own}}
    planned = plan.make("dev", stack_file.parse(config, "dev"))
    workloads = {workload.name: workload for workload in listed(planned)}
    app, orders = workloads["app"], workloads["orders"]
    assert [i.env["CRM_INSTANCE"] for i in orders.instances] == ["orders-1", "orders-2"]
    assert (orders.cpus, orders.memory_mib, orders.tier) == (2, 512, "app")
    assert (orders.image, orders.command, orders.secrets) == (app.image, app.command, app.secrets)
    # Two workers there, one here.
    assert orders.files != app.files
    assert workloads["edge"].connects_to == ("app", "orders")
    assert set(orders.connects_to) == {"cache", "database"}


def test_each_tier_has_a_user_of_its_own_on_every_target() -> None:
    _, workloads = variant("smallest")
    uids = {workload.name: workload.uid for workload in workloads}
    assert uids == {"schema": 10001, "app": 10001, "database": 10002, "cache": 10003, "edge": 10004}


def test_only_what_keeps_something_stops_before_its_successor_starts() -> None:
    # The edge's published port is the Docker target's matter.
    _, workloads = variant("wide")
    assert {w.name for w in workloads if w.stop_first} == {"database", "cache"}


def test_app_that_lost_its_database_is_alive() -> None:
    _, workloads = variant("smallest")
    app = next(workload for workload in workloads if workload.name == "app")
    assert app.health is not None
    assert app.health.alive is not None
    assert "/healthz" in app.health.alive[-1]
    assert "/readyz" in app.health.command[-1]


def test_autoscaled_app_is_one_instance_with_a_scale() -> None:
    config = {"target": "kubernetes", "app": {"replicas": {"min": 2, "max": 6, "cpu_percent": 50}}}
    workloads = listed(plan.make("dev", stack_file.parse(config, "dev")))
    app = next(workload for workload in workloads if workload.name == "app")
    assert [instance.host for instance in app.instances] == ["app"]
    assert app.scale == Scale(min=2, max=6, cpu_percent=50, name_env="CRM_INSTANCE")
    assert [w.name for w in workloads if w.scale] == ["app"]


@pytest.mark.parametrize(
    ("target", "image"),
    [("docker", APP_IMAGE), ("kubernetes", f"registry.example.com/{APP_IMAGE}")],
)
def test_apps_image_is_built_where_docker_runs_it_and_pulled_by_a_cluster(
    target: str, image: str
) -> None:
    config = {"target": target, "images": {"registry": "registry.example.com"}}
    workloads = listed(plan.make("dev", stack_file.parse(config, "dev")))
    assert {w.image for w in workloads if w.tier == "app" or w.run_once} == {image}


def test_volume_of_a_shard_is_as_large_as_asked() -> None:
    spec = stack_file.parse({"database": {"storage_gib": 20}}, "dev")
    (instance,) = listed(plan.make("dev", spec))[0].instances
    assert instance.data is not None
    assert instance.data.size_gib == 20


def test_schema_job_runs_once_and_knows_only_the_owners_password() -> None:
    _, workloads = variant("smallest")
    jobs = [workload for workload in workloads if workload.run_once]
    assert [job.name for job in jobs] == ["schema"]
    assert jobs[0].secrets == ("database_owner_password", database_tls.AUTHORITY)
    assert set(jobs[0].files) == {"app.json", "schema.sql"}


def test_app_cannot_create_tables_or_reach_the_edge() -> None:
    _, workloads = variant("smallest")
    app = next(workload for workload in workloads if workload.name == "app")
    assert app.secrets == ("cache_password", "database_app_password", database_tls.AUTHORITY)
    assert app.connects_to == ("database", "cache")


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("external_database", {"database"}),
        ("external_cache", {"cache"}),
        ("external", {"database", "cache"}),
    ],
)
def test_external_service_is_not_run(name: str, absent: set[str]) -> None:
    _, workloads = variant(name)
    names = {workload.name for workload in workloads}
    assert names == {"database", "cache", "schema", "app", "edge"} - absent


def test_archived_files_have_a_protected_volume() -> None:
    _, workloads = variant("archive_files")
    (keeper,) = (w for w in workloads if w.name == "partitions")
    (data,) = (instance.data for instance in keeper.instances)
    assert data is not None
    assert data.protect
    # What else the stack asks for, as a folder of backups, may change: this volume may not.
    assert data.folder is None
    # Two of them would write the same files.
    assert keeper.stop_first
    (other,) = (w for w in variant("partitions")[1] if w.name == "partitions")
    assert other.instances[0].data is None
    assert not other.stop_first


def test_each_shard_has_a_protected_volume_of_its_own() -> None:
    _, workloads = variant("wide")
    database = workloads[0]
    volumes = [instance.data for instance in database.instances]
    assert all(volume is not None and volume.protect for volume in volumes)
    assert len({volume.name for volume in volumes if volume}) == 4
    assert database.stop_first, "two servers on one data directory destroy it"


def test_cluster_nodes_keep_their_identity_and_a_single_cache_keeps_nothing() -> None:
    _, wide = variant("wide")
    cluster = next(workload for workload in wide if workload.name == "cache")
    names = [instance.data.name for instance in cluster.instances if instance.data]
    assert names == [f"cache-{i}-of-5" for i in range(1, 6)]
    assert cluster.connects_to == ("cache",)
    assert [port.number for port in cluster.ports] == [6379, 16379]
    _, smallest = variant("smallest")
    single = next(workload for workload in smallest if workload.name == "cache")
    assert single.instances[0].data is None


@pytest.mark.parametrize(("proxy", "signal"), [("nginx", "SIGHUP"), ("haproxy", "SIGUSR2")])
def test_proxy_validates_its_files_then_reloads(proxy: str, signal: str) -> None:
    spec = stack_file.parse({"edge": {"proxy": proxy}}, "dev")
    edge = listed(plan.make("dev", spec))[-1]
    assert edge.reload is not None
    assert edge.reload.signal == signal
    assert edge.reload.validate[0] == proxy
