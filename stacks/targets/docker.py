"""Workloads → Docker resources on one machine.

Every workload that others connect to has a network of its own; who may connect joins it. Nothing
but the edge's ports is published. No network reaches the outside but that of what is published,
and one more for what uses a service that is not part of the stack.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pulumi
import pulumi_docker as docker

from stacks import images
from stacks.targets import docker_host, docker_units
from stacks.targets.docker_resources import Endpoint, Files, Image, Job
from stacks.targets.generated_secret import GeneratedSecret
from stacks.workload import DATA_PATH, FILES_PATH, STACK_LABEL, Instance, Workload

_JOB_SECONDS = 600


def deploy(
    stack: str,
    whose: Mapping[str, str],
    workloads: Sequence[Workload],
    own_secrets: Sequence[str],
    secrets: Mapping[str, pulumi.Input[str]],
    present: Collection[str] | None = None,
) -> None:
    """Declare everything ``workloads`` need, each after what it comes after.

    ``own_secrets`` are generated: made once and kept, even when the stack is destroyed, as they
    open data that is. ``secrets`` are the values of all others. ``whose`` are labels of containers.
    ``present`` are the images this machine has, asked of its Docker when not given.
    """
    if present is None:
        present = docker_host.present_images(docker_host.connect())
    target = _Target(stack, whose, workloads, own_secrets, secrets, present)
    for workload in workloads:
        target.add(workload)


class _Component(pulumi.ComponentResource):
    """A workload in the resource tree; what it is made of hangs under it."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("crm:docker:Workload", name, None, opts)


class _Mounted(NamedTuple):
    """A files volume, and ``all`` that fills it; ``files`` are what a container is replaced for."""

    volume: docker.Volume
    files: Files
    all: list[pulumi.Resource]


