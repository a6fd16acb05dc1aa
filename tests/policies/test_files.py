"""Every rule over rendered files denies what it is for, and nothing that is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import crossplane
import pytest

from policies import directives, judge
from policies.files import FILE_RULES
from policies.model import FileRule, Flaw, Problem
from policies.rendered import KINDS, as_rule, judged
from stacks import plan, stack_file
from stacks.errors import CrmError
from stacks.spec_policies import Policies
from tests.edges import BOTH, OWN, RENDERER, configuration, made
from tests.policies.changes import edit
from tests.policies.file_mutations import HAPROXY, MUTATIONS, MYSQL, NGINX, SCHEMA
from tests.policies.judged import TARGETS, TODAY, Stack, planned, production

CASES = [
    pytest.param(rule, *mutation, id=f"{rule.name}-{number}")
    for rule in FILE_RULES
    for number, mutation in enumerate(MUTATIONS[rule.name], start=1)
]
BY_NAME = {rule.name: rule for rule in FILE_RULES}


@cache
def fit(proxy: str) -> Mapping[str, str]:
    """What is rendered of a stack that is fit for production, behind ``proxy``."""
    config = stack_file.read("horizontal")["edge"]
    tls = {"hosts": ["crm.example.com"], "certificate": {"file": "c"}, "key": {"file": "k"}}
    assert isinstance(config, dict)
    spec = production("docker", edge={**config, "proxy": proxy, "tls": tls})
    return RENDERER.tree(plan.make("horizontal", spec))


def found(tree: Mapping[str, str]) -> list[tuple[str, Problem]]:
    return [(rule.name, problem) for rule in FILE_RULES for problem in judged(rule, tree)]


# --- What is rendered ----------------------------------------------------------------------------


@pytest.mark.parametrize("stack", stack_file.names())
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
@pytest.mark.parametrize("tls", [None, {}], ids=["plain", "tls"])
def test_shipped_stack_passes_behind_either_proxy_with_tls_and_without(
    stack: str, proxy: str, tls: dict[str, Any] | None
) -> None:
    config = stack_file.read(stack)
    edge = config["edge"]
    assert isinstance(edge, dict)
    asked = {**edge, "proxy": proxy, **({} if tls is None else {"tls": tls})}
    spec = stack_file.parse({**config, "edge": asked}, stack)
    tree = RENDERER.tree(plan.make(stack, spec))
    assert ("ssl" in tree[NGINX if proxy == "nginx" else HAPROXY]) is (tls is not None)
    assert found(tree) == []


@pytest.mark.parametrize(
    ("proxy", "option"),
    [(proxy, option) for proxy in ("nginx", "haproxy") for option in BOTH]
    + [("haproxy", option) for option in OWN],
)
def test_every_option_of_the_edge_passes(proxy: str, option: str) -> None:
    config = {**BOTH, **OWN}[option]
    assert found(RENDERER.tree(made(proxy, config))) == []


@pytest.mark.parametrize(
    "database",
    [
        {"backup": {"every_hours": 24}},
        {"memory_mib": 8192},
        {"settings": {"long_query_time": 3}},
        {"orders": {"partition_by": "range", "column": "order_date", "start": "2026-01",
                    "interval": "month", "count": 12, "subpartitions": 4, "ahead": 3}},
    ],
    ids=["backup", "large", "setting", "partitions"],
)  # fmt: skip
def test_every_option_of_the_database_passes(database: dict[str, Any]) -> None:
    spec = stack_file.parse({"database": database}, "dev")
    assert found(RENDERER.tree(plan.make("dev", spec))) == []


# --- Mutations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "path", "old", "new"), CASES)
def test_mutation_is_killed_by_its_rule(rule: FileRule, path: str, old: str, new: str) -> None:
    text = fit("nginx" if path == NGINX else "haproxy")[path]
    assert old in text
    changed = text.replace(old, new, 1)
    problems = list(judged(rule, {path: changed}))
    assert problems, "survived"
    assert {problem.resource for problem in problems} == {path}
    # A line that is named is a line of the file; what was put there is found where it stands.
    assert all(0 <= problem.line <= changed.count("\n") + 1 for problem in problems)
    assert list(judged(rule, {path: text})) == []


def test_there_are_enough_mutations_of_every_rule() -> None:
    assert set(MUTATIONS) == set(BY_NAME)
    assert all(len(mutations) >= 3 for mutations in MUTATIONS.values())


def test_finding_names_the_line() -> None:
    text = fit("haproxy")[MYSQL].replace("sync_binlog = 1", "sync_binlog = 0")
    (problem,) = judged(BY_NAME["mysql_durable"], {MYSQL: text})
    line = text.splitlines()[problem.line - 1]
    assert (problem.what, line.split("  #")[0]) == ("sync_binlog is 0", "sync_binlog = 0")
    text = fit("haproxy")[SCHEMA].replace(
        "CREATE TABLE IF NOT EXISTS users", "\n-- a remark\nDROP TABLE x;"
    )
    (problem,) = judged(BY_NAME["sql_keeps_data"], {SCHEMA: text})
    assert text.splitlines()[problem.line - 1].startswith("DROP TABLE x;")


# --- The same way in as for resources ------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_registered_is_judged_by_the_paths_of_what_is_rendered(target: str) -> None:
    stack = Stack(target)
    kind, key = ("Files", "files") if target == "docker" else ("ConfigMap", "data")
    edit(f"{key}/my.cnf", "sync_binlog = 1", "sync_binlog = 0")(
        stack, stack[f"{kind} database-2-files"]
    )
    edit(f"{key}/redis.conf", "maxmemory ", "#maxmemory ")(stack, stack[f"{kind} cache-1-files"])
    edit(f"{key}/haproxy.cfg", "mode 600", "mode 666")(stack, stack[f"{kind} edge-files"])
    edit(f"{key}/schema.sql", "InnoDB", "MyISAM")(stack, stack[f"{kind} schema-files"])
    asked = Policies(production=True)
    places = {(f.rule, f.resource) for f in judge.judge(list(stack), asked, TODAY)}
    assert places == {
        ("mysql_durable", "mysql/database-2/my.cnf"),
        ("redis_memory", "redis/cache-1/redis.conf"),
        ("haproxy_socket", "haproxy/haproxy.cfg"),
        ("sql_tables", "mysql/schema.sql"),
    }


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_that_rules_read_is_among_what_is_registered(target: str) -> None:
    def find(_text: str) -> Iterator[Flaw]:
        yield Flaw(0, "is read")

    read = tuple(dict.fromkeys(path for rule in FILE_RULES for path in rule.reads))
    watch = FileRule(name="limits", reason="", fix="", reads=read, find=find)
    registered = [resource for resource in Stack(target) if resource.kind in KINDS]
    through = {problem.resource for problem in as_rule(watch).find(registered, Policies())}
    assert through == {problem.resource for problem in judged(watch, fit("haproxy"))}
    assert len(through) == 8


@pytest.mark.parametrize("target", TARGETS)
def test_gate_of_the_embedded_engine_refuses_a_setting_of_the_stack_file(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = production(target, database={"settings": {"skip_grant_tables": "ON"}})
    monkeypatch.setattr(stack_file, "load", lambda _stack: spec)
    with pytest.raises(
        CrmError, match=r"mysql_closed \(mandatory\): mysql/database-1/my\.cnf:\d+: skip"
    ):
        planned(spec)


def test_exception_names_the_path_of_a_file() -> None:
    exception = {
        "rule": "mysql_durable",
        "resource": "mysql/database-2/my.cnf",
        "reason": "it is loaded again from the other one, CRM-17",
        "owner": "ada",
        "until": "2027-01-31",
    }
    policies = {"production": True, "exceptions": [exception]}
    asked = stack_file.parse({"policies": policies}, "horizontal").policies
    for shard, expected in (("database-2", []), ("database-1", ["mysql_durable"])):
        stack = Stack("docker")
        edit("files/my.cnf", "sync_binlog = 1", "sync_binlog = 0")(
            stack, stack[f"Files {shard}-files"]
        )
        assert [f.rule for f in judge.judge(list(stack), asked, TODAY)] == expected


def test_file_that_cannot_be_read_fails_closed() -> None:
    stack = Stack("docker")
    files = stack["Files edge-files"].inputs["files"]
    files["nginx.conf"] = "http { server_tokens off;"
    asked = Policies(levels={rule.name: "advisory" for rule in FILE_RULES})
    said = judge.judge(list(stack), asked, TODAY)
    assert {f.rule for f in said} == {name for name in MUTATIONS if name.startswith("nginx_")}
    assert all(f.level == "mandatory" and f"policies/files/{f.rule}.py" in f.fix for f in said)


def test_rules_are_one_a_file() -> None:
    folder = Path(judge.__file__).parent / "files"
    assert list(BY_NAME) == sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")
    assert all(rule.reason and rule.fix and rule.reads for rule in FILE_RULES)


# --- Reading -------------------------------------------------------------------------------------


def test_nginx_is_read_as_nginx_reads_it() -> None:
    text = 'http {\n  # a; b\n  log_format j \'a;{b}\' "c d";\n  if ($x ~ "}") { return 200; }\n}\n'
    assert [(d.line, d.words, len(d.within)) for d in directives.nginx(text)] == [
        (1, ("http",), 0),
        (3, ("log_format", "j", "a;{b}", "c d"), 1),
        (4, ("if", "($x", "~", "}", ")"), 1),
        (4, ("return", "200"), 2),
    ]


@pytest.mark.parametrize("option", BOTH)
def test_nginx_is_read_as_crossplane_reads_it(option: str, tmp_path: Path) -> None:
    text = configuration("nginx", **BOTH[option])
    path = tmp_path / "nginx.conf"
    path.write_text(text)

    def flat(block: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
        for one in block:
            yield one["line"], one["directive"]
            yield from flat(one.get("block") or [])

    parsed = crossplane.parse(str(path), single=True, check_ctx=False, check_args=False)
    assert [(d.line, d.name) for d in directives.nginx(text)] == list(
        flat(parsed["config"][0]["parsed"])
    )


@pytest.mark.parametrize("text", ["http {", "}", "a 'b", "a b", "include a.conf;"])
def test_half_a_file_of_nginx_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line|end"):
        directives.nginx(text)


def test_remarks_and_strings_of_sql_are_no_statements() -> None:
    text = "-- DROP TABLE a;\nSELECT 'x; DROP', 1;\n/* b;\n */ /*!50100 DROP TABLE c */;\n"
    assert [(s.line, s.text) for s in directives.sql(text)] == [
        (2, "SELECT '', 1"),
        (4, "DROP TABLE c"),
    ]
