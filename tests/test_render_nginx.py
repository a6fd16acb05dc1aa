"""Every nginx configuration there can be, before outside judges: crossplane and gixy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import inspect

from stacks import stack_file
from stacks.spec_edge import Edge
from tests import edges, nginx_judges
from tests.nginx_text import without_dockers

ALL = [*stack_file.names(), *edges.BOTH]

ACCEPTED = {
    # A self-made certificate is for development: who insists on HTTPS is shut out by the next one.
    "tls-self-made": {"hsts_header"},
}
"""Findings of gixy's that are meant, by stack."""

FLAWS = [
    (
        "alias_traversal",
        "        location / {\n            set $pool app;",
        "        location /files { alias /srv/files/; }\n"
        "        location / {\n            set $pool app;",
    ),
    ("host_spoofing", "proxy_set_header Host $asked_host;", "proxy_set_header Host $http_host;"),
    ("http_splitting", 'return 200 "ok\\n";', "return 302 https://crm.example.com$uri;"),
    ("ssrf", "proxy_pass http://app;", "proxy_pass http://$arg_host;"),
    ("weak_ssl_tls", "ssl_protocols TLSv1.2 ", "ssl_protocols TLSv1 TLSv1.2 "),
    ("version_disclosure", "server_tokens off;", "server_tokens on;"),
    ("hsts_header", "add_header Strict-Transport-Security $hsts always;", ""),
]


def text_of(name: str) -> str:
    if name in edges.BOTH:
        return edges.configuration("nginx", **edges.BOTH[name])
    return edges.shipped(name)


def used(value: object) -> Iterator[str]:
    """Every key there is in ``value``, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from used(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from used(inner)


def options(kind: inspect.Type) -> Iterator[str]:
    """Every key of ``kind``, at any depth."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield field.encode_name
            yield from options(field.type)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from options(member)
    elif isinstance(kind, inspect.VarTupleType):
        yield from options(kind.item_type)


def test_stacks_that_are_judged_use_every_option_of_the_edge() -> None:
    plain = {"proxy", "address", "port", "memory_mib", "config"}
    wanted = set(options(inspect.type_info(Edge))) - plain
    assert wanted <= set(used(list({**edges.BOTH, **edges.OWN}.values())))


@pytest.mark.parametrize("name", ALL)
def test_nginx_conf_is_parsed_by_crossplane(name: str, tmp_path: Path) -> None:
    found, errors = nginx_judges.parsed(text_of(name), tmp_path)
    assert errors == []
    assert [d["directive"] for d in found if d.get("block")] == ["events", "http"]


@pytest.mark.parametrize("name", ALL)
def test_gixy_finds_nothing(name: str, tmp_path: Path) -> None:
    found = nginx_judges.findings(text_of(name), tmp_path)
    assert {line.partition(":")[0] for line in found} == ACCEPTED.get(name, set()), found


@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        ("random two least_conn;", "rnadom;", 'unknown directive "rnadom"'),
        ("js_path /etc/crm;", "js_path;", 'invalid number of arguments in "js_path" directive'),
        (
            "        location = /edge/healthz {",
            "        js_content metrics.expose;\n        location = /edge/healthz {",
            '"js_content" directive is not allowed here',
        ),
        ("http {", "http {{", 'unexpected end of file, expecting "}"'),
    ],
)
def test_crossplane_would_refuse_a_planted_mistake(
    right: str, wrong: str, error: str, tmp_path: Path
) -> None:
    text = text_of("random")
    assert right in text
    _, errors = nginx_judges.parsed(text.replace(right, wrong, 1), tmp_path)
    assert any(error in said for said in errors), errors


@pytest.mark.parametrize("name", sorted(nginx_judges.NEWER))
def test_directive_taught_to_crossplane_is_one_we_use(name: str) -> None:
    texts = "".join(map(text_of, ALL))
    assert re.search(rf"^\s*{name} ", texts, re.MULTILINE)


@pytest.mark.parametrize(("plugin", "right", "flaw"), FLAWS, ids=[flaw[0] for flaw in FLAWS])
def test_gixy_would_find_a_planted_flaw(plugin: str, right: str, flaw: str, tmp_path: Path) -> None:
    text = text_of("tls")
    assert right in text
    found = nginx_judges.findings(text.replace(right, flaw), tmp_path)
    assert plugin in {line.partition(":")[0] for line in found}


def test_targets_differ_in_what_dockers_addresses_need_and_nothing_else() -> None:
    app = {"replicas": 3}
    docker = edges.configuration("nginx", app=app)
    kubernetes = edges.configuration("nginx", app=app, target="kubernetes")
    assert docker != kubernetes
    assert without_dockers(docker) == kubernetes == without_dockers(kubernetes)
    assert "resol" not in kubernetes


def test_zones_have_names_of_their_own_whatever_services_are_called() -> None:
    # nginx refuses one that is "already declared for a different use".
    names = ("clients", "figures", "tls")
    text = edges.configuration(
        "nginx",
        edge={
            "routes": [{"prefix": f"/{name}", "service": name} for name in names],
            "limits": {"client_requests_per_second": 5},
            "tls": {},
        },
        services=dict.fromkeys(names, edges.ORDERS),
    )
    makes = r"zone |limit_req_zone .* zone=|js_shared_dict_zone zone=|ssl_session_cache shared:"
    zones = re.findall(rf"^\s*(?:{makes})([\w-]+)", text, re.MULTILINE)
    assert len(zones) == len(set(zones)) == 7


def test_nginx_asks_again_what_no_replica_could_be_reached_for_where_addresses_change() -> None:
    text = edges.configuration("nginx", **edges.BOTH["services"])
    # To the same pool and with the same patience, once: the next failure is the answer.
    again = edges.section(text, "location @again_1")
    assert again == [
        "recursive_error_pages on;",
        "error_page 502 = @bad_gateway;",
        "error_page 504 = @too_slow;",
        "proxy_read_timeout 30s;",
        "proxy_pass http://orders;",
    ]
    assert edges.section(text, "location @again_0")[-1] == "proxy_pass http://app;"
    assert "@again" not in edges.configuration("nginx", edge={"retries": 0})
    assert "@again" not in edges.configuration("nginx", **edges.BOTH["kubernetes"])


@pytest.mark.parametrize(
    ("connect_times", "addresses", "again"),
    [
        ("-", "10.0.0.2:8000", True),
        ("0.001, -", "10.0.0.2:8000, 10.0.0.3:8000", True),
        # It was reached: what it did with the request is not known.
        ("0.001", "10.0.0.2:8000", False),
        ("-, 0.001", "10.0.0.2:8000, 10.0.0.3:8000", False),
        # None was asked, as all have enough to do: one more question would not help.
        ("-", "app", False),
    ],
)
def test_nginx_asks_again_only_what_was_not_sent(
    connect_times: str, addresses: str, again: bool
) -> None:
    text = edges.configuration("nginx", **edges.BOTH["services"])
    found = re.findall(r'^\s*"~(\S.*)" @again_\$route;', text, re.MULTILINE)
    assert len(found) == 2
    for pattern in found:
        assert bool(re.search(pattern, f"{connect_times} {addresses}")) == again