class _Target:
    def __init__(
        self,
        stack: str,
        whose: Mapping[str, str],
        workloads: Sequence[Workload],
        own_secrets: Sequence[str],
        secrets: Mapping[str, pulumi.Input[str]],
        present: Collection[str],
    ) -> None:
        self._stack = stack
        self._whose = whose
        self._generated = {n: GeneratedSecret(n, _options(protect=True)) for n in own_secrets}
        # What is taken from elsewhere goes before what was generated in its place.
        self._secrets = {**{n: made.value for n, made in self._generated.items()}, **secrets}
        self._present = present
        self._images: dict[str, Image] = {}
        self._running: dict[str, list[pulumi.Resource]] = {}
        self._containers: dict[str, list[docker.Container]] = {}
        self._networks = {
            workload.name: self._network(workload)
            for workload in workloads
            if _is_door(workload) or any(workload.name in other.connects_to for other in workloads)
        }
        # What others reach stays apart from what reaches the outside.
        self._outside = {
            workload.name: self._network(workload, "-outside")
            for workload in workloads
            if workload.reaches_outside
        }

    def _name(self, name: str) -> str:
        return f"crm-{self._stack}-{name}"

    def _label_map(self, workload: Workload) -> dict[str, str]:
        return {STACK_LABEL: self._stack, "crm.tier": workload.tier, "crm.workload": workload.name}

    def _network(self, workload: Workload, suffix: str = "") -> docker.Network:
        return docker.Network(
            f"{workload.name}{suffix}-network",
            name=self._name(f"{workload.name}{suffix}"),
            driver="bridge",
            internal=not (suffix or _is_door(workload)),
            labels=[
                docker.NetworkLabelArgs(label=key, value=value)
                for key, value in sorted(self._label_map(workload).items())
            ],
        )

    def _networks_of(self, workload: Workload) -> list[docker.Network]:
        """What its containers are in from their start: their own network, unless they get a place
        there only when they are healthy, and what they connect to."""
        own = () if _is_admitted(workload) else (workload.name,)
        names = dict.fromkeys((*own, *workload.connects_to))
        found = [self._networks[name] for name in names if name in self._networks]
        return [*found, *([self._outside[workload.name]] if workload.reaches_outside else [])]

    def _image(self, reference: str) -> tuple[str, Image]:
        """The name ``reference`` has on this machine, and the resource that sees to it."""
        name = images.choose(reference, self._present)
        if name not in self._images:
            self._images[name] = Image(f"image-{reference.rpartition(':')[0]}", name, _options())
        return name, self._images[name]

    def add(self, workload: Workload) -> None:
        """Declare ``workload``: its volumes and files, then its containers or its job."""
        component = _Component(workload.name)
        image, image_resource = self._image(workload.image)
        before = [resource for name in workload.after for resource in self._running[name]]
        options = _options(parent=component, depends_on=[image_resource, *before])
        running: list[pulumi.Resource] = []
        containers: list[docker.Container] = []
        shared: _Mounted | None = None
        for instance in workload.instances:
            files = shared
            if files is None:
                files = self._files(workload, instance, image, options, component)
                if not any(i.files or i.data for i in workload.instances):
                    shared = files
            if workload.run_once:
                running.append(self._job(workload, instance, image, files, options))
                continue
            # One after the other, so that an update never takes all of them at once.
            own = [self._networks[workload.name]] if workload.name in self._networks else []
            mine = _options(
                parent=component,
                depends_on=[image_resource, *before, *running[-1:], *files.all, *own],
                delete_before_replace=_goes_first(workload),
            )
            container = self._container(workload, instance, image, files, mine)
            containers.append(container)
            running.append(container)
            if own and _is_admitted(workload):
                running.append(self._endpoint(workload, instance, container, component))
        self._containers[workload.name] = containers
        self._running[workload.name] = running
        component.register_outputs({})

    # --- Files -----------------------------------------------------------------------------------

    def _files(
        self,
        workload: Workload,
        instance: Instance,
        image: str,
        options: pulumi.ResourceOptions,
        component: pulumi.Resource,
    ) -> _Mounted:
        own = bool(instance.files or instance.data)
        name = f"{instance.name if own else workload.name}-files"
        volume = self._volume(workload, name, component)
        data: pulumi.Input[str] = ""
        if instance.own_data is not None:
            data = self._volume(
                workload,
                f"{instance.own_data.name}-data",
                component,
                folder=instance.own_data.folder,
                protect=instance.own_data.protect,
                # What opens the data is made before it, and never deleted before it.
                depends_on=[
                    self._generated[name] for name in workload.secrets if name in self._generated
                ],
            ).name
        reload: dict[str, Any] | None = None
        if workload.reload is not None:
            reload = {
                "container": self._name(instance.name),
                "validate": list(workload.reload.validate),
                "signal": workload.reload.signal,
                "networks": [network.name for network in self._networks_of(workload)[1:]],
                "tmpfs_mib": dict(workload.tmpfs_mib),
            }
        props: dict[str, Any] = {
            "volume": volume.name,
            "data": data,
            "image": image,
            "uid": workload.uid,
            "files": workload.files_of(instance),
            "secrets": self._values(set(workload.secrets) - set(workload.followed)),
            "labels": self._label_map(workload),
        }
        if reload is not None:
            props["reload"] = reload
        files = Files(name, props, options)
        if not workload.followed:
            return _Mounted(volume, files, [files])
        # In the same volume, but not in the version that the container is replaced for.
        followed = {**props, "data": "", "files": {}, "secrets": self._values(workload.followed)}
        followed.pop("reload", None)
        after = _options(parent=component, depends_on=[files])
        return _Mounted(volume, files, [files, Files(f"{name}-followed", followed, after)])

    def _values(self, names: Collection[str]) -> dict[str, pulumi.Input[str]]:
        return {name: self._secrets[name] for name in sorted(names)}

    def _volume(
        self,
        workload: Workload,
        name: str,
        component: pulumi.Resource,
        folder: str | None = None,
        **options: Any,
    ) -> docker.Volume:
        return docker.Volume(
            name,
            name=self._name(name),
            driver_opts={"type": "none", "o": "bind", "device": folder} if folder else None,
            labels=[
                docker.VolumeLabelArgs(label=key, value=value)
                for key, value in sorted(self._label_map(workload).items())
            ],
            # Its name is fixed: a successor made first would be the same volume.
            opts=_options(parent=component, delete_before_replace=True, **options),
        )

    # --- What runs -------------------------------------------------------------------------------

    def _endpoint(
        self,
        workload: Workload,
        instance: Instance,
        container: docker.Container,
        component: pulumi.Resource,
    ) -> Endpoint:
        props: dict[str, Any] = {
            "network": self._networks[workload.name].name,
            "container": container.id,
            "host": instance.host,
        }
        return Endpoint(f"{instance.name}-endpoint", props, _options(parent=component))

    def _job(
        self,
        workload: Workload,
        instance: Instance,
        image: str,
        files: _Mounted,
        options: pulumi.ResourceOptions,
    ) -> Job:
        props: dict[str, Any] = {
            "name": self._name(instance.name),
            "host": instance.host,
            "image": image,
            "command": list(workload.command),
            "uid": workload.uid,
            "env": {**workload.env, **instance.env},
            "cpus": workload.cpus,
            "memory_mib": workload.memory_mib,
            "tmpfs_mib": dict(workload.tmpfs_mib),
            "volume": files.volume.name,
            "files_version": files.files.version,
            "networks": [network.name for network in self._networks_of(workload)],
            "works_on": [
                container.id for name in workload.after for container in self._containers[name]
            ],
            "labels": self._label_map(workload),
            "timeout_seconds": _JOB_SECONDS,
        }
        return Job(instance.name, props, options)

    def _container(
        self,
        workload: Workload,
        instance: Instance,
        image: str,
        files: _Mounted,
        options: pulumi.ResourceOptions,
    ) -> docker.Container:
        # Whose it is stands on containers alone: a new owner must not replace volumes or networks.
        labels = {
            **self._label_map(workload),
            "crm.instance": instance.name,
            **self._whose,
        }
        shape: dict[str, Any] = {
            "image": image,
            "entrypoints": [workload.command[0]],
            "command": list(workload.command[1:]),
            "user": str(workload.uid),
            "envs": [f"{k}={v}" for k, v in sorted({**workload.env, **instance.env}.items())],
            "hostname": instance.host,
            "restart": "unless-stopped",
            "memory": workload.memory_mib,
            # Equal to memory: no swap, so that a limit is a limit.
            "memory_swap": workload.memory_mib,
            "cpus": docker_units.cpus(workload.cpus),
            "read_only": True,
            "tmpfs": docker_host.tmpfs(workload.tmpfs_mib, workload.uid),
            "security_opts": ["no-new-privileges"],
            "stop_signal": workload.stop_signal,
            "stop_timeout": workload.stop_grace_seconds,
            "destroy_grace_seconds": workload.stop_grace_seconds,
            "log_driver": "json-file",
            "log_opts": {"max-file": "3", "max-size": "10m"},
        }
        health = docker_units.healthcheck(workload.health)
        # A file that cannot be reloaded replaces its container, and so does all of its shape.
        version: pulumi.Input[str] = "" if workload.reload else files.files.version
        shape_hash = pulumi.Output.from_input(version).apply(
            lambda v: _short_hash({**shape, **labels, "health": str(workload.health)}, v)
        )
        name: pulumi.Input[str] = self._name(instance.name)
        if not _goes_first(workload):
            # The new one starts beside the old one, so it needs another name.
            name = shape_hash.apply(lambda h: f"{self._name(instance.name)}-{h}")
        volumes = [
            docker.ContainerVolumeArgs(
                volume_name=files.volume.name, container_path=FILES_PATH, read_only=True
            )
        ]
        if instance.data is not None:
            volumes.append(
                docker.ContainerVolumeArgs(
                    volume_name=self._name(f"{instance.data.name}-data"),
                    container_path=DATA_PATH,
                )
            )
        return docker.Container(
            instance.name,
            name=name,
            must_run=True,
            wait=workload.health is not None,
            wait_timeout=workload.health.start_seconds if workload.health else None,
            healthcheck=health,
            labels=[
                docker.ContainerLabelArgs(label=key, value=value)
                for key, value in sorted(labels.items())
            ]
            + [docker.ContainerLabelArgs(label="crm.shape", value=shape_hash)],
            capabilities=docker.ContainerCapabilitiesArgs(drops=["ALL"]),
            volumes=volumes,
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(name=network.name, aliases=[instance.host])
                for network in self._networks_of(workload)
            ],
            ports=[
                docker.ContainerPortArgs(
                    internal=port.number, external=port.number, ip=port.publish, protocol="tcp"
                )
                for port in workload.ports
                if port.publish
            ],
            opts=options,
            **shape,
        )


def _goes_first(workload: Workload) -> bool:
    """Whether an instance goes before its successor comes: a published port is free only then."""
    return workload.stop_first or _is_door(workload)


def _is_door(workload: Workload) -> bool:
    """Whether people come in by it: ports are published only on networks that reach outside."""
    return any(port.publish for port in workload.ports)


def _is_admitted(workload: Workload) -> bool:
    """Whether its instances are reached only once they are healthy: those that start beside what
    they replace. What keeps something is reached by its own kind before that."""
    return workload.health is not None and not _goes_first(workload)


def _options(**options: Any) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(**options)


def _short_hash(shape: Mapping[str, Any], version: str) -> str:
    text = json.dumps([shape, version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
