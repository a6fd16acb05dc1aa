"""``crm check``: all findings at once, at lines that code hosts can show, as SARIF and JUnit."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif

from policies.judge import RULES
from stacks import check_places, check_report, plan, render, stack_file
from stacks.check_report import Place, Report, Shown
from stacks.cli import main
from tests.project import Project, copy
from tests.sql_lint.recorded import FOLDER

NOWHERE = "unix:///nowhere/docker.sock"
STACK = "stacks/config/Pulumi.wrong.yaml"
WRONG = """\
config:
  crm:target: docker
  crm:edge:
    proxy: nginx
  crm:database:
    memory_mib: 768
    settings:
      skip_grant_tables: "ON"
  crm:policies:
    production: true
    levels:
      redundancy: advisory
    exceptions:
      - rule: closed_ports
        resource: edge
        reason: the importer comes in by it
        owner: bob
        until: "2099-12-31"
      - rule: limits
        resource: edge
        reason: measured in the next sprint
        owner: ada
        until: "2026-01-31"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy(tmp_path_factory.mktemp("project"))


def results(path: Path) -> list[dict[str, Any]]:
    """The results of a SARIF file that is as the official schema wants it."""
    text = path.read_text(encoding="utf-8")
    Sarif.model_validate_json(text)
    (run,) = json.loads(text)["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    found: list[dict[str, Any]] = run["results"]
    return found


def places(found: list[dict[str, Any]]) -> set[tuple[str, str, str, int]]:
    shown = set()
    for result in found:
        (location,) = result["locations"]
        artifact = location["physicalLocation"]["artifactLocation"]
        assert artifact.get("uriBaseId") == "%SRCROOT%"
        line = location["physicalLocation"]["region"]["startLine"]
        shown.add((result["ruleId"], result["level"], artifact["uri"], line))
    return shown


def cases(path: Path) -> dict[str, ElementTree.Element]:
    """JUnit's cases by name; its counts are right."""
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    (suite,) = root
    found = {str(case.get("name")): case for case in suite}
    assert len(found) == len(suite)
    for counted in (root, suite):
        assert counted.get("tests") == str(len(suite))
        assert counted.get("failures") == str(len(suite.findall("testcase/failure")))
    return found


# --- A stack -------------------------------------------------------------------------------------


def test_all_findings_are_reported_at_once_each_at_its_line(project: Project) -> None:
    project.write_stack("wrong", WRONG)
    template = "templates/nginx/nginx.conf.j2"
    project.edit(template, "server_tokens off", "server_tokens on")
    project.edit(template, "    send_timeout 30s;\n", "")
    arguments = ("check", "wrong", "--sarif", "found.sarif", "--junit", "found.xml")
    done = project.crm(*arguments, DOCKER_HOST=NOWHERE)
    assert done.code == 1
    for said in (
        "nginx_quiet (mandatory): nginx/nginx.conf:",
        "ended on 2026-01-31",
        "Docker does",
    ):
        assert said in done.err

    lines = (project.root / template).read_text().splitlines()
    tokens = 1 + lines.index("    server_tokens on;")
    assert places(results(project.root / "found.sarif")) == {
        ("backup_in_production", "error", STACK, 5),
        ("exceptions", "error", STACK, 19),
        ("mysql_closed", "error", STACK, 8),
        ("nginx_quiet", "error", template, tokens),
        ("nginx_timeouts", "error", template, 1),
        ("proxy", "error", STACK, 1),
        ("redundancy", "warning", STACK, 1),
        ("required_labels", "error", STACK, 1),
        ("required_labels", "error", STACK, 3),
        ("required_labels", "error", STACK, 5),
        ("tls_in_production", "error", STACK, 3),
    }
    found = cases(project.root / "found.xml")
    asked = {"stack_file", "templates", "policies", "sql", "proxy", "exceptions"}
    assert set(found) == asked | {rule.name for rule in RULES}
    failed = {name for name, case in found.items() if case.find("failure") is not None}
    assert failed == {
        *("exceptions", "mysql_closed", "nginx_quiet", "nginx_timeouts", "proxy"),
        *("backup_in_production", "required_labels", "tls_in_production"),
    }
    told = found["redundancy"].find("system-out")
    assert told is not None
    assert str(told.text).startswith(f"{STACK}:1: app: has 1 of the 2 replicas")


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("config:\n  crm:app:\n    replicas: 0\n", STACK, 3),
        ("config:\n  crm:app:\n    replica: 1\n", STACK, 3),
        ("config:\n  crm:app:\n    cpus: 1\n    cpus: 2\n", STACK, 4),
        ("config:\n  crm:app: [\n", STACK, 3),
        ("config:\n  crm:edge:\n    port: 3306\n", STACK, 3),
        ("config:\n  crm:database:\n    settings:\n      sync_binlog: 0\n", STACK, 4),
    ],
)  # fmt: skip
def test_refused_stack_file_is_shown_at_its_key(
    project: Project, text: str, path: str, line: int
) -> None:
    project.write_stack("wrong", text)
    done = project.crm("check", "wrong", "--sarif", "f.sarif", "--junit", "f.xml")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: {STACK}: ")
    found = results(project.root / "f.sarif")
    assert places(found) == {("stack_file", "error", path, line)}
    assert f"error: {found[0]['message']['text']}\n" == done.err
    assert list(cases(project.root / "f.xml")) == ["stack_file"]


