"""The app tier: the CRM's replicas, the job that makes their schema, the keeper of partitions."""

from collections.abc import Mapping

from stacks.partitions import KEEPER_CPUS, KEEPER_MIB
from stacks.plan import Plan
from stacks.services import ServicePlan
from stacks.tiers.probe import http_get
from stacks.workload import Data, Health, Instance, Port, Scale, Workload

_UID = 10001


def workloads(plan: Plan, files: Mapping[str, str], image: str) -> list[Workload]:
    """The schema job, then the CRM. Replicas start before those they replace are stopped."""
    needs = tuple(
        name
        for name, external in (("database", plan.database.external), ("cache", plan.cache.external))
        if not external
    )
    return [
        Workload(
            name="schema",
            tier="database",
            image=image,
            command=("python3", "-m", "crm", "schema"),
            uid=_UID,
            cpus=0.25,
            memory_mib=128,
            instances=(Instance(name="schema", host="schema"),),
            env={"CRM_INSTANCE": "schema"},
            files={"app.json": files["app/job.json"], "schema.sql": files["mysql/schema.sql"]},
            secrets=("database_owner_password", *plan.database.tls.client_secrets),
            run_once=True,
            after=tuple(name for name in needs if name == "database"),
            connects_to=tuple(name for name in needs if name == "database"),
            reaches_outside=plan.database.external,
        ),
        *(_service(plan, service, files, image, needs) for service in plan.services),
        *_partitions(plan, files, image, needs),
    ]


def _partitions(
    plan: Plan, files: Mapping[str, str], image: str, needs: tuple[str, ...]
) -> list[Workload]:
    """The keeper of range partitions, where the stack asks for one. A service rather than a
    schedule: see docs/adr/0011-partitions.md."""
    if not plan.database.kept:
        return []
    database = tuple(name for name in needs if name == "database")
    data = _archive(plan) if any(kept.archive == "file" for kept in plan.database.kept) else None
    return [
        Workload(
            name="partitions",
            tier="database",
            image=image,
            command=("python3", "-m", "crm", "partitions", "keep"),
            uid=_UID,
            cpus=KEEPER_CPUS,
            memory_mib=KEEPER_MIB,
            instances=(
                Instance(
                    name="partitions",
                    host="partitions",
                    env={"CRM_INSTANCE": "partitions"},
                    data=data,
                ),
            ),
            files={"app.json": files["app/partitions.json"]},
            secrets=("database_owner_password", *plan.database.tls.client_secrets),
            ports=(Port(name="metrics", number=plan.app.port, metrics=True),),
            # A file takes as long as it takes: a restart would begin it anew, for ever.
            health=Health(
                command=http_get(plan.app.port, "/healthz"), alive=("true",) if data else None
            ),
            stop_first=data is not None,
            after=("schema", *database),
            connects_to=database,
            reaches_outside=plan.database.external,
        )
    ]


def _archive(plan: Plan) -> Data:
    """The volume of partitions that were archived to files."""
    return Data(name="partitions", protect=True, size_gib=plan.database.storage_gib)


def _service(
    plan: Plan,
    service: ServicePlan,
    files: Mapping[str, str],
    image: str,
    needs: tuple[str, ...],
) -> Workload:
    return Workload(
        name=service.name,
        tier="app",
        image=image,
        command=("python3", "-m", "crm", "serve"),
        uid=_UID,
        cpus=service.cpus,
        memory_mib=service.memory_mib,
        instances=tuple(
            Instance(name=name, host=name, env={"CRM_INSTANCE": name}) for name in service.instances
        ),
        files={"app.json": files[f"app/{service.name}.json"]},
        secrets=("cache_password", "database_app_password", *plan.database.tls.client_secrets),
        ports=(Port(name="http", number=service.port, metrics=True),),
        health=Health(
            command=http_get(service.port, "/readyz"), alive=http_get(service.port, "/healthz")
        ),
        scale=Scale(
            min=service.scale.min,
            max=service.scale.max,
            cpu_percent=service.scale.cpu_percent,
            name_env="CRM_INSTANCE",
        )
        if service.scale
        else None,
        after=("schema", *needs),
        connects_to=needs,
        reaches_outside=plan.database.external or plan.cache.external,
    )
