"""Orders: on their customer's shard, so that what belongs together is one transaction."""

import datetime
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, request, url_for
from msgspec import UNSET, Struct, UnsetType, field
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import DBAPIError

from crm import ids, mysql, rows
from crm.errors import DependencyError, ProblemError, not_found
from crm.fields import Amount, Day, Limit, RowId, checked_amount
from crm.rows import Page
from crm.services import services
from crm.shards import Shard
from crm.tables import customers, orders
from crm.web import answer, body, fields

api = Blueprint("orders", __name__, url_prefix="/api/v1/orders")


class Order(Struct, frozen=True):
    """``order_amount`` is a string in JSON: a number there would be a binary fraction."""

    id: int
    customer_id: int
    order_date: datetime.date
    order_amount: Decimal


class NewOrder(Struct, frozen=True, forbid_unknown_fields=True):
    customer_id: RowId
    order_date: Day
    order_amount: Amount


class OrderChange(Struct, frozen=True, forbid_unknown_fields=True):
    """No customer_id: another customer may live on another shard. Delete and create instead."""

    order_date: Day | UnsetType = UNSET
    order_amount: Amount | UnsetType = UNSET


class OrderQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``from`` and ``to`` are both included."""

    customer_id: RowId | None = None
    first: Day | None = field(name="from", default=None)
    last: Day | None = field(name="to", default=None)
    limit: Limit = 50
    cursor: RowId | None = None


def of_row(row: Any) -> Order:
    return Order(row["id"], row["customer_id"], row["order_date"], row["order_amount"])


def create(new: NewOrder) -> Order:
    """Store an order. 404 if the customer does not exist when it is committed."""
    amount = checked_amount(new.order_amount)
    shards = services().shards
    customer_id = new.customer_id
    shard = shards.of(customer_id)
    customer = select(customers.c.id).where(customers.c.id == customer_id)
    try:
        with shard.begin() as transaction:
            if transaction.run(customers, customer.with_for_update(read=True)).first() is None:
                raise ProblemError(
                    404,
                    f"there is no customer {customer_id}",
                    field="customer_id",
                    expected="the id of a customer, from /api/v1/customers",
                )
            bucket = shards.bucket_of(customer_id)
            order_id = ids.new_id_in(bucket, shards.buckets)
            # The primary key is (id, order_date), as partitions demand: it cannot refuse an id
            # that another date has already.
            while transaction.run(orders, select(orders.c.id).where(orders.c.id == order_id)).all():
                order_id = ids.new_id_in(bucket, shards.buckets)
            order = Order(order_id, customer_id, new.order_date, amount)
            transaction.run(
                orders,
                orders.insert().values(
                    id=order.id,
                    customer_id=order.customer_id,
                    order_date=order.order_date,
                    order_amount=order.order_amount,
                ),
            )
    except DBAPIError as error:
        rows.refuse_unknown_partition(error)
        if mysql.number(error) == rows.DUPLICATE_KEY:
            raise DependencyError(shard.name, "another order took the id first") from error
        raise
    return order


def locate(order_id: int) -> tuple[Shard, Order]:
    """An order and its shard. 404 only if every shard says that it is not there.

    Its own id names the shard where this application stores it; rows that other tools wrote may
    be elsewhere, so all are asked, and the first to know it answers.
    """
    down: DependencyError | None = None
    asked = services().shards.ask(lambda shard: rows.find(shard, orders, order_id))
    for shard, found in asked:
        if isinstance(found, DependencyError):
            down = found
        elif found is not None:
            return shard, of_row(found._mapping)
    raise down or not_found("order", order_id)


def page(query: OrderQuery) -> Page[Order]:
    shards = services().shards
    conditions: list[ColumnElement[bool]] = []
    if query.customer_id is not None:
        conditions.append(orders.c.customer_id == query.customer_id)
    if query.first is not None:
        conditions.append(orders.c.order_date >= query.first)
    if query.last is not None:
        conditions.append(orders.c.order_date <= query.last)
    found = rows.page(
        shards,
        orders,
        conditions,
        limit=query.limit,
        cursor=query.cursor,
        only=None if query.customer_id is None else shards.of(query.customer_id),
    )
    items = [of_row(row._mapping) for row in found.items]
    return Page(items, found.next_cursor, found.unavailable_shards)


def change(order_id: int, patch: OrderChange) -> Order:
    values = rows.given(patch)
    if isinstance(patch.order_amount, Decimal):
        values["order_amount"] = checked_amount(patch.order_amount)
    shard, _ = locate(order_id)
    try:
        return of_row(rows.change(shard, orders, order_id, "order", values))
    except DBAPIError as error:
        rows.refuse_unknown_partition(error)
        raise


def delete(order_id: int) -> None:
    shard, _ = locate(order_id)
    rows.remove(shard, orders, order_id, "order")


@api.post("")
def post() -> Response:
    order = create(body(NewOrder))
    return answer(order, 201, url_for("orders.get_one", order_id=order.id))


@api.get("")
def get_page() -> Response:
    return answer(page(fields(OrderQuery, request.args.to_dict())))


@api.get("/<id:order_id>")
def get_one(order_id: int) -> Response:
    return answer(locate(order_id)[1])


@api.patch("/<id:order_id>")
def patch_one(order_id: int) -> Response:
    return answer(change(order_id, body(OrderChange)))


@api.delete("/<id:order_id>")
def delete_one(order_id: int) -> Response:
    delete(order_id)
    return Response(status=204)
