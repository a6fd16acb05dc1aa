"""Backups: beside each shard one that keeps it and what was written since, in its own volume."""

from collections.abc import Mapping

from stacks.plan import Plan
from stacks.workload import Data, Health, Instance, Workload

_SCRIPTS = ("backup.sh", "rows.sql")


def workloads(plan: Plan, files: Mapping[str, str]) -> list[Workload]:
    """One instance for each shard, or nothing where the stack asks for no backups."""
    database, backup = plan.database, plan.database.backup
    if backup is None:
        return []
    return [
        Workload(
            name="backup",
            tier="database",
            image=database.image,
            command=("bash", "/etc/crm/backup.sh"),
            # The servers' own: one that is restored reads what this one wrote.
            uid=10002,
            cpus=backup.cpus,
            memory_mib=backup.memory_mib,
            instances=tuple(
                Instance(
                    name=name,
                    host=name,
                    env={"CRM_SHARD": shard.name, "CRM_HOST": shard.host},
                    data=Data(name=name, protect=True, size_gib=backup.storage_gib, folder=folder),
                )
                for name, shard, folder in zip(
                    backup.instances, database.shards, backup.folders, strict=True
                )
            ),
            files={name: files[f"backup/{name}"] for name in _SCRIPTS},
            secrets=("database_backup_password", *plan.database.tls.client_secrets),
            # It says until when its last success counts. Not a reason to restart it: that would
            # break off a backup that takes long.
            health=Health(
                command=("bash", "-c", "(( $(date +%s) < $(</run/crm/overdue) ))"),
                alive=("bash", "-c", "kill -0 1"),
                interval_seconds=10,
            ),
            stop_first=True,
            after=("database", "schema"),
            connects_to=("database",),
        )
    ]
