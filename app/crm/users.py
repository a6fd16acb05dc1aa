"""Users, read through the cache."""

import datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request, url_for
from msgspec import UNSET, Struct, UnsetType

from crm import rows
from crm.customers import PageQuery
from crm.errors import not_found
from crm.fields import Email, Name, Role, utc, utc_now
from crm.rows import Page
from crm.services import services
from crm.tables import users
from crm.web import answer, body, fields

api = Blueprint("users", __name__, url_prefix="/api/v1/users")


class User(Struct, frozen=True):
    id: int
    name: str
    email: str
    role: str
    created_at: datetime.datetime


class NewUser(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name
    email: Email
    role: Role


class UserChange(Struct, frozen=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    role: Role | UnsetType = UNSET


def of_row(row: Any) -> User:
    return User(row["id"], row["name"], row["email"], row["role"], utc(row["created_at"]))


def cache_key(user_id: int) -> str:
    """v1 is the form of the value: a release that changes it must read none of the old."""
    return f"crm:user:v1:{user_id}"


def get_user_info(user_id: int) -> User:
    """A user from the cache or, failing that, from their shard. 404 if there is none."""

    def load() -> bytes | None:
        row = rows.find(services().shards.of(user_id), users, user_id)
        return None if row is None else msgspec.json.encode(of_row(row._mapping))

    found = services().cache.fetch(cache_key(user_id), load)
    if found is None:
        raise not_found("user", user_id)
    return msgspec.json.decode(found, type=User)


def create(new: NewUser) -> User:
    created_at = utc_now()
    values = {"name": new.name, "email": new.email, "role": new.role, "created_at": created_at}
    row_id = rows.insert(services().shards, users, values)
    return User(row_id, new.name, new.email, new.role, utc(created_at))


def page(query: PageQuery) -> Page[User]:
    found = rows.page(services().shards, users, [], limit=query.limit, cursor=query.cursor)
    items = [of_row(row._mapping) for row in found.items]
    return Page(items, found.next_cursor, found.unavailable_shards)


def change(user_id: int, patch: UserChange) -> User:
    values = rows.given(patch)
    with services().cache.changing(cache_key(user_id)):
        shard = services().shards.of(user_id)
        return of_row(rows.change(shard, users, user_id, "user", values))


def delete(user_id: int) -> None:
    with services().cache.changing(cache_key(user_id)):
        rows.remove(services().shards.of(user_id), users, user_id, "user")


@api.post("")
def post() -> Response:
    user = create(body(NewUser))
    return answer(user, 201, url_for("users.get_one", user_id=user.id))


@api.get("")
def get_page() -> Response:
    return answer(page(fields(PageQuery, request.args.to_dict())))


@api.get("/<id:user_id>")
def get_one(user_id: int) -> Response:
    return answer(get_user_info(user_id))


@api.patch("/<id:user_id>")
def patch_one(user_id: int) -> Response:
    return answer(change(user_id, body(UserChange)))


@api.delete("/<id:user_id>")
def delete_one(user_id: int) -> Response:
    delete(user_id)
    return Response(status=204)
