"""How ``crm_orders`` is partitioned: names, bounds and the primary key. Pure: no clock.

Time goes on in ``app/crm/partition_plan.py``, which makes the names and bounds that come next.
"""

from __future__ import annotations

from datetime import date, timedelta

from msgspec import UNSET, Struct

from stacks.errors import CrmError
from stacks.spec import Database
from stacks.spec_orders import Orders


class Partition(Struct, frozen=True):
    """A range partition: rows below ``below`` (an SQL literal) that no earlier one took."""

    name: str
    below: str


class Kept(Struct, frozen=True):
    """How a table's range partitions are kept, in intervals; ``retention`` of ``None`` is for ever.

    ``archive``: what is older goes into a ``table`` of its own, of that into a ``file``, or is to
    ``drop``; nothing is deleted without a yes.
    """

    table: str
    column: str
    interval: str
    ahead: int
    retention: int | None
    archive: str


KEEPER_CPUS, KEEPER_MIB = 0.1, 128
"""The size of what sees to it."""


class OrdersPlan(Struct, frozen=True):
    """How ``crm_orders`` is partitioned: by range, hash, key, or not at all (``none``).

    ``count`` are the partitions of hash and key; ``subpartitions`` of 0 are none.
    """

    partition_by: str
    column: str
    primary_key: tuple[str, ...]
    interval: str = ""
    partitions: tuple[Partition, ...] = ()
    count: int = 0
    subpartitions: int = 0


def work_out(orders: Orders) -> OrdersPlan:
    """The partitions that a stack asks for, and the primary key that holds their columns."""
    if orders.partition_by == "none":
        return OrdersPlan("none", "", ("id",))
    count = int(orders.count)  # type: ignore[arg-type]  # checked in Orders
    if orders.partition_by != "range":
        return OrdersPlan(orders.partition_by, "customer_id", ("id", "customer_id"), "", (), count)
    parts = 0 if orders.subpartitions is UNSET else orders.subpartitions
    return OrdersPlan(
        "range",
        "order_date",
        ("id", "order_date", *(("customer_id",) if parts else ())),
        str(orders.interval),
        _ranges(str(orders.interval), str(orders.start), count),
        0,
        parts,
    )


def kept(database: Database) -> tuple[Kept, ...]:
    """The tables whose partitions are looked after: the orders if they are to be, then others'."""
    orders = database.orders
    found = [
        Kept(name, t.column, t.interval, t.ahead, t.retention, t.archive)
        for name, t in sorted(database.tables.items())
    ]
    if orders.ahead is not UNSET:
        retention = None if orders.retention is UNSET else orders.retention
        archive = "table" if orders.archive is UNSET else orders.archive
        own = ("crm_orders", "order_date", str(orders.interval), orders.ahead, retention, archive)
        found.insert(0, Kept(*own))
    return tuple(found)


def _ranges(interval: str, start: str, count: int) -> tuple[Partition, ...]:
    """``count`` partitions from ``start``, one for what is earlier and one for later.

    No order is refused for its date: see docs/adr for why there is a catch-all.
    """
    first = _first_day(interval, start)
    partitions = [Partition("p_before", f"'{first}'")]
    for _ in range(count):
        name = f"p_{first:%Y_%m}" if interval == "month" else f"p_{first:%Y_%m_%d}"
        first = _after(interval, first)
        partitions.append(Partition(name, f"'{first}'"))
    return (*partitions, Partition("p_future", "MAXVALUE"))


def _first_day(interval: str, start: str) -> date:
    try:
        first = date.fromisoformat(start if interval != "month" else f"{start}-01")
    except ValueError:
        raise CrmError(
            f"crm:database.orders.start: {start} is no day of the calendar; "
            "write one that is, for example 2026-01-05"
        ) from None
    monday = first - timedelta(days=first.weekday())
    if interval == "week" and first != monday:
        raise CrmError(
            f"crm:database.orders.start: {start} is no Monday, and weeks begin on Mondays; "
            f"write {monday}"
        )
    return first


def _after(interval: str, first: date) -> date:
    if interval == "month":
        return date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return first + timedelta(days=7 if interval == "week" else 1)
