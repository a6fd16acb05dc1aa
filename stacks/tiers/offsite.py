"""Copies of backups in a bucket: beside each keeper one that sees its volume and the outside."""

from collections.abc import Mapping

from stacks.offsite import OFFSITE_MIB
from stacks.plan import Plan
from stacks.tiers import backup as keepers
from stacks.workload import Data, Health, Instance, Workload

WELL = '[ "$(date +%s)" -lt "$(cat /run/crm/overdue)" ] || { cat /run/crm/problem; false; }'
"""It says until when its last success counts, and what is wrong."""


def workloads(plan: Plan, files: Mapping[str, str], image: str) -> list[Workload]:
    """One instance for each keeper of backups, or nothing where the stack names no bucket."""
    backup = plan.database.backup
    offsite = backup.offsite if backup else None
    if backup is None or offsite is None:
        return []
    return [
        Workload(
            name="offsite",
            tier="database",
            image=image,
            command=("python3", "-m", "crm", "offsite"),
            uid=keepers.UID,
            cpus=offsite.cpus,
            memory_mib=OFFSITE_MIB,
            instances=tuple(
                Instance(
                    name=name,
                    host=name,
                    env={"CRM_SHARD": shard.name},
                    data=Data(
                        name=keeper,
                        protect=True,
                        size_gib=backup.storage_gib,
                        shared=True,
                        of="backup",
                    ),
                )
                for name, keeper, shard in zip(
                    offsite.instances, backup.instances, plan.database.shards, strict=True
                )
            ),
            files={"offsite.json": files["backup/offsite.json"]},
            secrets=offsite.secrets,
            # Not a reason to restart it: that would break off a copy that takes long.
            health=Health(
                command=("sh", "-c", WELL), alive=("sh", "-c", "kill -0 1"), interval_seconds=10
            ),
            stop_first=True,
            after=("backup",),
            reaches_outside=True,
        )
    ]
