"""What the three areas do alike: insert, read, page, change and remove rows on their shard."""

import heapq
from typing import Any, Generic, TypeVar

from msgspec import UNSET, Struct
from sqlalchemy import ColumnElement, Row, Table, func, literal, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from crm import mysql
from crm.errors import DependencyError, ProblemError, not_found
from crm.shards import Shard, Shards, Transaction

T = TypeVar("T")
DUPLICATE_KEY = 1062
NO_PARTITION = 1526
INSERT_ATTEMPTS = 5
COUNT_LIMIT = 100_000


class Page(Struct, Generic[T], frozen=True):
    """Newest rows first. ``next_cursor`` asks for the older ones; None at the end.

    ``unavailable_shards`` names those whose rows are missing because they do not answer.
    """

    items: list[T]
    next_cursor: str | None
    unavailable_shards: list[str]


def insert(shards: Shards, table: Table, values: dict[str, Any]) -> int:
    """Store a row under a fresh id, on the shard that follows from it. Committed on return."""
    for _ in range(INSERT_ATTEMPTS):
        row_id = shards.place()
        try:
            with shards.of(row_id).begin() as transaction:
                transaction.run(table, table.insert().values(id=row_id, **values))
        except IntegrityError as error:
            if mysql.number(error) != DUPLICATE_KEY:
                raise
        else:
            return row_id
    raise DependencyError("ids", f"{INSERT_ATTEMPTS} ids in a row were taken")


def find(shard: Shard, table: Table, row_id: int) -> Row[Any] | None:
    with shard.begin() as transaction:
        return transaction.run(table, select(table).where(table.c.id == row_id)).one_or_none()


def page(
    shards: Shards,
    table: Table,
    conditions: list[ColumnElement[bool]],
    *,
    limit: int,
    cursor: int | None = None,
    only: Shard | None = None,
) -> Page[Row[Any]]:
    """One page over all shards, or over one. Raises DependencyError when none of them answers."""
    if cursor is not None:
        conditions = [*conditions, table.c.id < cursor]
    statement = select(table).where(*conditions).order_by(table.c.id.desc()).limit(limit + 1)

    def read(shard: Shard) -> list[Row[Any]]:
        with shard.begin() as transaction:
            return list(transaction.run(table, statement).all())

    lists: list[list[Row[Any]]] = []
    down: list[DependencyError] = []
    for _, answer in [(only, read(only))] if only else shards.ask(read):
        if isinstance(answer, DependencyError):
            down.append(answer)
        else:
            lists.append(answer)
    if not lists:
        raise down[0]
    rows = list(heapq.merge(*lists, key=lambda row: row.id, reverse=True))
    return Page(
        items=rows[:limit],
        next_cursor=str(rows[limit - 1].id) if len(rows) > limit else None,
        unavailable_shards=sorted(error.name for error in down),
    )


def lock(transaction: Transaction, table: Table, row_id: int, kind: str) -> Row[Any]:
    """Read a row so that nobody else changes it before the commit. 404 if there is none."""
    statement = select(table).where(table.c.id == row_id).with_for_update()
    row = transaction.run(table, statement).one_or_none()
    if row is None:
        raise not_found(kind, row_id)
    return row


def change(
    shard: Shard, table: Table, row_id: int, kind: str, values: dict[str, Any]
) -> dict[str, Any]:
    """Set some columns of a row; returns all of them as they are after the commit."""
    with shard.begin() as transaction:
        row = lock(transaction, table, row_id, kind)
        transaction.run(table, table.update().where(table.c.id == row_id).values(values))
        return {**row._mapping, **values}


def remove(shard: Shard, table: Table, row_id: int, kind: str) -> None:
    with shard.begin() as transaction:
        removed = transaction.run(table, table.delete().where(table.c.id == row_id))
        if removed.rowcount == 0:
            raise not_found(kind, row_id)


def count(shard: Shard, table: Table) -> int:
    """How many rows a shard holds; COUNT_LIMIT + 1 stands for more, so that it stays quick."""
    some = select(literal(1)).select_from(table).limit(COUNT_LIMIT + 1).subquery()
    with shard.begin() as transaction:
        return int(transaction.run(table, select(func.count()).select_from(some)).scalar_one())


def given(patch: Struct) -> dict[str, Any]:
    """The fields a PATCH names. 400 if it names none."""
    values = {
        field: value
        for field in patch.__struct_fields__
        if (value := getattr(patch, field)) is not UNSET
    }
    if not values:
        fields = ", ".join(patch.__struct_fields__)
        raise ProblemError(400, "the change names no field", expected=f"at least one of {fields}")
    return values


def refuse_unknown_partition(error: DBAPIError) -> None:
    """Turn "no partition for this value" into a problem of the order's date."""
    if mysql.number(error) == NO_PARTITION:
        raise ProblemError(
            400,
            "no partition of crm_orders keeps orders of this date",
            field="order_date",
            expected="a date within the partitions the database has",
        ) from error
