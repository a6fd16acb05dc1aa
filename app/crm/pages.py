"""Pages for people: a dashboard, and a list with forms for each area. No scripts."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from msgspec import Struct
from werkzeug.wrappers import Response as AnyResponse

from crm import customers, orders, rows, tables, users
from crm.customers import PageQuery
from crm.errors import DependencyError, ProblemError
from crm.health import CHECK_SECONDS, readiness
from crm.orders import OrderQuery
from crm.services import services
from crm.shards import Shard
from crm.web import fields

blueprint = Blueprint("pages", __name__)
TABLES = (tables.customers, tables.orders, tables.users)
EMPTY: dict[str, str] = {}


class Failure(Struct, frozen=True):
    """What a refused form says, and what was typed into it."""

    problem: ProblemError
    typed: dict[str, str]


def show(template: str, failure: Failure | None = None, **context: Any) -> Response:
    """A page; with a failed form's message and entries it carries that failure's status."""
    page = render_template(
        template,
        instance=services().settings.instance,
        problem=failure.problem if failure else None,
        typed=failure.typed if failure else EMPTY,
        **context,
    )
    return make_response(page, failure.problem.status if failure else 200)


def submit(action: Callable[[dict[str, str]], str], again: Callable[[Failure], Response]) -> Any:
    """Do what a form asks and redirect to the address ``action`` returns, or show it ``again``."""
    typed = {name: value.strip() for name, value in request.form.items()}
    try:
        target = action(typed)
    except ProblemError as problem:
        return again(Failure(problem, typed))
    return redirect(target, 303)


def query() -> dict[str, str]:
    """The address' filters; an input left empty is none."""
    return {name: value for name, value in request.args.items() if value}


def counts() -> Mapping[str, Mapping[str, str]]:
    """Rows by shard and table, for the dashboard; a shard that is down has none to show."""

    def count(shard: Shard) -> dict[str, str]:
        numbers = {table.name: rows.count(shard, table) for table in TABLES}
        limit = rows.COUNT_LIMIT
        return {
            name: str(number) if number <= limit else f"over {limit}"
            for name, number in numbers.items()
        }

    return {
        shard.name: {} if isinstance(answer, DependencyError) else answer
        for shard, answer in services().shards.ask(count, CHECK_SECONDS)
    }


@blueprint.get("/")
def dashboard() -> Response:
    crm = services()
    return show(
        "dashboard.html",
        file=crm.settings.file,
        # Each edge says what it is and how it chooses among the replicas.
        edge=request.headers.get("X-Edge", "no load balancer"),
        ready=readiness(),
        rows=counts(),
        tables=[table.name for table in TABLES],
        figures=crm.figures.report(crm.settings.instance),
    )


@blueprint.get("/customers")
def customer_list(failure: Failure | None = None) -> Response:
    found = customers.page(fields(PageQuery, query() if failure is None else EMPTY))
    return show("customers.html", failure, page=found)


@blueprint.post("/customers")
def customer_create() -> Any:
    def create(typed: dict[str, str]) -> str:
        customer = customers.create(fields(customers.NewCustomer, typed))
        return url_for("pages.customer_detail", customer_id=customer.id)

    return submit(create, customer_list)


@blueprint.get("/customers/<id:customer_id>")
def customer_detail(customer_id: int, failure: Failure | None = None) -> Response:
    customer = customers.get(customer_id)
    return show(
        "customer.html",
        failure,
        customer=customer,
        shard=services().shards.of(customer_id).name,
        page=orders.page(OrderQuery(customer_id=customer_id)),
    )


@blueprint.post("/customers/<id:customer_id>")
def customer_change(customer_id: int) -> Any:
    def change(typed: dict[str, str]) -> str:
        customers.change(customer_id, fields(customers.CustomerChange, typed))
        return url_for("pages.customer_detail", customer_id=customer_id)

    return submit(change, lambda failure: customer_detail(customer_id, failure))


@blueprint.post("/customers/<id:customer_id>/delete")
def customer_delete(customer_id: int) -> Any:
    def delete(_: dict[str, str]) -> str:
        customers.delete(customer_id)
        return url_for("pages.customer_list")

    return submit(delete, lambda failure: customer_detail(customer_id, failure))


@blueprint.get("/orders")
def order_list(failure: Failure | None = None) -> Response:
    wanted = query() if failure is None else EMPTY
    found = orders.page(fields(OrderQuery, wanted))
    return show("orders.html", failure, page=found, wanted=wanted)


@blueprint.post("/orders")
def order_create() -> Any:
    def create(typed: dict[str, str]) -> str:
        order = orders.create(fields(orders.NewOrder, typed))
        return url_for("pages.customer_detail", customer_id=order.customer_id)

    return submit(create, order_list)


@blueprint.post("/orders/<id:order_id>/delete")
def order_delete(order_id: int) -> AnyResponse:
    _, order = orders.locate(order_id)
    orders.delete(order_id)
    return redirect(url_for("pages.customer_detail", customer_id=order.customer_id), 303)


@blueprint.get("/users")
def user_list(failure: Failure | None = None) -> Response:
    found = users.page(fields(PageQuery, query() if failure is None else EMPTY))
    return show("users.html", failure, page=found)


@blueprint.post("/users")
def user_create() -> Any:
    def create(typed: dict[str, str]) -> str:
        user = users.create(fields(users.NewUser, typed))
        return url_for("pages.user_detail", user_id=user.id)

    return submit(create, user_list)


@blueprint.get("/users/<id:user_id>")
def user_detail(user_id: int, failure: Failure | None = None) -> Response:
    shard = services().shards.of(user_id).name
    return show("user.html", failure, user=users.get_user_info(user_id), shard=shard)


@blueprint.post("/users/<id:user_id>")
def user_change(user_id: int) -> Any:
    def change(typed: dict[str, str]) -> str:
        users.change(user_id, fields(users.UserChange, typed))
        return url_for("pages.user_detail", user_id=user_id)

    return submit(change, lambda failure: user_detail(user_id, failure))


@blueprint.post("/users/<id:user_id>/delete")
def user_delete(user_id: int) -> AnyResponse:
    users.delete(user_id)
    return redirect(url_for("pages.user_list"), 303)
