"""What the API answers before any database is asked, and when none can be."""

import dataclasses
import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from msgspec import structs

from crm.factory import create_app
from crm.settings import Settings

CUSTOMERS = "/api/v1/customers"
ORDERS = "/api/v1/orders"
ORDER = {"customer_id": 1, "order_date": "2025-03-31", "order_amount": "19.90"}


@pytest.mark.parametrize(
    ("path", "body", "field", "expected"),
    [
        (CUSTOMERS, {"name": "Ada"}, "email", "an address such as ada@example.org"),
        (CUSTOMERS, {"name": "Ada", "email": "ada"}, "email", "an address such as"),
        (CUSTOMERS, {"name": " ", "email": "a@b"}, "name", "1 to 200 characters"),
        (CUSTOMERS, {"name": "a\nb", "email": "a@b"}, "name", "on one line"),
        (CUSTOMERS, {"name": "a" * 201, "email": "a@b"}, "name", "1 to 200 characters"),
        (CUSTOMERS, {"name": 5, "email": "a@b"}, "name", "1 to 200 characters"),
        (CUSTOMERS, {"nme": "Ada", "email": "a@b"}, "nme", "only name, email"),
        ("/api/v1/users", {"name": "A", "email": "a@b", "role": "X!"}, "role", "such as sales"),
        (ORDERS, {**ORDER, "order_amount": "19.901"}, "order_amount", "in cents at finest"),
        (ORDERS, {**ORDER, "order_amount": -1}, "order_amount", "from 0.00"),
        (ORDERS, {**ORDER, "order_amount": "NaN"}, "order_amount", "from 0.00"),
        (ORDERS, {**ORDER, "order_amount": "1e999999999"}, "order_amount", "to 9999999999.99"),
        (ORDERS, {**ORDER, "order_amount": "1e-999999999"}, "order_amount", "in cents"),
        (ORDERS, {**ORDER, "order_date": "31.3.2025"}, "order_date", "such as 2025-03-31"),
        (ORDERS, {**ORDER, "order_date": "2025-02-30"}, "order_date", "such as 2025-03-31"),
        (ORDERS, {**ORDER, "customer_id": -1}, "customer_id", "a whole number from 0"),
        (ORDERS, {**ORDER, "customer_id": 2**53}, "customer_id", "to 9007199254740991"),
    ],
)
def test_post_of_a_wrong_field_names_it(
    client: FlaskClient, path: str, body: dict[str, Any], field: str, expected: str
) -> None:
    response = client.post(path, json=body)
    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    problem = response.get_json()
    assert problem["field"] == field
    assert expected in problem["expected"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{CUSTOMERS}?limit=0", "limit"),
        (f"{CUSTOMERS}?limit=many", "limit"),
        (f"{CUSTOMERS}?cursor=-1", "cursor"),
        (f"{CUSTOMERS}?sort=name", "sort"),
        (f"{ORDERS}?from=yesterday", "from"),
        (f"{ORDERS}?customer_id=ada", "customer_id"),
    ],
)
def test_get_with_a_wrong_query_names_it(client: FlaskClient, path: str, field: str) -> None:
    response = client.get(path)
    assert response.status_code == 400
    assert response.get_json()["field"] == field


def test_patch_that_names_no_field(client: FlaskClient) -> None:
    response = client.patch(f"{CUSTOMERS}/1", json={})
    assert response.status_code == 400
    assert response.get_json()["expected"] == "at least one of name, email"


def test_order_cannot_change_its_customer(client: FlaskClient) -> None:
    response = client.patch(f"{ORDERS}/1", json={"customer_id": 2})
    assert response.get_json()["field"] == "customer_id"


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\\ud800"', b"[]"])
def test_post_of_no_object(client: FlaskClient, body: bytes) -> None:
    response = client.post(CUSTOMERS, data=body, content_type="application/json")
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status"),
    [
        ("POST", CUSTOMERS, {"data": "name=Ada"}, 415),
        ("POST", CUSTOMERS, {"data": b"x" * 70_000, "content_type": "application/json"}, 413),
        ("PUT", CUSTOMERS, {"json": {}}, 405),
        ("GET", "/api/v1/nothing", {}, 404),
        ("GET", f"{CUSTOMERS}/99999999999999999999", {}, 404),
        ("GET", f"{CUSTOMERS}/9007199254740992", {}, 404),
        ("GET", f"{CUSTOMERS}/-1", {}, 404),
    ],
)
def test_other_refusals_are_problems_too(
    client: FlaskClient, method: str, path: str, kwargs: dict[str, Any], status: int
) -> None:
    response = client.open(path, method=method, **kwargs)
    assert response.status_code == status
    assert response.get_json()["status"] == status
    assert response.headers["X-Served-By"] == "app-7"


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("kib", [8, 64, 2048])
@pytest.mark.parametrize(("more", "status"), [(0, 503), (1, 413)])
def test_body_may_be_as_large_as_app_json_says(
    settings: Settings, kib: int, says_length: bool, more: int, status: int
) -> None:
    server = structs.replace(settings.file.server, body_kib=kib)
    file = structs.replace(settings.file, server=server)
    client = create_app(dataclasses.replace(settings, file=file)).test_client()
    start, end = b'{"name": "Ada", "email": "ada@example.org"', b"}"
    body = start + b" " * (1024 * kib + more - len(start + end)) + end
    if says_length:
        response = client.post(CUSTOMERS, data=body, content_type="application/json")
    else:
        # As granian gives it: Werkzeug alone would take what fits of it for the whole.
        response = client.post(
            CUSTOMERS,
            input_stream=io.BytesIO(body),
            content_type="application/json",
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
    # No shard is there to be asked.
    assert response.status_code == status
    if status == 413:
        assert response.get_json()["title"] == "Content Too Large"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", CUSTOMERS, None),
        ("GET", f"{CUSTOMERS}/1", None),
        ("POST", CUSTOMERS, {"name": "Ada", "email": "ada@example.org"}),
        ("GET", f"{ORDERS}/1", None),
        ("POST", ORDERS, ORDER),
        ("GET", "/api/v1/users/1", None),
        ("PATCH", "/api/v1/users/1", {"role": "sales"}),
    ],
)
def test_dead_shard_is_503_with_retry_after(
    client: FlaskClient, method: str, path: str, body: object
) -> None:
    response = client.open(path, method=method, json=body)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert "database-" in response.get_json()["detail"]
    assert "canary" not in response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://other.example"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False),
    ],
)
def test_posts_of_other_sites_are_refused(
    client: FlaskClient, headers: dict[str, str], allowed: bool
) -> None:
    response = client.post("/customers", data={"name": "", "email": ""}, headers=headers)
    assert (response.status_code == 403) is not allowed


@pytest.mark.parametrize(("sent", "kept"), [("abc-1.2_3", True), ("", False), ("a b", False)])
def test_request_id_is_taken_when_well_formed(client: FlaskClient, sent: str, kept: bool) -> None:
    answered = client.get("/healthz", headers={"X-Request-ID": sent}).headers["X-Request-ID"]
    assert (answered == sent) is kept
    assert answered


def test_request_ids_of_any_length_are_not_taken(client: FlaskClient) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": "a" * 129})
    assert len(response.headers["X-Request-ID"]) == 32
