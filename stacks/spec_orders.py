"""What can be asked of partitions: of the orders', and of others' tables that are kept too."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, Meta, UnsetType

from stacks.spec_edge import Part
from stacks.spec_words import Ahead, FirstDay, Retention, SqlName, Subpartitions


class Orders(Part, frozen=True):
    """How ``crm_orders`` is partitioned inside each shard, and how its partitions are kept."""

    partition_by: Literal["none", "range", "hash", "key"] = "none"
    column: Literal["order_date", "customer_id"] | UnsetType = UNSET
    interval: Literal["month", "week", "day"] | UnsetType = UNSET
    start: FirstDay | UnsetType = UNSET
    count: (
        Annotated[int, Meta(ge=1, le=1024, description="1 to 1024 partitions", examples=[24])]
        | UnsetType
    ) = UNSET
    subpartitions: Subpartitions | UnsetType = UNSET
    """Each range is split once more, by a hash of the customer."""
    ahead: Ahead | UnsetType = UNSET
    """How many intervals after the current one have a partition before they begin."""
    retention: Retention | UnsetType = UNSET
    """How many intervals before the current one stay in the table; for ever when not given."""
    archive: Literal["table", "file", "drop"] | UnsetType = UNSET
    """What becomes of older ones: a table of their own; a file of that, and when somebody says yes
    no table any more; or, when somebody says yes, nothing."""

    def __post_init__(self) -> None:
        right = _ORDERS_FORMS[self.partition_by]
        given = [key for key in _ORDERS_KEYS if getattr(self, key) is not UNSET]
        if given != right.keys and not (
            self.partition_by == "range" and set(right.keys) <= set(given)
        ):
            raise ValueError(f"`partition_by: {self.partition_by}` is written {right.example}")
        if self.column is not UNSET and self.column != right.column:
            raise ValueError(
                f"`partition_by: {self.partition_by}` goes by `column: {right.column}`"
            )
        if self.partition_by == "range":
            self._check_range()

    def _check_range(self) -> None:
        start, count = str(self.start), int(self.count)  # type: ignore[arg-type]  # both are given
        day = len(start) == len("YYYY-MM-DD")
        if day != (self.interval != "month"):
            example = "2026-01" if self.interval == "month" else "2026-01-05"
            raise ValueError(f"`start` of `interval: {self.interval}` is written like {example}")
        if self.retention is not UNSET and self.ahead is UNSET:
            raise ValueError("`retention` goes with `ahead`, such as ahead: 3")
        if self.archive is not UNSET and self.retention is UNSET:
            raise ValueError("`archive` says what becomes of what `retention` does not keep")
        # One for what is earlier, one for what is later, and one that is about to go.
        kept = count if self.retention is UNSET else max(count, self.retention + 2)
        ranges = kept + 2 + (0 if self.ahead is UNSET else self.ahead)
        parts = 1 if self.subpartitions is UNSET else self.subpartitions
        if ranges * parts > MOST_PARTITIONS:
            raise ValueError(
                f"{ranges} ranges × {parts} subpartitions = {ranges * parts}, but MySQL allows "
                f"{MOST_PARTITIONS} partitions of a table; ask for fewer"
            )


MOST_PARTITIONS = 8192
"""Of a table, subpartitions included (https://dev.mysql.com/doc/refman/8.4/en/partitioning-limitations.html)."""

_ORDERS_KEYS = [key for key in Orders.__struct_fields__ if key != "partition_by"]


class _OrdersForm(NamedTuple):
    keys: list[str]
    column: str
    example: str


_ORDERS_FORMS = {
    "none": _OrdersForm([], "", "{partition_by: none}"),
    "range": _OrdersForm(
        ["column", "interval", "start", "count"],
        "order_date",
        "{partition_by: range, column: order_date, interval: month, start: 2026-01, count: 24}",
    ),
    **{
        kind: _OrdersForm(
            ["column", "count"],
            "customer_id",
            f"{{partition_by: {kind}, column: customer_id, count: 8}}",
        )
        for kind in ("hash", "key")
    },
}


OWN_TABLES = ("crm_orders", "crm_shard", "customers", "users")


class KeptTable(Part, frozen=True, kw_only=True):
    """A table of somebody else's in the stack's database whose range partitions are kept too."""

    column: SqlName
    """A date: the table is partitioned by ``RANGE COLUMNS`` of it."""
    interval: Literal["month", "week", "day"]
    ahead: Ahead
    retention: Retention | None = None
    archive: Literal["table", "file", "drop"] = "table"
