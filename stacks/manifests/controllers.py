"""What keeps pods running: one controller with one pod for each instance.

Why not one of N pods: docs/adr/0009-one-controller-for-each-instance.md.
"""

from __future__ import annotations

from typing import Any

from stacks.manifests import pods
from stacks.manifests.common import metadata, selector, short_hash
from stacks.plan import Plan
from stacks.workload import Instance, Scale, Workload

_JOB_SECONDS = 600
_JOB_RETRIES = 2
_OLD_VERSIONS = 3
_ROLL_OUT_SECONDS = 120
"""For finding a node and pulling an image, beside what a start may take."""


def controller(plan: Plan, workload: Workload, instance: Instance, files: str) -> dict[str, Any]:
    """The controller of ``instance``: Job, CronJob, StatefulSet or Deployment."""
    template = pods.template(plan, workload, instance, files)
    if workload.run_once:
        return _job(plan, workload, instance, template)
    if workload.stop_first:
        return _stateful_set(plan, workload, instance, template)
    return _deployment(plan, workload, instance, template)


def _deployment(
    plan: Plan, workload: Workload, instance: Instance, template: dict[str, Any]
) -> dict[str, Any]:
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": _OLD_VERSIONS,
        "progressDeadlineSeconds": pods.start_seconds(workload) + _ROLL_OUT_SECONDS,
        "selector": {"matchLabels": selector(plan, workload.name, instance.name)},
        # The new one has to be ready before the old one goes.
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": template,
    }
    if workload.scale is not None:
        # The autoscaler's own, which every `up` would take back else.
        del spec["replicas"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(plan, instance.name, workload, instance),
        "spec": spec,
    }


def _stateful_set(
    plan: Plan, workload: Workload, instance: Instance, template: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(plan, instance.name, workload, instance),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": _OLD_VERSIONS,
            "serviceName": instance.host,
            "selector": {"matchLabels": selector(plan, workload.name, instance.name)},
            # In order, a pod that never became ready would not be replaced by a corrected one:
            # https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "template": template,
        },
    }


def _job(
    plan: Plan, workload: Workload, instance: Instance, template: dict[str, Any]
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "activeDeadlineSeconds": _JOB_SECONDS,
        "backoffLimit": _JOB_RETRIES,
        "template": template,
    }
    if workload.schedule is None:
        # A Job cannot be changed: what it does is in its name, so that a change is another Job.
        name = f"{instance.name}-{short_hash(spec)}"
        kind, version = "Job", "batch/v1"
    else:
        name, kind, version = instance.name, "CronJob", "batch/v1"
        spec = {
            "schedule": workload.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _JOB_SECONDS,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": _OLD_VERSIONS,
            "jobTemplate": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": spec},
        }
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": metadata(plan, name, workload, instance),
        "spec": spec,
    }


def autoscaler(plan: Plan, workload: Workload, instance: Instance, scale: Scale) -> dict[str, Any]:
    """What chooses how many copies of ``instance`` there are."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(plan, instance.name, workload, instance),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": instance.name,
            },
            "minReplicas": scale.min,
            "maxReplicas": scale.max,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": scale.cpu_percent},
                    },
                }
            ],
            # Up at once, down only when a minute has not needed them.
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                    ],
                    "selectPolicy": "Max",
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 60,
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 15}],
                },
            },
        },
    }


def disruption_budget(plan: Plan, workload: Workload) -> dict[str, Any]:
    """No more than one pod of ``workload`` is taken away at a time when nodes are emptied."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(plan, workload.name, workload),
        "spec": {
            "maxUnavailable": 1,
            # One that does not serve anyway must not keep its node from being emptied.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(plan, workload.name)},
        },
    }
