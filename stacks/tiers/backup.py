"""Backups: beside each shard one that keeps it and what was written since, in its own volume."""

from collections.abc import Mapping, Sequence

from stacks.plan import Plan
from stacks.workload import Data, Health, Instance, Workload

BACKUPS_PATH = "/backup"
"""Where what restores finds the volume of a shard's backups, to read only."""

_SCRIPTS = ("backup.sh", "rows.sql")

UID = 10002
"""The servers' own: one that is restored reads what this one wrote."""

_CLIENTS_MIB = 128
"""For what loads the dump and the logs, beside the server."""


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
            uid=UID,
            cpus=backup.cpus,
            memory_mib=backup.memory_mib,
            instances=tuple(
                Instance(
                    name=name,
                    host=name,
                    env={"CRM_SHARD": shard.name, "CRM_HOST": shard.host},
                    data=Data(
                        name=name,
                        protect=True,
                        size_gib=backup.storage_gib,
                        folder=folder,
                        shared=backup.offsite is not None,
                    ),
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


def restorer(
    plan: Plan,
    files: Mapping[str, str],
    shard: str,
    instance: str,
    kind: str,
    command: Sequence[str],
) -> Workload:
    """What works once on the backups of ``shard`` that ``instance`` keeps: a ``drill``, a
    ``restore``. It may start a server as large as the shard's, and talks to nobody.

    A target gives it the backups at ``BACKUPS_PATH`` and a volume at ``DATA_PATH``.
    """
    name = f"{instance}-{kind}"
    return Workload(
        name=kind,
        tier="database",
        image=plan.database.image,
        command=tuple(command),
        uid=UID,
        cpus=plan.database.cpus,
        memory_mib=plan.database.memory_mib + _CLIENTS_MIB,
        instances=(Instance(name=name, host=name),),
        files={
            "my.cnf": files[f"mysql/{shard}/my.cnf"],
            "restore.sh": files["backup/restore.sh"],
            "rows.sql": files["backup/rows.sql"],
        },
        run_once=True,
        # Nothing is lost with it, and a shell that waits for a server does not hear of a signal.
        stop_grace_seconds=1,
    )
