"""One stack file on both targets: what is planned, and what runs, is the same."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import msgspec
import pytest

from stacks import images, plan, render, stack_file, tiers
from stacks.targets.kubernetes_ready import quantity
from stacks.workload import Instance, Workload
from tests.live.kubernetes_stack import KubernetesStack
from tests.live.stack import Stack
from tests.nginx_text import without_dockers

pytestmark = pytest.mark.live

Pair = tuple[Stack, KubernetesStack]


@pytest.fixture(scope="module")
def both(kubernetes: KubernetesStack) -> Iterator[Pair]:
    """The stack on the cluster, and a copy of its file, but for ``target``, on this machine."""
    kubernetes_text = kubernetes.project.stack_file(kubernetes.name).read_text(encoding="utf-8")
    name = f"t{secrets.token_hex(3)}-equal"
    text = kubernetes_text.replace("crm:target: kubernetes", "crm:target: docker")
    assert text != kubernetes_text
    kubernetes.project.write_stack(name, text)
    # The port is the same one: there it is the node's, here this machine's.
    here = Stack(kubernetes.project, name, kubernetes.port, kubernetes.engine)
    try:
        here.up()
        yield here, kubernetes
    finally:
        here.crm("destroy", "--yes", "--delete-data")
        kubernetes.project.stack_file(name).unlink()


def planned(stack: Stack) -> plan.Plan:
    folder = stack.project.root / "stacks" / "config"
    return plan.make(stack.name, stack_file.load(stack.name, folder))


def workloads(stack: Stack) -> list[Workload]:
    made = planned(stack)
    root = stack.project.root
    files = render.Renderer().tree(made)
    return tiers.workloads(made, files, images.app_reference(root))


def plain(workload: Workload, stack: Stack) -> str:
    """``workload`` without its stack's name and without what is Docker's in nginx's files."""
    files = {path: without_dockers(text) for path, text in workload.files.items()}
    return repr(msgspec.structs.replace(workload, files=files)).replace(stack.name, "STACK")


def served(stack: Stack) -> list[tuple[Workload, Instance]]:
    """What keeps running."""
    return [(w, i) for w in workloads(stack) if not w.run_once for i in w.instances]


def test_plan_and_workloads_are_equal(both: Pair) -> None:
    here, there = map(planned, both)
    # Only on Docker do replicas' addresses change.
    assert (here.edge.addresses_change, there.edge.addresses_change) == (True, False)
    edge = msgspec.structs.replace(here.edge, addresses_change=False)
    assert edge == there.edge
    same = {"stack": there.stack, "target": there.target, "kubernetes": there.kubernetes}
    assert msgspec.structs.replace(here, edge=edge, **same) == there
    # The files name the stack.
    named = [[plain(w, stack) for w in workloads(stack)] for stack in both]
    assert named[0] == named[1]


def test_files_are_equal_byte_by_byte(both: Pair) -> None:
    """Those of the plan, of the containers and of the pods; of secrets, that they are there."""
    here, _ = both
    for workload, instance in served(here):
        files = workload.files_of(instance)
        for stack in both:
            found = stack.execute(instance.name, "sh", "-c", f"cd /etc/crm; cat {' '.join(files)}")
            found = without_dockers(found).replace(stack.name, here.name)
            assert found == without_dockers("".join(files.values())), instance.name
            listed = stack.execute(
                instance.name, "sh", "-c", "ls /etc/crm; ls /etc/crm/secrets 2>/dev/null || true"
            )
            given = set(listed.split()) - {"secrets"}
            assert given == {*files, *workload.secrets}, instance.name


def test_environment_command_and_user_are_equal(both: Pair) -> None:
    here, there = both
    client = docker.from_env()
    for workload, instance in served(here):
        container = here.container(instance.name)
        image = client.images.get(container.attrs["Image"]).attrs["Config"]["Env"] or []
        config = container.attrs["Config"]
        env = dict(line.split("=", 1) for line in config["Env"] if line not in image)
        spec = there.pod(instance.name)["spec"]
        inside = spec["containers"][0]
        assert env == {e["name"]: e["value"] for e in inside.get("env", ())}, instance.name
        assert env == {**workload.env, **instance.env}
        assert [*config["Entrypoint"], *config["Cmd"]] == inside["command"]
        assert config["User"] == str(spec["securityContext"]["runAsUser"])
        for stack in both:
            uids = stack.execute(instance.name, "sh", "-c", "grep ^Uid /proc/1/status").split()
            assert uids[1:] == [str(workload.uid)] * 4, instance.name


def test_sizes_are_equal(both: Pair) -> None:
    here, there = both
    for workload, instance in served(here):
        host = here.container(instance.name).attrs["HostConfig"]
        resources = there.pod(instance.name)["spec"]["containers"][0]["resources"]
        for kind in ("requests", "limits"):
            assert quantity(resources[kind]["cpu"]) == host["NanoCpus"] / 1e9 == workload.cpus
            assert quantity(resources[kind]["memory"]) == host["Memory"]
            assert host["Memory"] == workload.memory_mib * 2**20
        sizes = {
            volume["name"]: quantity(volume["emptyDir"]["sizeLimit"])
            for volume in there.pod(instance.name)["spec"]["volumes"]
            if "emptyDir" in volume
        }
        in_memory = {
            path.strip("/").replace("/", "-"): float(options.split("size=")[1].split("m,")[0])
            for path, options in host["Tmpfs"].items()
        }
        assert sizes == {name: size * 2**20 for name, size in in_memory.items()}


def ddl(stack: Stack, shard: str) -> dict[str, Any]:
    """Every table as the server itself would make it."""
    tables = [row[0] for row in stack.sql(shard, "SHOW TABLES")]
    assert "crm_orders" in tables
    return {table: stack.sql(shard, f"SHOW CREATE TABLE {table}") for table in tables}


def test_tables_and_settings_of_mysql_are_equal(both: Pair) -> None:
    here, there = both
    for shard in ("database-1", "database-2"):
        assert ddl(here, shard) == ddl(there, shard)
        ask = (
            "SELECT @@innodb_buffer_pool_size, @@max_connections, @@server_id, @@sync_binlog, "
            "@@innodb_flush_log_at_trx_commit, @@sql_mode, @@character_set_server"
        )
        assert here.sql(shard, ask) == there.sql(shard, ask)


def test_cache_policy_is_equal(both: Pair) -> None:
    here, there = both
    for node in ("cache-1", "cache-2", "cache-3"):
        # Its own word; CONFIG is off.
        settings = "maxmemory|maxmemory_policy|aof_enabled|cluster_enabled"
        ask = f"INFO everything | tr -d '\\r' | grep -E '^({settings}):'"
        found = [stack.redis(node, ask).splitlines() for stack in both]
        assert len(found[0]) == 4
        assert found[0] == found[1]
        # Which slots are whose does not depend on the target either.
        slots = "CLUSTER NODES | grep myself | cut -d' ' -f9-"
        assert here.redis(node, slots) == there.redis(node, slots)


def test_rendered_trees_differ_in_the_target_alone(both: Pair, tmp_path: Path) -> None:
    trees = []
    for stack in both:
        folder = tmp_path / stack.name
        done = stack.crm("render", "-o", str(folder), "--target", "docker")
        assert done.code == 0, done.err
        trees.append(
            {
                path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8").replace(
                    stack.name, "STACK"
                )
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        )
    assert trees[0] == trees[1]
