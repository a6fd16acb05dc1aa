"""On a cluster pods keep to Pod Security's level "restricted", and the namespace insists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import CONTROLLERS, Pod, is_kubernetes, labels, pods
from stacks.spec_policies import Policies

_ENFORCE = "pod-security.kubernetes.io/enforce"
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
_CONFINED = ("RuntimeDefault", "Localhost")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    restricted = set()
    for resource in resources:
        if is_kubernetes(resource) and resource.kind == "Namespace":
            if labels(resource).get(_ENFORCE) == "restricted":
                restricted.add(resource.inputs["metadata"]["name"])
            else:
                yield Problem(resource.name, f"its label {_ENFORCE} is not restricted")
    for pod in pods(resources):
        where = pod.resource.inputs["metadata"].get("namespace", "default")
        if where not in restricted:
            yield Problem(
                pod.resource.name, f"is in the namespace {where}, which is not restricted"
            )
        for what in _of_pod(pod):
            yield Problem(pod.resource.name, what)


def _of_pod(pod: Pod) -> Iterator[str]:
    above = pod.spec.get("securityContext") or {}
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield "is given a token of the cluster's API"
    for volume in pod.spec.get("volumes") or ():
        if other := set(volume) - {"name"} - _VOLUMES:
            yield f"has a volume of the kind {', '.join(sorted(other))}"
    if above.get("sysctls"):
        yield "sets the kernel's parameters"
    for container in pod.containers:
        security = {**above, **(container.get("securityContext") or {})}
        if (security.get("seccompProfile") or {}).get("type") not in _CONFINED:
            yield "runs without a seccomp profile"
        if security.get("procMount", "Default") != "Default":
            yield "has /proc unmasked"


RULE = Rule(
    name="pod_security",
    reason="The cluster itself then refuses what a mistake would have let in.",
    fix="keep the namespace's labels and the pods' security contexts as stacks/manifests has them",
    reads=("Namespace", *CONTROLLERS),
    find=_find,
    alone=False,
)
