"""A person uses the CRM through its load balancer. Knows nothing but the base URL."""

from __future__ import annotations

import pytest

from tests.live.client import Answer, call
from tests.live.stack import Stack
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def base(any_stack: Stack) -> str:
    """Where the CRM answers."""
    return any_stack.url


def created(base: str, kind: str, body: dict[str, object]) -> Answer:
    answer = call(f"{base}/api/v1/{kind}", "POST", body)
    assert answer.status == 201, answer.body
    assert answer.headers["location"] == f"/api/v1/{kind}/{answer.json['id']}"
    return answer


def test_customer_and_order_are_read_back(base: str) -> None:
    name = "Zoë Łukasz 山田"
    customer = created(base, "customers", {"name": name, "email": "zoe@example.org"}).json["id"]
    order = created(
        base,
        "orders",
        {"customer_id": customer, "order_date": "2026-03-31", "order_amount": "19.90"},
    ).json["id"]
    assert call(f"{base}/api/v1/customers/{customer}").json["name"] == name
    read = call(f"{base}/api/v1/orders/{order}").json
    assert (read["customer_id"], read["order_date"]) == (customer, "2026-03-31")
    assert read["order_amount"] == "19.90"
    listed = call(f"{base}/api/v1/orders?customer_id={customer}").json["items"]
    assert [item["id"] for item in listed] == [order]
    # Ids of one second are in no order, and others may have been made in it: from this one on.
    page = call(f"{base}/customers?cursor={customer + 1}").body.decode()
    assert f'<a href="/customers/{customer}">' in page
    assert str(order) in call(f"{base}/orders?customer_id={customer}").body.decode()


def test_customer_is_changed_and_deleted(base: str) -> None:
    customer = created(base, "customers", {"name": "Old", "email": "o@example.org"}).json["id"]
    address = f"{base}/api/v1/customers/{customer}"
    assert call(address, "PATCH", {"name": "New"}).status == 200
    assert call(address).json["name"] == "New"
    assert call(address, "DELETE").status == 204
    assert call(address).status == 404


def test_user_is_read_through_the_cache(base: str) -> None:
    user = created(
        base, "users", {"name": "Grace", "email": "grace@example.org", "role": "sales"}
    ).json["id"]
    address = f"{base}/api/v1/users/{user}"
    assert call(address).json["name"] == "Grace"
    # Replicas count their own; so many reads give some replica a second one.
    before = hits(base)
    for _ in range(12):
        assert call(address).json["role"] == "sales"
    assert sum(hits(base).values()) > sum(before.values())
    assert call(address, "PATCH", {"role": "support"}).status == 200
    assert {call(address).json["role"] for _ in range(9)} == {"support"}


def hits(base: str) -> dict[str, int]:
    """Cache hits by replica, as far as a few requests meet them."""
    seen: dict[str, int] = {}
    for _ in range(9):
        answer = call(f"{base}/api/v1/figures")
        seen[answer.headers["x-served-by"]] = int(answer.json["cache"]["hits"])
    return seen


def test_every_answer_says_who_served_it(base: str) -> None:
    for path in ("/", "/customers", "/orders", "/users", "/api/v1/customers", "/healthz", "/no"):
        assert call(base + path).headers["x-served-by"].startswith("app-"), path


def test_health_and_readiness(base: str) -> None:
    assert call(f"{base}/healthz").status == 200

    def all_is_up() -> bool:
        ready = call(f"{base}/readyz")
        if ready.status != 200:
            return False
        found = [*ready.json["shards"].values(), ready.json["cache"]]
        return len(found) > 1 and {state["status"] for state in found} == {"up"}

    # Each replica looks for itself, and not for long.
    wait_until(all_is_up, "every shard and the cache are up", 15)


def test_what_cannot_be_is_refused_with_a_reason(base: str) -> None:
    assert call(f"{base}/api/v1/customers/1").status == 404
    missing = call(f"{base}/api/v1/customers", "POST", {"name": "No address"})
    assert missing.status == 400
    assert "email" in missing.body.decode()
    order = {"customer_id": 1, "order_date": "2026-03-31", "order_amount": "1.00"}
    assert call(f"{base}/api/v1/orders", "POST", order).status == 404
    customer = created(base, "customers", {"name": "X", "email": "x@example.org"}).json["id"]
    bad = {"customer_id": customer, "order_date": "31.3.2026", "order_amount": "1.00"}
    assert "order_date" in call(f"{base}/api/v1/orders", "POST", bad).body.decode()


def test_application_knows_the_name_and_port_it_is_asked_for(base: str) -> None:
    """Forms of the site itself are taken, whatever it is called; those of others are not."""
    body = {"name": "Form", "email": "form@example.org"}
    asked = {"Host": "crm.example.org:8443", "Origin": "https://crm.example.org:8443"}
    assert call(f"{base}/api/v1/customers", "POST", body, asked).status == 201
    for other in ("https://crm.example.org", "https://elsewhere.example.org:8443"):
        named = {**asked, "Origin": other, "X-Forwarded-Host": other.partition("//")[2]}
        refused = call(f"{base}/api/v1/customers", "POST", body, named)
        assert refused.status == 403, other
        assert "another site" in refused.body.decode()


def test_two_reads_of_the_figures_differ(base: str) -> None:
    first = call(f"{base}/api/v1/figures").json
    for _ in range(9):
        call(f"{base}/api/v1/customers")
    seen = [call(f"{base}/api/v1/figures").json for _ in range(6)]
    assert any(figures != first for figures in seen)
    assert b"# TYPE" in call(f"{base}/metrics").body
