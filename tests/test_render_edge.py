"""The load balancing in both proxies' words: the same policy, said twice."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests import edges
from tests.edges import ORDERS, TO_ORDERS, configuration, section

PROXIES = ("nginx", "haproxy")


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


# --- Algorithms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "nginx", "haproxy"),
    [
        ("round_robin", None, ["balance roundrobin"]),
        ("random", "random two least_conn;", ["balance random(2)"]),
        ("weighted", None, ["balance roundrobin"]),
        ("least_connections", "least_conn;", ["balance leastconn"]),
        (
            "hash-address",
            "hash $remote_addr consistent;",
            ["balance source", "hash-type consistent sdbm avalanche"],
        ),
        (
            "hash-header",
            "hash $key_of_app consistent;",
            ["balance hdr(X-Customer-ID)", "hash-type consistent sdbm avalanche"],
        ),
        (
            "hash-cookie",
            "hash $key_of_app consistent;",
            ["balance hash req.cook(Session)", "hash-type consistent sdbm avalanche"],
        ),
    ],
)
def test_algorithm_is_said_in_each_proxys_words(
    name: str, nginx: str | None, haproxy: list[str]
) -> None:
    upstream = section(configuration("nginx", **edges.BOTH[name]), "upstream app")
    others = ("zone ", "server ", "keepalive", "#")
    said = [line for line in upstream if line and not line.startswith(others)]
    assert said == ([nginx] if nginx else [])
    backend = section(configuration("haproxy", **edges.BOTH[name]), "backend app")
    assert [line for line in backend if line.startswith(("balance", "hash-type"))] == haproxy


@pytest.mark.parametrize(
    ("name", "variable"),
    [("hash-header", "$http_x_customer_id"), ("hash-cookie", "$cookie_session")],
)
def test_request_without_a_key_goes_to_any_replica(name: str, variable: str) -> None:
    text = configuration("nginx", **edges.BOTH[name])
    # An empty key would hash all of them to one replica.
    assert section(text, f"map {variable} $key_of_app") == [
        '"" $request_id;',
        f"default {variable};",
    ]


def test_first_is_haproxys() -> None:
    assert "balance first" in section(configuration("haproxy", **edges.OWN["first"]), "backend app")


def test_weights_are_those_of_the_stack() -> None:
    nginx = configuration("nginx", **edges.BOTH["weighted"])
    assert re.findall(r"server (\S+):8000 weight=(\d+)", nginx) == [("app-1", "3"), ("app-2", "1")]
    haproxy = configuration("haproxy", **edges.BOTH["weighted"])
    shares = re.findall(r"server (\S+) (\S+):8000 id (\d+) weight (\d+)", haproxy)
    assert shares == [
        ("app-1", "app-1", "1", "48"),
        ("app-2", "app-2", "2", "16"),
        # The replicas that take their places answer to the same names.
        ("app-1-next", "app-1", "1001", "48"),
        ("app-2-next", "app-2", "1002", "16"),
    ]


def test_sticky_is_a_cookie_that_scripts_cannot_read() -> None:
    assert "sticky cookie crm_edge path=/ httponly samesite=lax;" in configuration(
        "nginx", **edges.BOTH["sticky"]
    )
    text = configuration("haproxy", **edges.BOTH["sticky"])
    assert 'cookie crm_edge insert indirect nocache httponly attr "SameSite=Lax"' in text
    # Who came to the one stays with the one that takes its place.
    assert re.findall(r"server (\S+) .* cookie (\S+)", text) == [
        ("app-1", "app-1"),
        ("app-2", "app-2"),
        ("app-1-next", "app-1"),
        ("app-2-next", "app-2"),
    ]


@pytest.mark.parametrize("proxy", PROXIES)
def test_sticky_cookie_is_sent_over_https_only_where_all_is_https(proxy: str) -> None:
    cookie = re.compile(r"^\s*(?:sticky )?cookie crm_edge .*\bsecure\b", re.MULTILINE)
    assert cookie.search(configuration(proxy, **edges.BOTH["tls-self-made"]))
    assert not cookie.search(configuration(proxy, **edges.BOTH["sticky"]))
    # A browser would not send it over the plain HTTP that is answered beside.
    assert not cookie.search(configuration(proxy, **edges.BOTH["tls-sticky-and-plain"]))


# --- Addresses -----------------------------------------------------------------------------------


def test_nginx_asks_for_changed_addresses_on_docker_alone() -> None:
    docker, kubernetes = (configuration("nginx", target=t) for t in ("docker", "kubernetes"))
    servers = [line for line in lines_of(docker) if line.startswith("server app-")]
    assert servers
    assert all(line.endswith(" resolve;") for line in servers)
    assert "resolver 127.0.0.11 valid=1s ipv6=off;" in docker
    assert "resolve" not in kubernetes


def test_haproxy_asks_for_changed_addresses_only_where_they_change() -> None:
    # Its resolver knows no search domains: on Kubernetes it would look for the bare name `app-1`,
    # be told that there is none, and take every replica out.
    lines = lines_of(configuration("haproxy"))
    start = lines.index(".if defined(KUBERNETES_SERVICE_HOST)")
    assert lines[start : start + 5] == [
        ".if defined(KUBERNETES_SERVICE_HOST)",
        "default-server init-addr libc",
        ".else",
        "default-server init-addr last,libc,none resolvers docker resolve-prefer ipv4",
        ".endif",
    ]
    assert sum("resolvers docker" in line for line in lines) == 2


def test_haproxy_has_a_second_server_for_each_replica_only_where_two_answer_to_its_name() -> None:
    backend = section(configuration("haproxy", app={"replicas": 2}), "backend app")
    start, end = backend.index(".if !defined(KUBERNETES_SERVICE_HOST)"), backend.index(".endif")
    second = [i for i, line in enumerate(backend) if re.match(r"server app-\d-next ", line)]
    assert [start < i < end for i in second] == [True, True]
    scaled = configuration("haproxy", **edges.BOTH["autoscaled"])
    assert "-next" not in scaled


@pytest.mark.parametrize(
    ("proxy", "line"), [("nginx", "keepalive_time 5s;"), ("haproxy", "http-reuse never")]
)
def test_proxies_connect_anew_where_replicas_come_and_go_behind_one_name(
    proxy: str, line: str
) -> None:
    assert lines_of(configuration(proxy, **edges.BOTH["autoscaled"])).count(line) == 2
    assert line not in lines_of(configuration(proxy, **edges.BOTH["kubernetes"]))


# --- Routes --------------------------------------------------------------------------------------


def test_nginx_gives_a_route_its_path_and_what_is_below_it() -> None:
    text = configuration("nginx", **edges.BOTH["services"])
    for location in ("location = /api/v1/orders", "location /api/v1/orders/"):
        assert section(text, location)[:4] == [
            "set $pool orders;",
            "set $route 1;",
            "proxy_read_timeout 30s;",
            "proxy_pass http://orders;",
        ]
    assert "proxy_read_timeout 600s;" in section(text, "location /reports/")
    assert section(text, "location /") == [
        "set $pool app;",
        "set $route 0;",
        "proxy_pass http://app;",
    ]


def test_haproxy_tries_longer_prefixes_first() -> None:
    frontend = section(configuration("haproxy", **edges.BOTH["services"]), "frontend edge")
    assert [
        line for line in frontend if line.startswith(("acl route", "use_backend", "default_b"))
    ] == [
        "acl route_1 var(txn.path) -m str /api/v1/orders",
        "acl route_1 var(txn.path) -m beg /api/v1/orders/",
        "use_backend orders if route_1",
        "acl route_2 var(txn.path) -m str /reports",
        "acl route_2 var(txn.path) -m beg /reports/",
        "use_backend long-reports if route_2",
        "acl route_3 var(txn.path) -m str /api",
        "acl route_3 var(txn.path) -m beg /api/",
        "use_backend app if route_3",
        "default_backend app",
    ]
    text = configuration("haproxy", **edges.BOTH["services"])
    patience = (
        "http-request set-timeout server {}s "
        "if {{ var(txn.path) -m str {} }} || {{ var(txn.path) -m beg {}/ }}"
    )
    reports, api = section(text, "backend long-reports"), section(text, "backend app")
    assert patience.format(600, "/reports", "/reports") in reports
    assert [line for line in api if "set-timeout" in line] == [patience.format(5, "/api", "/api")]


ODD_PATHS = [
    *("/a/../b", "/a/./b", "/..", "/a/.", "/%2e%2e/b", "/a/.%2E/b", "/a%2f..%2Fb", "//../b"),
    *("/a/..?x=1", "/a/%2e"),
]
USUAL_PATHS = [
    *("/", "/api/v1/orders/17", "/.well-known/x", "/a/...", "/a/..b", "/a../b", "/a//b", "/a%2Fb"),
    *("/a?next=/../b", "/a?next=%2e%2e/", "/a%252e%252e/b"),
]


@pytest.mark.parametrize(
    ("path", "odd"),
    [*((path, True) for path in ODD_PATHS), *((path, False) for path in USUAL_PATHS)],
)
def test_nginx_refuses_paths_with_dots_as_haproxy_does(path: str, odd: bool) -> None:
    # HAProxy's own words are judged by the live tests of routes.
    lines = section(configuration("nginx"), "map $request_uri $odd_path")
    patterns = [line.split('"')[1] for line in lines if line.endswith('" 1;')]
    assert len(patterns) == 2
    found = [
        re.search(pattern.removeprefix("~*").removeprefix("~"), path, re.IGNORECASE)
        for pattern in patterns
    ]
    assert any(found) == odd


@pytest.mark.parametrize("proxy", PROXIES)
def test_service_is_checked_at_its_own_path(proxy: str) -> None:
    services = {"orders": {**ORDERS, "health_path": "/orders/ok"}}
    text = configuration(
        proxy, app={"health_path": "/alive"}, services=services, edge={"routes": [TO_ORDERS]}
    )
    # nginx has no active checks.
    expected = {"nginx": [], "haproxy": ["/alive", "/orders/ok"]}[proxy]
    assert re.findall(r"http-check send meth GET uri (\S+)", text) == expected


# --- Limits and time-outs ------------------------------------------------------------------------


def test_limits_and_timeouts_reach_nginx() -> None:
    lines = lines_of(configuration("nginx", **edges.BOTH["limits"]))
    assert {
        "limit_req_zone $binary_remote_addr zone=clients:10m rate=20r/s;",
        "limit_req zone=clients burst=40 nodelay;",
        "limit_req_status 429;",
        "client_max_body_size 64k;",
        "client_body_timeout 20s;",
        "client_header_timeout 20s;",
        "keepalive_timeout 30s;",
        "proxy_connect_timeout 2s;",
        "proxy_read_timeout 10s;",
        "proxy_next_upstream off;",
        "listen 9200;",
    } <= set(lines)
    assert any(" max_conns=5 " in line for line in lines)


def test_limits_and_timeouts_reach_haproxy() -> None:
    lines = lines_of(configuration("haproxy", **edges.BOTH["limits"]))
    assert {
        "stick-table type ip size 100k expire 10s store gpc0_rate(2s)",
        "http-request deny deny_status 429 if { sc_gpc0_rate(0) ge 40 }",
        "timeout connect 2s",
        "timeout server 10s",
        "timeout client 20s",
        "timeout http-request 20s",
        "timeout http-keep-alive 30s",
        "retries 0",
        "retry-on none",
        "bind :9200",
    } <= set(lines)
    assert any("req.hdr(content-length) -m int gt 65536" in line for line in lines)
    assert any(" maxconn 5" in line for line in lines)


def test_haproxy_counts_what_it_took_and_not_what_it_refused() -> None:
    # Else a client of a little too many requests would be answered none of them any more.
    lines = lines_of(configuration("haproxy", **edges.BOTH["limits"]))
    refusing = next(i for i, line in enumerate(lines) if "sc_gpc0_rate(0)" in line)
    assert lines[refusing + 1] == "http-request sc-inc-gpc0(0)"
    assert "http_req_rate" not in "".join(lines)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(("kib", "said"), [(None, 64), (8, 8), (2048, 2048)])
def test_application_takes_the_bodies_that_the_edge_lets_through(
    proxy: str, kib: int | None, said: int
) -> None:
    limits = {} if kib is None else {"edge": {"limits": {"body_kib": kib}}}
    tree = edges.RENDERER.tree(edges.made(proxy, limits))
    assert json.loads(tree["app/app.json"])["server"]["body_kib"] == said
    limit = {"nginx": f"client_max_body_size {said}k;", "haproxy": f"-m int gt {said * 1024} }}"}
    assert limit[proxy] in tree[edges.CONFIGURATION[proxy]]
    # The schema job is not run again for it.
    assert "body_kib" not in tree["app/job.json"]


def test_queue_and_slow_start_reach_haproxy() -> None:
    backend = section(configuration("haproxy", **edges.OWN["queue"]), "backend app")
    assert "timeout queue 3s" in backend
    assert "http-request deny deny_status 503 if { queue ge 10 }" in backend
    text = configuration("haproxy", **edges.OWN["slow-start"])
    assert len(re.findall(r"server app-\S+ .* slowstart 20s", text)) == 4
    assert "slowstart" not in configuration("haproxy")


@pytest.mark.parametrize("proxy", PROXIES)
def test_clients_are_counted_only_where_the_stack_says_how_many(proxy: str) -> None:
    assert not re.search("limit_req|stick-table|track-sc0", configuration(proxy))


def test_request_that_must_not_be_carried_out_twice_is_not_repeated() -> None:
    haproxy = lines_of(configuration("haproxy"))
    assert "http-request disable-l7-retry if METH_POST or { method PATCH LOCK }" in haproxy
    nginx = configuration("nginx")
    assert "proxy_next_upstream error timeout;" in nginx
    assert "proxy_next_upstream_tries 3;" in nginx
    # That would repeat a POST, too.
    assert "non_idempotent" not in nginx


# --- What clients and replicas are told ----------------------------------------------------------

TOLD: dict[str, list[str]] = {
    "nginx": [
        "proxy_set_header Host $asked_host;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        'proxy_set_header X-Forwarded-Host "";',
        'proxy_set_header Forwarded "";',
        'proxy_set_header X-Edge "nginx, random";',
    ],
    "haproxy": [
        "http-request set-header X-Real-IP %[src]",
        "http-request set-header X-Forwarded-For %[src]",
        "http-request set-header X-Forwarded-Proto http",
        "http-request del-header X-Forwarded-Host",
        "http-request del-header Forwarded",
        'http-request set-header X-Edge "haproxy, random"',
    ],
}


@pytest.mark.parametrize("proxy", PROXIES)
def test_proxy_says_whom_it_speaks_for_and_believes_no_client(proxy: str) -> None:
    text = configuration(proxy, edge={"algorithm": "random"})
    assert set(TOLD[proxy]) <= set(lines_of(text))
    # Appending would pass on what a client claims about itself.
    assert "$proxy_add_x_forwarded_for" not in text
    assert "option forwardfor" not in text
    # HAProxy passes Host on as it came unless told otherwise.
    assert "set-header Host" not in text


@pytest.mark.parametrize("proxy", PROXIES)
def test_overload_is_a_problem_and_says_when_to_come_back(proxy: str) -> None:
    text = configuration(proxy)
    for status, title in (
        *((429, "Too Many Requests"), (502, "Bad Gateway"), (503, "Service Unavailable")),
        *((504, "Gateway Timeout"), (413, "Content Too Large")),
    ):
        assert f'"title":"{title}","status":{status},"request_id":"' in text
    if proxy == "haproxy":
        told = re.findall(r"http-error status (\d+) .* hdr Retry-After 1$", text, re.MULTILINE)
        assert told == ["429", "503"]
    else:
        assert section(text, "map $status $retry_after") == [
            *("429 1;", "503 $retry_503;", 'default "";')
        ]


# --- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", PROXIES)
def test_plain_http_leads_to_https_by_a_name_that_is_the_stacks(proxy: str) -> None:
    text = configuration(proxy, **edges.BOTH["tls"])
    if proxy == "nginx":
        assert "return 308 https://$known_host$request_uri;" in text
        assert section(text, "map $host $known_host")[0] == "default crm.example.com;"
    else:
        assert "redirect code 308 location https://%[var(txn.host)]%[pathq]" in text
        known = [f"acl known_host var(txn.host) -m str {name}" for name in ("crm.example.com", "b")]
        assert section(text, "frontend edge_plain")[-5:-2] == [
            *known,
            "http-request set-var(txn.host) str(crm.example.com) unless known_host",
        ]
    other = configuration(proxy, **edges.BOTH["tls-modern-and-plain"])
    assert "308" not in other
    assert re.search(r"(listen |bind :)8080\b", other)


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize(
    ("name", "seconds"),
    [("tls", 63_072_000), ("tls-self-made", None), ("tls-modern-and-plain", 60)],
)
def test_browsers_insist_on_https_for_as_long_as_the_stack_says(
    proxy: str, name: str, seconds: int | None
) -> None:
    text = configuration(proxy, **edges.BOTH[name])
    assert re.findall(r"max-age=(\d+)", text) == ([str(seconds)] if seconds else [])


@pytest.mark.parametrize(
    ("proxy", "old", "new"),
    [
        ("nginx", "ssl_protocols TLSv1.2 TLSv1.3;", "ssl_protocols TLSv1.3;"),
        ("haproxy", "ssl-min-ver TLSv1.2 no-tls-tickets", "ssl-min-ver TLSv1.3 no-tls-tickets"),
    ],
)
def test_profile_decides_the_oldest_protocol(proxy: str, old: str, new: str) -> None:
    intermediate = configuration(proxy, **edges.BOTH["tls"])
    modern = configuration(proxy, **edges.BOTH["tls-modern-and-plain"])
    assert (old in intermediate, new in intermediate) == (True, False)
    assert (old in modern, new in modern) == (False, True)


@pytest.mark.parametrize("proxy", PROXIES)
def test_keys_come_by_the_name_of_a_secret_and_never_by_a_file_of_the_stack(proxy: str) -> None:
    planned = edges.made(proxy, edges.BOTH["tls"])
    files: dict[str, Any] = edges.RENDERER.tree(planned)
    assert "/etc/crm/secrets" in files[edges.CONFIGURATION[proxy]]
    assert not [path for path, text in files.items() if re.search(r"crm\.pem|CRM_SECRET", text)]


# --- Metrics -------------------------------------------------------------------------------------


def test_metrics_are_offered_on_a_port_of_their_own() -> None:
    haproxy = section(configuration("haproxy"), "frontend edge_metrics")
    assert haproxy[0] == "bind :9113"
    assert "http-request use-service prometheus-exporter if { path /metrics }" in haproxy
    nginx = configuration("nginx")
    assert nginx.count("js_content metrics.expose;") == 1
    assert re.search(r"listen 9113;(?s:.)*location = /metrics \{\s*js_content", nginx)
