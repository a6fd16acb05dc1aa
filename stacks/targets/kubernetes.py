"""Workloads → Kubernetes objects in one namespace, each a Pulumi resource.

What the objects are is said in ``stacks/manifests``, where ``crm render`` reads it too. Here they
get what no file may hold, the secrets' values, and what is known only at run time: a pod says
which version of its Secrets it was started with, so that a changed secret replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pulumi

from stacks import manifests
from stacks.manifests import Manifest
from stacks.plan import Plan
from stacks.targets import kubernetes_host
from stacks.targets.generated_secret import GeneratedSecret
from stacks.workload import Workload

SECRETS_VERSION = "crm.dev/secrets-version"
"""The annotation of a pod that names the version of the Secrets it was started with."""

_PACKAGE = "kubernetes"
_BEGIN_SECONDS = 120
"""For finding a node and pulling an image."""


def deploy(
    plan: Plan, workloads: Sequence[Workload], secrets: Mapping[str, pulumi.Input[str]]
) -> dict[str, pulumi.Input[str]]:
    """Declare every object of the stack, each after what it needs; returns its outputs.

    ``secrets`` are the values of those that the stack takes from elsewhere; all others are
    generated, made once and kept, even when the stack is destroyed, as they open data that is.
    """
    url = _Target(plan, secrets).add(manifests.manifests(plan, workloads))
    return {"url": url, "namespace": plan.kubernetes.namespace}


class _Component(pulumi.ComponentResource):
    """A workload in the resource tree; its objects hang under it."""

    def __init__(self, name: str) -> None:
        super().__init__("crm:kubernetes:Workload", name)


class _Object(pulumi.CustomResource):
    """One Kubernetes object. Its inputs are the object as the API has it: `pulumi_kubernetes`'
    own classes would only rename every key of it twice."""

    metadata: pulumi.Output[dict[str, Any]]


class _Target:
    def __init__(self, plan: Plan, secrets: Mapping[str, pulumi.Input[str]]) -> None:
        self._plan = plan
        self._provider = _provider(plan)
        self._generated = {
            name: GeneratedSecret(name, pulumi.ResourceOptions(protect=True))
            for name in plan.own_secrets
        }
        # What is taken from elsewhere goes before what was generated in its place.
        self._secrets = {**{n: made.value for n, made in self._generated.items()}, **secrets}
        self._components: dict[str, _Component] = {}
        self._objects: dict[str, _Object] = {}

    def add(self, wanted: Sequence[Manifest]) -> pulumi.Output[str]:
        """Declare ``wanted``, which are in an order in which each comes after what it needs."""
        for manifest in wanted:
            self._objects[manifest.key] = self._object(manifest)
        for component in self._components.values():
            component.register_outputs({})
        return self._url(wanted)

    def _object(self, manifest: Manifest) -> _Object:
        inputs = dict(manifest.object)
        hidden: list[str] = []
        if manifest.secrets:
            inputs["stringData"] = {
                key: self._secrets[name] for key, name in manifest.secret_keys.items()
            }
            hidden = ["data", "stringData"]
        if manifest.rolls_on:
            inputs = self._with_secrets_version(inputs, manifest.rolls_on)
        needed: list[pulumi.Resource] = [self._objects[key] for key in manifest.after]
        if manifest.protect:
            # What opens the data is made before it, and never deleted before it.
            needed += self._generated.values()
        return _Object(
            type_token(manifest.object),
            _resource_name(manifest),
            inputs,
            pulumi.ResourceOptions(
                parent=self._component(manifest.workload),
                provider=self._provider,
                depends_on=needed,
                protect=manifest.protect,
                additional_secret_outputs=hidden,
                custom_timeouts=_patience(manifest.object),
            ),
        )

    def _component(self, workload: str) -> _Component | None:
        if workload and workload not in self._components:
            self._components[workload] = _Component(workload)
        return self._components.get(workload)

    def _with_secrets_version(self, inputs: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        versions = pulumi.Output.all(*(self._objects[key].metadata for key in keys)).apply(
            # A preview does not know it yet.
            lambda found: "-".join(str(metadata.get("resourceVersion", "")) for metadata in found)
        )
        spec, template = inputs["spec"], inputs["spec"]["template"]
        metadata = template["metadata"]
        annotations = {**metadata.get("annotations", {}), SECRETS_VERSION: versions}
        template = {**template, "metadata": {**metadata, "annotations": annotations}}
        return {**inputs, "spec": {**spec, "template": template}}

    def _url(self, wanted: Sequence[Manifest]) -> pulumi.Output[str]:
        """Where people reach the edge; asked of the cluster when the edge can be reached."""
        plan = self._plan
        edge = [m for m in wanted if m.workload == "edge"]
        service = next(m for m in edge if m.object["kind"] == "Service")
        ingress = next((m for m in edge if m.object["kind"] == "Ingress"), None)
        name = service.object["metadata"]["name"]
        entry = ingress.object["metadata"]["name"] if ingress else ""
        namespace, context = plan.kubernetes.namespace, plan.kubernetes.context

        def ask(_ids: object) -> str:
            found = kubernetes_host.connect(context).url_of(namespace, name, entry)
            scheme = "https" if plan.edge.tls else "http"
            return found or f"{scheme}://{name}.{namespace}.svc:{plan.edge.entry}"

        made = [self._objects[m.key].id for m in (service, ingress) if m is not None]
        return pulumi.Output.all(*made).apply(ask)


def _resource_name(manifest: Manifest) -> str:
    """Pulumi's name for it. What is never changed, but made anew under another name, is another
    resource then: the old one goes last, and when a run fails before that, what is taken back is
    still there. As a replacement it would be deleted after it had been taken back."""
    is_fixed = manifest.object["kind"] in ("ConfigMap", "Job")
    return str(manifest.object["metadata"]["name"]) if is_fixed else manifest.key


def _patience(wanted: Mapping[str, Any]) -> pulumi.CustomTimeouts | None:
    """As long as what runs may take to get ready: the provider would wait for ten minutes, also
    for what the cluster has given up."""
    spec = wanted.get("spec", {})
    if wanted["kind"] == "Deployment":
        seconds = spec["progressDeadlineSeconds"]
    elif wanted["kind"] == "StatefulSet":
        probe = spec["template"]["spec"]["containers"][0].get("startupProbe")
        if probe is None:
            return None
        seconds = probe["failureThreshold"] * probe["periodSeconds"] + _BEGIN_SECONDS
    else:
        return None
    return pulumi.CustomTimeouts(create=f"{seconds}s", update=f"{seconds}s")


def _provider(plan: Plan) -> pulumi.ProviderResource:
    """The provider, told which cluster by the stack file alone.

    Not `pulumi_kubernetes.Provider`: it would write the path of this machine's kubeconfig into
    the state, so that the next machine's run looks like another cluster.
    """
    options = {
        "enableServerSideApply": "true",
        # A changed secret is an update; the pods that use it are replaced by its version.
        "enableSecretMutable": "true",
        # What a killed run made and did not record is taken over. That all there is of ours is
        # of this stack was checked before.
        "upsertExistingObjects": "true",
    }
    if plan.kubernetes.context:
        options["context"] = plan.kubernetes.context
    return pulumi.ProviderResource(
        _PACKAGE, _PACKAGE, options, pulumi.ResourceOptions(version=version("pulumi-kubernetes"))
    )


def type_token(wanted: Mapping[str, Any]) -> str:
    """Pulumi's name of the kind: ``apps/v1`` Deployment → ``kubernetes:apps/v1:Deployment``."""
    group, _, version_ = str(wanted["apiVersion"]).rpartition("/")
    # Pulumi leaves out the domain: networking.k8s.io/v1 is networking.k8s.io/v1 all the same.
    return f"{_PACKAGE}:{group or 'core'}/{version_}:{wanted['kind']}"
