"""The target a stack names, and nothing of the other: importing one costs a quarter of a second."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from stacks import database_tls
from stacks.balancing import CERTIFICATE_SECRETS
from stacks.plan import Plan
from stacks.workload import Workload

if TYPE_CHECKING:
    import pulumi

    from stacks.targets.backup_place import Place
    from stacks.targets.inside import Inside


def check(plan: Plan, workloads: Sequence[Workload]) -> None:
    """Raise ``CrmError`` when the target cannot be had or cannot carry the stack."""
    if plan.target == "kubernetes":
        from stacks.targets import kubernetes_checks

        kubernetes_checks.check(plan, workloads)
    else:
        from stacks.targets import docker_checks

        docker_checks.check(plan.stack, workloads)


def find(target: str, context: str | None) -> None:
    """Raise ``CrmError`` when the machine's Docker or the cluster of ``context`` is away."""
    if target == "kubernetes":
        from stacks.targets import kubernetes_host

        kubernetes_host.connect(context)
    else:
        from stacks.targets import docker_host

        docker_host.connect().close()


def inside(plan: Plan, workload: str) -> Inside:
    """The instance of ``workload`` that runs; raises ``CrmError`` when none does."""
    if plan.target == "kubernetes":
        from stacks.targets import kubernetes_inside

        return kubernetes_inside.running(plan, workload)
    from stacks.targets import docker_inside

    return docker_inside.running(plan.stack, workload)


def backup_place(plan: Plan, shard: str, instance: str, files: Mapping[str, str]) -> Place:
    """The backups that ``instance`` keeps of ``shard``; ``files`` is the rendered tree."""
    if plan.target == "kubernetes":
        from stacks.targets.kubernetes_backups import KubernetesPlace

        return KubernetesPlace(plan, shard, instance, files)
    from stacks.targets.docker_backups import DockerPlace

    return DockerPlace(plan, shard, instance, files)


def deploy(
    plan: Plan,
    workloads: Sequence[Workload],
    secrets: Mapping[str, pulumi.Input[str]],
    present: Collection[str] | None = None,
) -> dict[str, pulumi.Input[str]]:
    """Declare everything ``workloads`` need, each after what it comes after; returns the outputs
    that are the target's to know.

    ``secrets`` are the values of those the stack takes from elsewhere. All others are generated,
    made once and kept, even when the stack is destroyed, as they open data that is; but for
    certificates, which open nothing. ``present`` are the images on this machine, where that
    is not to be asked of it.
    """
    about: dict[str, pulumi.Input[str]] = {}
    if plan.edge.tls is not None and plan.edge.tls.certificate is None:
        from stacks.targets.generated_certificate import GeneratedCertificate

        made = GeneratedCertificate("edge-certificate", plan.edge.tls.hosts, plan.edge.address)
        certificate, key = CERTIFICATE_SECRETS
        secrets = {**secrets, certificate: made.certificate, key: made.key}
        about["ca_certificate"] = made.authority_certificate
    if plan.database.tls.hosts:
        secrets = {**secrets, **_of_databases(plan.database.tls.hosts)}
    if plan.target == "kubernetes":
        from stacks.targets import kubernetes

        return {**kubernetes.deploy(plan, workloads, secrets), **about}
    from stacks.targets import docker

    docker.deploy(plan.stack, plan.whose, workloads, plan.own_secrets, secrets, present)
    return {"url": plan.edge.url, **about}


def _of_databases(hosts: Sequence[str]) -> dict[str, pulumi.Input[str]]:
    """One certificate for all shards, and the authority that those who connect to them trust."""
    from stacks.targets.generated_certificate import GeneratedCertificate

    made = GeneratedCertificate(
        "database-certificate",
        hosts,
        "127.0.0.1",
        unit="database",
        life_days=database_tls.LIFE_DAYS,
        renew_days=database_tls.RENEW_DAYS,
    )
    return {
        database_tls.CERTIFICATE: made.certificate,
        database_tls.KEY: made.key,
        database_tls.AUTHORITY: made.authority_certificate,
    }
