"""Pages stay up when what they show is down, and keep what was typed."""

import re

import pytest
from flask.testing import FlaskClient

from crm import customers
from crm.customers import Customer, PageQuery
from crm.rows import Page


def test_dashboard_shows_what_is_down(client: FlaskClient) -> None:
    response = client.get("/")
    page = response.get_data(as_text=True)
    assert response.status_code == 200
    assert "unready" in page
    assert "database-2" in page
    assert "app-7" in page


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"X-Edge": "haproxy, least_connections"}, "Behind haproxy, least connections."),
        ({"X-Edge": "<b>nginx</b>"}, "Behind &lt;b&gt;nginx&lt;/b&gt;."),
        ({}, "Behind no load balancer."),
    ],
)
def test_dashboard_shows_the_edge_that_asked(
    client: FlaskClient, headers: dict[str, str], shown: str
) -> None:
    assert shown in client.get("/", headers=headers).get_data(as_text=True)


def test_pages_need_no_inline_script_or_style(client: FlaskClient) -> None:
    response = client.get("/")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search(r"<script|<style|style=|\son[a-z]+=", response.get_data(as_text=True))


def test_page_of_a_dead_shard_says_so(client: FlaskClient) -> None:
    response = client.get("/customers")
    assert response.status_code == 503
    assert response.mimetype == "text/html"
    assert "Service Unavailable" in response.get_data(as_text=True)


def test_form_with_a_mistake_comes_back_with_what_was_typed(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def page(_: PageQuery) -> Page[Customer]:
        return Page([], None, ["database-2"])

    monkeypatch.setattr(customers, "page", page)
    response = client.post("/customers", data={"name": '<b>"Ada"</b>', "email": "nobody"})
    text = response.get_data(as_text=True)
    assert response.status_code == 400
    assert "an address such as ada@example.org" in text
    assert 'value="&lt;b&gt;&#34;Ada&#34;&lt;/b&gt;"' in text
    assert "rows of database-2" in text
