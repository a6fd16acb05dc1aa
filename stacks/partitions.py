"""How ``crm_orders`` is partitioned: names, bounds and the primary key. Pure: no clock."""

from __future__ import annotations

from msgspec import Struct

from stacks.spec import Orders


class Partition(Struct, frozen=True):
    """A range partition: rows below ``below`` (an SQL literal) that no earlier one took."""

    name: str
    below: str


class OrdersPlan(Struct, frozen=True):
    """How ``crm_orders`` is partitioned: by range, by hash, or not at all."""

    partition_by: str
    column: str
    partitions: tuple[Partition, ...]
    hash_count: int
    primary_key: tuple[str, ...]


def work_out(orders: Orders) -> OrdersPlan:
    """The partitions that a stack asks for, and the primary key that holds their column."""
    if orders.partition_by == "range":
        return OrdersPlan(
            "range",
            "order_date",
            _months(str(orders.start), int(orders.count)),  # type: ignore[arg-type]  # checked in Orders
            0,
            ("id", "order_date"),
        )
    if orders.partition_by == "hash":
        return OrdersPlan("hash", "customer_id", (), int(orders.count), ("id", "customer_id"))  # type: ignore[arg-type]  # checked in Orders
    return OrdersPlan("none", "", (), 0, ("id",))


def _months(start: str, count: int) -> tuple[Partition, ...]:
    """``count`` monthly partitions from ``start``, one for what is earlier and one for later.

    No order is refused for its date: see docs/adr for why there is a catch-all.
    """
    year, month = int(start[:4]), int(start[5:])
    partitions = [Partition("p_before", f"'{year:04}-{month:02}-01'")]
    for _ in range(count):
        name = f"p_{year:04}_{month:02}"
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        partitions.append(Partition(name, f"'{year:04}-{month:02}-01'"))
    return (*partitions, Partition("p_future", "MAXVALUE"))
