"""A database of a test's own with the rendered tables, orders that come in, and a clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

from crm import partitions, schema, settings
from crm.partitions import Outcome
from crm.settings import Settings
from stacks import plan, render, stack_file
from tests.live import own

PASSWORD = "a password of this test's own"
ORDERS: dict[str, object] = {
    "partition_by": "range",
    "column": "order_date",
    "interval": "month",
    "start": "2026-01",
    "count": 4,
    "ahead": 3,
    "retention": 6,
}
VISITS: dict[str, object] = {
    "column": "seen_at",
    "interval": "day",
    "ahead": 2,
    "retention": 3,
}
"""A table of somebody else's; most tests never make it."""


class Shop:
    """A new database with the rendered tables, orders that come in, and a clock."""

    def __init__(
        self,
        server: own.MySQL,
        folder: Path,
        visits: Mapping[str, object] | None = None,
        **orders: object,
    ) -> None:
        server.sql("DROP DATABASE IF EXISTS crm; CREATE DATABASE crm CHARACTER SET utf8mb4")
        kept = {"orders": {**ORDERS, **orders}, "tables": {"visits": {**VISITS, **(visits or {})}}}
        spec = stack_file.parse({"database": kept}, "shop")
        files = render.Renderer().tree(plan.make("shop", spec))
        told = json.loads(files["app/partitions.json"])
        told["database"]["shards"][0] |= {"host": own.gateway(), "port": server.port}
        told["database"]["ssl_mode"] = "verify_ca"
        (folder / "app.json").write_text(json.dumps(told))
        (folder / told["database"]["ca"]).write_text(server.authority)
        (folder / "database_owner_password").write_text(PASSWORD)
        self.environment = {"CRM_CONFIG": f"{folder}/app.json", "CRM_SECRETS": str(folder)}
        self.loaded: Settings = settings.load(self.environment)
        self.shard = self.loaded.file.database.shards[0]
        self.server = server
        self.said: list[str] = []
        self.files = folder / "archived"
        self.inserted = 0
        with schema.wait_for(
            self.shard, self.loaded.file.database, self.loaded.secrets
        ) as connection:
            schema.apply(
                connection,
                self.shard,
                self.loaded.file.database,
                list(schema.split(files["mysql/schema.sql"])),
            )

    def sell(self, *days: date, each: int = 20) -> None:
        """``each`` orders of each of ``days``."""
        rows = []
        for day in days:
            for _ in range(each):
                self.inserted += 1
                rows.append(f"({self.inserted}, {self.inserted % 19}, '{day}', 1)")
        self.server.sql(f"INSERT INTO crm_orders VALUES {', '.join(rows)}", "crm")

    def run(
        self, now: datetime, *, apply: bool = True, yes: bool = False, table: str = "crm_orders"
    ) -> Outcome:
        self.said.clear()
        (life,) = (kept for kept in self.loaded.file.partitions if kept.table == table)
        with partitions.connected(self.loaded, self.shard) as connection:
            with connection.cursor() as cursor:
                cursor.execute(f"SET timestamp = {now.timestamp()}")
            return partitions.run(
                connection,
                self.shard,
                life,
                now,
                self.said.append,
                apply=apply,
                yes=yes,
                files=self.files,
            )

    def live(self) -> dict[str, date | None]:
        """Name and bound of each partition there is."""
        rows = self.server.sql(
            "SELECT DISTINCT PARTITION_NAME, PARTITION_DESCRIPTION, PARTITION_ORDINAL_POSITION "
            "FROM information_schema.PARTITIONS WHERE TABLE_NAME = 'crm_orders' ORDER BY 3"
        )
        return {
            name: None if below == "MAXVALUE" else date.fromisoformat(below.strip("'"))
            for name, below, _ in rows
        }

    def archives(self) -> list[str]:
        found = self.server.sql("SHOW TABLES LIKE 'crm_orders_archive_%'", "crm")
        return [name for (name,) in found]

    def check(self) -> None:
        """Every order there ever was is there once: number and sum of ids say so."""
        tables = ["crm_orders", *self.archives()]
        union = " UNION ALL ".join(f"SELECT id FROM {table}" for table in tables)
        found = self.server.sql(
            f"SELECT COUNT(*), SUM(id), COUNT(DISTINCT id) FROM ({union}) a", "crm"
        )
        total = self.inserted * (self.inserted + 1) // 2
        assert found == [[str(self.inserted), str(total), str(self.inserted)]]
