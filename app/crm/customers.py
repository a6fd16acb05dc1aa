"""Customers: each on the shard its id says, lists merged from all."""

import datetime
from typing import Any

from flask import Blueprint, Response, request, url_for
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import select

from crm import rows
from crm.errors import ProblemError, not_found
from crm.fields import Email, Limit, Name, RowId, utc, utc_now
from crm.rows import Page
from crm.services import services
from crm.tables import customers, orders
from crm.web import answer, body, fields

api = Blueprint("customers", __name__, url_prefix="/api/v1/customers")


class Customer(Struct, frozen=True):
    id: int
    name: str
    email: str
    created_at: datetime.datetime


class NewCustomer(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    email: Email


class CustomerChange(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET


class PageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 50
    cursor: RowId | None = None


def of_row(row: Any) -> Customer:
    return Customer(row["id"], row["name"], row["email"], utc(row["created_at"]))


def create(new: NewCustomer) -> Customer:
    created_at = utc_now()
    values = {"name": new.name, "email": new.email, "created_at": created_at}
    row_id = rows.insert(services().shards, customers, values)
    return Customer(row_id, new.name, new.email, utc(created_at))


def get(customer_id: int) -> Customer:
    row = rows.find(services().shards.of(customer_id), customers, customer_id)
    if row is None:
        raise not_found("customer", customer_id)
    return of_row(row._mapping)


def page(query: PageQuery) -> Page[Customer]:
    found = rows.page(services().shards, customers, [], limit=query.limit, cursor=query.cursor)
    items = [of_row(row._mapping) for row in found.items]
    return Page(items, found.next_cursor, found.unavailable_shards)


def change(customer_id: int, patch: CustomerChange) -> Customer:
    shard = services().shards.of(customer_id)
    return of_row(rows.change(shard, customers, customer_id, "customer", rows.given(patch)))


def delete(customer_id: int) -> None:
    """Remove a customer who has no orders; 409 for one who has."""
    with services().shards.of(customer_id).begin() as transaction:
        # Orders are inserted under a shared lock on the customer, so none can come in between.
        rows.lock(transaction, customers, customer_id, "customer")
        theirs = select(orders.c.id).where(orders.c.customer_id == customer_id).limit(1)
        if transaction.run(orders, theirs).first() is not None:
            raise ProblemError(409, f"customer {customer_id} has orders: delete those first")
        transaction.run(customers, customers.delete().where(customers.c.id == customer_id))


@api.post("")
def post() -> Response:
    customer = create(body(NewCustomer))
    return answer(customer, 201, url_for("customers.get_one", customer_id=customer.id))


@api.get("")
def get_page() -> Response:
    return answer(page(fields(PageQuery, request.args.to_dict())))


@api.get("/<id:customer_id>")
def get_one(customer_id: int) -> Response:
    return answer(get(customer_id))


@api.patch("/<id:customer_id>")
def patch_one(customer_id: int) -> Response:
    return answer(change(customer_id, body(CustomerChange)))


@api.delete("/<id:customer_id>")
def delete_one(customer_id: int) -> Response:
    delete(customer_id)
    return Response(status=204)
