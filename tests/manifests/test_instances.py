"""Each instance is one controller, in the right order; how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import plan, stack_file
from stacks.errors import CrmError
from tests.manifests.reading import (
    container_of,
    every_set,
    named,
    of_kind,
    one,
    pods,
    reachable,
)
from tests.manifests.sets import listed, made, parsed
from tests.nginx_text import without_dockers

# --- The unit is the instance ---------------------------------------------------------------------


@every_set
def test_each_instance_is_one_controller_that_is_reached_by_its_name(name: str) -> None:
    _, workloads, found = made(name)
    for workload in workloads:
        kind = "StatefulSet" if workload.stop_first else "Deployment"
        if workload.run_once:
            kind = "CronJob" if workload.schedule else "Job"
        for instance in workload.instances:
            controller = one(found, instance.name)
            assert controller["kind"] == kind
            if kind in ("Deployment", "StatefulSet") and not workload.scale:
                assert controller["spec"]["replicas"] == 1
            if workload.ports:
                service = one(found, f"{workload.sharing(instance.host)[0].name}-service")
                assert service["metadata"]["name"] == instance.host


@every_set
def test_selectors_find_the_pods_of_their_own_instance_alone(name: str) -> None:
    _, _, found = made(name)
    templates = {key: template["metadata"]["labels"] for key, template in pods(found)}
    for key, object_ in of_kind(found, "Deployment", "StatefulSet", "Service").items():
        chosen = object_["spec"]["selector"]
        chosen = chosen.get("matchLabels", chosen)
        matched = [k for k, labels in templates.items() if chosen.items() <= labels.items()]
        if (name, key) == ("edges", "edge-service"):
            assert matched == ["edge", "edge-2", "edge-3"]
        else:
            assert matched == [key.removesuffix("-service")]


def test_more_edges_leave_the_first_alone_and_stand_behind_one_service() -> None:
    few, many = ({m.key: m for m in parsed(edge={"replicas": n})[2]} for n in (1, 3))
    added = {"edge-2", "edge-3"}
    assert many.keys() - few.keys() == added
    assert few.keys() <= many.keys()
    changed = {key for key in few if few[key].object != many[key].object}
    assert changed == {"edge-service"}
    # Who comes in is sent to a new one only once all are ready.
    assert many["edge-service"].after == ("edge-3",)
    assert "edge-2" in many["edge-3"].after
    budget = many["edge-disruptions"].object["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == {"crm.stack": "dev", "crm.workload": "edge"}
    spread = many["edge-3"].object["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["labelSelector"]["matchLabels"] for each in spread] == [
        {"crm.stack": "dev", "crm.workload": "edge"}
    ] * 2


def test_ingress_leads_to_all_edges_by_one_service() -> None:
    ingress = {"expose": "ingress", "ingress_host": "crm.example.com"}
    _, _, found = parsed(edge={"replicas": 2}, kubernetes=ingress)
    (entry,) = of_kind(found, "Ingress").values()
    assert "crm.instance" not in entry["metadata"]["labels"]
    (path,) = entry["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"]["name"] == "edge"
    assert [m.after for m in found if m.key == "edge-ingress"] == [("edge-service",)]


@pytest.mark.parametrize("name", stack_file.names())
def test_pods_get_files_commands_environment_and_sizes_as_on_docker(name: str) -> None:
    # The same list of workloads, asked for the other target, is what the pods hold.
    docker = plan.make(name, stack_file.load(name, target="docker"))
    _, _, found = made(name)
    templates = dict(pods(found))
    maps = {o["metadata"]["name"]: o["data"] for o in of_kind(found, "ConfigMap").values()}
    for workload in listed(docker):
        for instance in workload.instances:
            spec = templates[instance.name]["spec"]
            (container,) = spec["containers"]
            (source,) = (
                s["configMap"]
                for s in spec["volumes"][0]["projected"]["sources"]
                if "configMap" in s
            )
            files = workload.files_of(instance)
            # Only on Docker does nginx have to look for replicas' addresses again.
            same = {path: without_dockers(text) for path, text in files.items()}
            assert maps[source["name"]] == same
            assert [i["path"] for i in source["items"]] == list(workload.files_of(instance))
            assert container["command"] == list(workload.command)
            env = {e["name"]: e["value"] for e in container.get("env", [])}
            assert env == {**workload.env, **instance.env}
            assert spec["securityContext"]["runAsUser"] == workload.uid
            memory, cpu = (container["resources"]["limits"][k] for k in ("memory", "cpu"))
            number, unit = int(memory[:-2]), memory[-2:]
            assert number * {"Mi": 1, "Gi": 1024}[unit] == workload.memory_mib
            assert float(cpu.rstrip("m")) / (1000 if cpu.endswith("m") else 1) == workload.cpus


def test_a_member_of_a_cluster_can_learn_its_own_address_before_it_is_ready() -> None:
    _, _, found = made("kubernetes")
    spec = one(found, "cache-1-service")["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert one(found, "cache-1")["spec"]["serviceName"] == "cache-1-of-3"


def test_what_a_proxy_looks_up_once_keeps_its_address() -> None:
    _, _, found = made("kubernetes")
    spec = one(found, "app-1-service")["spec"]
    assert spec["type"] == "ClusterIP"
    assert "clusterIP" not in spec
    assert "publishNotReadyAddresses" not in spec


def test_new_pod_is_ready_before_the_old_one_goes() -> None:
    _, _, found = made("kubernetes")
    for key in ("app-1", "edge"):
        rolling = one(found, key)["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_corrected_pod_replaces_one_that_never_became_ready() -> None:
    # In order, a StatefulSet would wait for the broken one for ever.
    _, _, found = made("kubernetes")
    assert one(found, "database-1")["spec"]["podManagementPolicy"] == "Parallel"


@every_set
def test_names_are_ones_the_api_takes(name: str) -> None:
    _, _, found = made(name)
    kinds = [(m.object["kind"], m.object["metadata"]["name"]) for m in found]
    assert len(set(kinds)) == len(kinds)
    assert len({m.key for m in found}) == len(found)
    for _, title in kinds:
        assert len(title) <= 63


def test_longest_names_are_still_ones_the_api_takes() -> None:
    # A pod's name ends in another 17 characters, and a Job's pods' labels hold all of its name.
    planned = plan.make("s" * 31, stack_file.load("horizontal", target="kubernetes"))
    assert len(planned.kubernetes.namespace) <= 63


@every_set
def test_no_two_objects_have_one_key(name: str) -> None:
    _, _, found = made(name)
    keys = [manifest.key for manifest in found]
    assert len(keys) == len(set(keys))


def test_no_service_can_have_the_key_of_another_object() -> None:
    # One that is autoscaled has a controller whose key is the service's own name.
    service: dict[str, Any] = {"health_path": "/healthz", "replicas": {"min": 1, "max": 2}}
    secret = {"env": "CRM_PASSWORD"}
    config: dict[str, Any] = {
        "images": {"pull_secret": secret},
        "database": {
            "shards": 2,
            "backup": {
                "s3": {"bucket": "b-b", "access_key_id": secret, "secret_access_key": secret}
            },
        },
        "edge": {"routes": [{"prefix": "/a", "service": "orders"}]},
        "services": {"orders": service},
    }
    _, _, found = parsed(**config)
    refused = 0
    for key in {manifest.key for manifest in found} - {"orders"}:
        config["services"] = {key: service}
        config["edge"] = {"routes": [{"prefix": "/a", "service": key}]}
        try:
            _, _, others = parsed(**config)
        except CrmError as error:
            assert "is not allowed as a name" in str(error)
            refused += 1
        else:
            assert len({m.key for m in others}) == len(others), key
    assert refused > 40


# --- Order ----------------------------------------------------------------------------------------


@every_set
def test_each_comes_after_what_it_needs(name: str) -> None:
    _, _, found = made(name)
    before: set[str] = set()
    for manifest in found:
        assert set(manifest.after) <= before, manifest.key
        assert set(manifest.rolls_on) <= set(manifest.after), manifest.key
        assert manifest.key == "namespace" or manifest.after, "what is in a namespace needs it"
        before.add(manifest.key)


@every_set
def test_pods_start_with_all_they_mount_and_all_rules_about_them(name: str) -> None:
    _, workloads, found = made(name)
    for workload in workloads:
        for instance in workload.instances:
            before = reachable(found, instance.name)
            assert {"service-account", "deny-all", "allow-dns"} <= before
            mine = {m.key for m in found if m.workload == workload.name}
            policies = set(of_kind(found, "NetworkPolicy")) & mine
            secrets = set(of_kind(found, "Secret")) & mine
            assert policies | secrets <= before
            if instance.data:
                assert f"{instance.data.name}-data" in before
            if workload.stop_first and workload.ports:
                assert f"{instance.name}-service" in before
            for other in workload.after:
                for needed in named(workloads, other).instances:
                    assert needed.name in before


def test_instances_roll_one_after_the_other() -> None:
    _, _, found = made("kubernetes")
    for first, second in (("app-1", "app-2"), ("app-2", "app-3"), ("database-1", "database-2")):
        assert first in reachable(found, second)


def test_proxy_comes_after_the_names_it_looks_up() -> None:
    _, _, found = made("kubernetes")
    assert {f"app-{i}-service" for i in (1, 2, 3)} <= reachable(found, "edge")


def test_a_service_that_is_awaited_comes_after_the_pods_that_make_it_ready() -> None:
    # Pulumi waits for a Service's endpoints; before its pods that would never end.
    _, _, found = made("kubernetes")
    for key, service in of_kind(found, "Service").items():
        headless = service["spec"].get("clusterIP") == "None"
        assert (key.removesuffix("-service") in reachable(found, key)) is not headless


# --- How many -------------------------------------------------------------------------------------


def test_autoscaler_owns_the_number_so_the_deployment_names_none() -> None:
    _, _, found = made("autoscaled")
    assert "replicas" not in one(found, "app")["spec"]
    spec = one(found, "app-autoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert spec["scaleTargetRef"]["name"] == one(found, "app")["metadata"]["name"]
    (metric,) = spec["metrics"]
    assert metric["resource"]["target"]["averageUtilization"] == 70
    behavior = spec["behavior"]
    up, down = (behavior[k]["stabilizationWindowSeconds"] for k in ("scaleUp", "scaleDown"))
    assert up == 0 < down
    # A copy has to say which one it is.
    (env,) = container_of(found, "app")["env"]
    assert env["name"] == "CRM_INSTANCE"
    assert env["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_without_it_there_is_no_autoscaler() -> None:
    assert not of_kind(made("kubernetes")[2], "HorizontalPodAutoscaler")


@every_set
def test_nodes_can_be_emptied_one_pod_of_a_tier_at_a_time(name: str) -> None:
    _, workloads, found = made(name)
    budgets = {
        o["metadata"]["labels"]["crm.workload"]: o["spec"]
        for o in of_kind(found, "PodDisruptionBudget").values()
    }
    assert set(budgets) == {w.name for w in workloads if not w.run_once}
    for workload, spec in budgets.items():
        assert spec["maxUnavailable"] == 1
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        chosen = spec["selector"]["matchLabels"]
        assert chosen["crm.workload"] == workload
        assert "crm.instance" not in chosen


# --- Jobs -----------------------------------------------------------------------------------------


def test_changed_job_is_another_job_and_an_unchanged_one_the_same() -> None:
    names = [one(parsed()[2], "schema")["metadata"]["name"] for _ in range(2)]
    assert names[0] == names[1]
    orders = {"partition_by": "hash", "column": "customer_id", "count": 8}
    changed = one(parsed(database={"orders": orders})[2], "schema")["metadata"]["name"]
    assert changed != names[0]
    # Nothing of the app's own size is its business.
    assert one(parsed(app={"replicas": 4})[2], "schema")["metadata"]["name"] == names[0]


def test_job_ends_and_its_last_words_stay() -> None:
    spec = one(made("kubernetes")[2], "schema")["spec"]
    assert spec["activeDeadlineSeconds"] == 600
    assert spec["backoffLimit"] <= 3
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in spec, "one that is gone would be made again"


def test_job_with_a_schedule_never_runs_twice_at_a_time() -> None:
    job = one(made("scheduled")[2], "schema")
    assert (job["kind"], job["metadata"]["name"]) == ("CronJob", "schema")
    assert job["spec"]["schedule"] == "17 3 * * *"
    assert job["spec"]["timeZone"] == "Etc/UTC"
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"