def test_broken_template_is_shown_at_its_line(project: Project) -> None:
    project.write_stack("broken", "config:\n  crm:edge:\n    proxy: haproxy\n")
    template = "templates/haproxy/haproxy.cfg.j2"
    project.edit(template, "global\n", "global\n{{ edge.nothing }}\n")
    done = project.crm("check", "broken", "--sarif", "f.sarif")
    project.edit(template, "global\n{{ edge.nothing }}\n", "global\n")
    assert done.code == 1
    assert places(results(project.root / "f.sarif")) == {("templates", "error", template, 4)}


def test_check_of_the_largest_stack_takes_at_most_5_s(project: Project) -> None:
    # Of CPU, and without the proxy's own answer: nothing else on the machine counts.
    largest = max(stack_file.names(), key=lambda stack: len(rendered(stack).files))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = project.crm("check", largest, DOCKER_HOST=NOWHERE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert f"{largest}: policies: all " in done.out
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 5


def test_report_that_cannot_be_written_is_refused(project: Project) -> None:
    done = project.crm("check", "nope", "--sarif", "no/such/folder/f.sarif")
    assert done.code == 1
    assert "error: no/such/folder/f.sarif: cannot be written: No such file" in done.err


# --- Places --------------------------------------------------------------------------------------


def rendered(stack: str) -> check_places.Places:
    found = check_places.Places(stack)
    found.files = render.Renderer().tree(plan.make(stack, stack_file.load(stack)))
    return found


@pytest.mark.parametrize("stack", stack_file.names())
def test_directive_is_found_in_the_template_that_it_comes_from(stack: str) -> None:
    where = rendered(stack)
    for path, text in where.files.items():
        if path.rpartition("/")[2] not in ("nginx.conf", "haproxy.cfg", "redis.conf", "start.sh"):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if not words or words[0] in ("}", "#!/bin/sh"):
                continue
            place = where.of_rendered(path, number)
            template = Path(place.path).read_text().splitlines()
            # It begins with the same word, or with one that the template prints.
            assert "{{" in template[place.line - 1] or words[0] in template[place.line - 1], line


def test_what_the_proxy_refuses_is_shown_in_its_template() -> None:
    where = rendered("horizontal")
    text = where.files["haproxy/haproxy.cfg"].splitlines()
    number = 1 + text.index("    timeout client 15s")
    said = f"edge: [ALERT] config : parsing [/etc/crm/haproxy.cfg:{number}] : unknown"
    place = where.of_error(said)
    line = Path(place.path).read_text().splitlines()[place.line - 1]
    assert line == "    timeout client {{ edge.client_seconds }}s"


# --- SQL -----------------------------------------------------------------------------------------


def test_findings_of_sql_are_shown_at_the_lines_of_the_file(tmp_path: Path) -> None:
    wrong = FOLDER / "article_form.sql"
    right = FOLDER / "article_corrected.sql"
    to = ["--sarif", str(tmp_path / "f.sarif"), "--junit", str(tmp_path / "f.xml")]
    assert main(["check", "--sql", str(wrong), str(right), *to]) == 1
    found = results(tmp_path / "f.sarif")
    inside = wrong.relative_to(Path.cwd()).as_posix()
    assert ("mysql-1697", "error", inside, 1) in places(found)
    assert {level for rule, level, *_ in places(found) if rule == "sql-advice"} == {"warning"}
    assert any("right would be:\nCREATE TABLE" in one["message"]["text"] for one in found)
    by_file = cases(tmp_path / "f.xml")
    assert by_file[str(wrong)].find("failure") is not None
    assert by_file[str(right)].find("failure") is None


def test_file_outside_the_checkout_has_its_own_address(tmp_path: Path) -> None:
    outside = tmp_path / "a b.sql"
    outside.write_text((FOLDER / "article_form.sql").read_text())
    assert main(["check", "--sql", str(outside), "--sarif", str(tmp_path / "f.sarif")]) == 1
    for one in results(tmp_path / "f.sarif"):
        place = one["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place == {"uri": outside.as_uri()}


def test_no_text_can_break_a_report(tmp_path: Path) -> None:
    text = "a\x00\x1b[31m]]>&<\"'\ud800 ü\n"
    report = Report("wrong", {})
    report.add("limits", Shown("limits", True, text, Place("ü/a b#%.yaml", 7)))
    report.add("sql", Shown("sql-advice", False, text, Place("x", 1)))
    (tmp_path / "f.xml").write_text(check_report.junit(report), encoding="utf-8")
    failure = cases(tmp_path / "f.xml")["limits"].find("failure")
    assert failure is not None
    assert "]]>&<\"'" in str(failure.text)
    (tmp_path / "f.sarif").write_text(check_report.sarif(report), encoding="utf-8")
    assert len(results(tmp_path / "f.sarif")) == 2
