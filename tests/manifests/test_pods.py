"""What runs in a pod: restricted, sized, asked whether it is well, stopped with care."""

from __future__ import annotations

import pytest

from tests.manifests.reading import container_of, containers, every_set, named, one, pods
from tests.manifests.sets import made, parsed


@every_set
def test_pods_are_as_restricted_as_the_namespace_demands(name: str) -> None:
    _, _, found = made(name)
    labels = one(found, "namespace")["metadata"]["labels"]
    for mode in ("enforce", "warn", "audit"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
    for _, template in pods(found):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["serviceAccountName"] == "crm"
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for key in ("runAsUser", "runAsGroup", "fsGroup"):
            assert spec["securityContext"][key] >= 10000, "no user of the node or of an image"
        for volume in spec["volumes"]:
            assert set(volume) - {"name"} <= {"projected", "emptyDir", "persistentVolumeClaim"}
    for _, container in containers(found):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}


@every_set
def test_every_container_has_requests_and_limits(name: str) -> None:
    _, _, found = made(name)
    for where, container in containers(found):
        requests, limits = (container["resources"][k] for k in ("requests", "limits"))
        for resource in ("cpu", "memory"):
            assert requests[resource] == limits[resource], where
        assert {"cpu", "memory", "ephemeral-storage"} == set(requests) == set(limits)


def test_app_that_lost_its_database_is_not_restarted() -> None:
    _, _, found = made("kubernetes")
    container = container_of(found, "app-1")
    assert "/readyz" in str(container["readinessProbe"])
    assert "/healthz" in str(container["livenessProbe"])


@every_set
def test_a_restart_is_for_what_hangs_and_waits_for_the_first_start(name: str) -> None:
    _, workloads, found = made(name)
    for workload in workloads:
        health = workload.health
        if health is None:
            continue
        for instance in workload.instances:
            container = container_of(found, instance.name)
            startup = container["startupProbe"]
            seconds = startup["periodSeconds"] * startup["failureThreshold"]
            # A server may know of a changed secret later than who starts with it.
            wanted = max(health.start_seconds, 150 if workload.secrets else 0)
            assert wanted <= seconds < wanted + startup["periodSeconds"]
            liveness, readiness = container["livenessProbe"], container["readinessProbe"]
            assert liveness["failureThreshold"] >= 6
            assert liveness["periodSeconds"] >= 5
            # Requests stop long before it is restarted.
            unready = readiness["periodSeconds"] * readiness["failureThreshold"]
            assert unready < liveness["periodSeconds"] * liveness["failureThreshold"]


@pytest.mark.parametrize(("proxy", "signal"), [("nginx", "QUIT"), ("haproxy", "USR1")])
def test_proxy_serves_its_last_requests_before_the_kubelet_ends_it(proxy: str, signal: str) -> None:
    _, workloads, found = parsed(edge={"proxy": proxy})
    edge = container_of(found, "edge")
    _, _, script = edge["lifecycle"]["preStop"]["exec"]["command"]
    # News of its end takes a while; SIGTERM, which comes after the script, would cut requests.
    assert script.startswith("sleep 5 && ")
    assert f"kill -s {signal} 1" in script
    assert script.index("kill -s") < script.index("while kill -0 1")
    grace = dict(pods(found))["edge"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > named(workloads, "edge").stop_grace_seconds + 5


def test_app_waits_until_no_new_requests_come_and_a_database_does_not() -> None:
    _, _, found = made("kubernetes")
    assert container_of(found, "app-1")["lifecycle"]["preStop"]["exec"]["command"][-1] == "sleep 5"
    assert "lifecycle" not in container_of(found, "database-1")
    database = dict(pods(found))["database-1"]["spec"]
    assert database["terminationGracePeriodSeconds"] > 120


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_refused_configuration_stops_the_roll_out_with_the_old_pod_serving(proxy: str) -> None:
    _, workloads, found = parsed(edge={"proxy": proxy})
    spec = dict(pods(found))["edge"]["spec"]
    (check,) = spec["initContainers"]
    reload = named(workloads, "edge").reload
    assert reload is not None
    assert check["command"] == list(reload.validate)
    (container,) = spec["containers"]
    for key in ("image", "volumeMounts", "resources", "securityContext"):
        assert check[key] == container[key]
    assert not {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"} & check.keys()


def test_temporary_files_are_memory_with_a_bound() -> None:
    _, workloads, found = made("dev")
    volumes = {v["name"]: v for v in dict(pods(found))["cache-1"]["spec"]["volumes"]}
    for path, size in named(workloads, "cache").tmpfs_mib.items():
        volume = volumes[path.strip("/").replace("/", "-")]
        assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{size}Mi"}


def test_low_port_needs_no_capability() -> None:
    _, _, found = made("low-port")
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    assert dict(pods(found))["edge"]["spec"]["securityContext"]["sysctls"] == sysctls
    assert "sysctls" not in dict(pods(found))["app-1"]["spec"]["securityContext"]


@every_set
def test_pods_spread_over_nodes_and_zones_where_there_are_several(name: str) -> None:
    _, workloads, found = made(name)
    for workload in workloads:
        for instance in workload.instances:
            spec = dict(pods(found))[instance.name]["spec"]
            if workload.run_once:
                assert "topologySpreadConstraints" not in spec
                continue
            constraints = spec["topologySpreadConstraints"]
            keys = [c["topologyKey"] for c in constraints]
            assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
            for constraint in constraints:
                assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
                chosen = constraint["labelSelector"]["matchLabels"]
                assert chosen["crm.workload"] == workload.name
                assert "crm.instance" not in chosen, "it is the instances that spread"
