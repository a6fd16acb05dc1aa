"""The database tier: one MySQL server with its own volume for each shard."""

from collections.abc import Mapping

from stacks import database_tls
from stacks.plan import Plan
from stacks.workload import Data, Health, Instance, Port, Workload

START_SECONDS = 240
"""How long a server may take to be healthy: the first start makes the data directory, which takes
a minute on a slow disk."""


def workloads(plan: Plan, files: Mapping[str, str]) -> list[Workload]:
    """The shards, or nothing where the stack uses a database that exists already."""
    database = plan.database
    if database.external:
        return []
    followed = (
        *(f"database_{account.secret}_password" for account in database.accounts),
        *(database_tls.CERTIFICATE, database_tls.KEY, database_tls.AUTHORITY),
    )
    probe = ("mysql", "--defaults-file=/run/crm/client.cnf", "-e", "SELECT 1")
    return [
        Workload(
            name="database",
            tier="database",
            image=database.image,
            command=("sh", "/etc/crm/start.sh"),
            uid=10002,
            cpus=database.cpus,
            memory_mib=database.memory_mib,
            instances=tuple(
                Instance(
                    name=shard.name,
                    host=shard.host,
                    files={"my.cnf": files[f"mysql/{shard.name}/my.cnf"]},
                    data=Data(name=shard.name, protect=True, size_gib=database.storage_gib),
                )
                for shard in database.shards
            ),
            files={name: files[f"mysql/{name}"] for name in ("follow.sh", "start.sh")},
            secrets=("database_root_password", *followed),
            followed=followed,
            ports=(Port(name="mysql", number=database.shards[0].port),),
            health=Health(command=probe, timeout_seconds=5, start_seconds=START_SECONDS),
            stop_first=True,
            # A server that is killed while it writes must recover first; give it time to stop.
            stop_grace_seconds=120,
        )
    ]
