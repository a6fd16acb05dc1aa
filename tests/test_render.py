"""Rendered files: equal to the reviewed trees, stable to the byte, strict, and free of secrets."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from stacks import plan, render, review, stack_file
from stacks.errors import CrmError
from stacks.paths import GOLDEN, TEMPLATES
from stacks.plan import Plan
from tests.project import Project, snapshot

STACKS = stack_file.names()
SECRET = {"env": "CRM_PASSWORD"}
RENDERER = render.Renderer()


def made(**config: Any) -> Plan:
    return plan.make("dev", stack_file.parse(config, "dev"))


def tree(**config: Any) -> dict[str, str]:
    return RENDERER.tree(made(**config))


# --- The reviewed trees --------------------------------------------------------------------------


@pytest.mark.parametrize("stack", STACKS)
def test_golden_tree_is_what_the_stack_renders(stack: str) -> None:
    files = review.tree(RENDERER, plan.make(stack, stack_file.load(stack)))
    diff = render.difference(files, GOLDEN / stack)
    assert not diff, f"if this diff is right, refresh with: make golden\n{diff}"


@pytest.mark.parametrize("stack", STACKS)
def test_golden_tree_holds_nothing_else(stack: str) -> None:
    index = (GOLDEN / stack / render.INDEX).read_text(encoding="utf-8").split()
    assert sorted(snapshot(GOLDEN / stack)) == sorted([*index, render.INDEX])


def test_golden_trees_are_those_of_the_stacks() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == STACKS


def test_golden_trees_hold_no_path_of_a_machine() -> None:
    for path, content in snapshot(GOLDEN).items():
        found = re.findall(r"/(?:home|root|Users|tmp/pytest)\b|[A-Z]:\\", content.decode())
        assert not found, path


def test_golden_trees_are_text_that_ends_in_a_newline() -> None:
    for path, content in snapshot(GOLDEN).items():
        assert content.endswith(b"\n"), path
        assert not content.endswith(b"\n\n"), path
        assert b"\r" not in content, path
        assert not re.search(rb"[ \t]\n", content), path


@pytest.mark.parametrize("seed", ["0", "1", "2", "3"])
def test_rendering_is_the_same_to_the_byte_anywhere(
    project: Project, tmp_path: Path, seed: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = project.python(
        *("-m", "stacks.cli", "render", "--all", "-o", str(tmp_path / "out")),
        cwd=elsewhere,
        environment={
            "PYTHONHASHSEED": seed,
            "HOME": str(elsewhere),
            "LC_ALL": "C",
            "TZ": "Asia/Kathmandu",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
        },
    )
    assert done.code == 0, done.err
    assert snapshot(tmp_path / "out") == snapshot(GOLDEN)
    assert not list(elsewhere.iterdir())


def test_secrets_do_not_reach_rendered_files(tmp_path: Path) -> None:
    canary = "canary-7Qx"
    (tmp_path / "secret").write_text(canary, encoding="utf-8")
    config = {
        "database": {
            "external": {
                "host": "db",
                "password": {"file": str(tmp_path / "secret")},
                "owner_password": {"env": "CRM_CANARY_NAME"},
            }
        },
        "secrets": {"cache_password": {"config": "canary_name"}},
    }
    text = "".join(tree(**config).values())
    for trace in (canary, str(tmp_path), "CRM_CANARY_NAME", "canary_name"):
        assert trace not in text


# --- What is in the tree -------------------------------------------------------------------------


def test_external_services_get_no_files() -> None:
    files = tree(
        database={"external": {"host": "db.example", "password": SECRET, "owner_password": SECRET}},
        cache={"external": {"host": "redis.example", "password": SECRET}},
    )
    assert sorted(files) == [
        "app/app.json",
        "app/job.json",
        "mysql/schema.sql",
        "nginx/metrics.js",
        "nginx/nginx.conf",
        "summary.md",
        "topology.md",
    ]
    settings = json.loads(files["app/app.json"])
    assert settings["database"]["shards"][0]["host"] == "db.example"
    assert settings["cache"]["nodes"] == [{"host": "redis.example", "port": 6379}]
    assert "db.example:3306" in files["topology.md"]


def test_files_are_in_a_folder_per_instance_where_instances_differ() -> None:
    files = tree(database={"shards": 3}, cache={"mode": "cluster", "masters": 3})
    assert {f"mysql/database-{i}/my.cnf" for i in (1, 2, 3)} < set(files)
    assert {f"redis/cache-{i}/join.sh" for i in (1, 2, 3)} < set(files)
    assert "server_id = 2\n" in files["mysql/database-2/my.cnf"]


def test_job_takes_the_account_that_may_create_tables() -> None:
    files = tree()
    assert json.loads(files["app/app.json"])["database"]["user"] == "crm_app"
    assert json.loads(files["app/job.json"])["database"]["user"] == "crm_owner"


def test_job_does_not_change_when_the_app_is_resized() -> None:
    small = tree(app={"replicas": 1})
    large = tree(app={"replicas": 3, "cpus": 4, "memory_mib": 2048})
    assert small["app/job.json"] == large["app/job.json"]
    assert small["app/app.json"] != large["app/app.json"]


def test_scaling_the_app_changes_only_the_proxy_and_the_reviewers_pages() -> None:
    # `replicas` 3 → 6 must touch only app containers and the proxy's view of them.
    three, six = tree(app={"replicas": 3}), tree(app={"replicas": 6})
    changed = {path for path in three if three[path] != six[path]}
    assert three.keys() == six.keys()
    assert changed == {"nginx/nginx.conf", "summary.md", "topology.md"}
    # Nor may any number of them touch the databases.
    some, many = (
        tree(app={"replicas": count}, database={"memory_mib": 4096}) for count in (12, 40)
    )
    changed = {path for path in some if some[path] != many[path]}
    assert changed == {"nginx/nginx.conf", "summary.md", "topology.md"}


def test_topology_shows_every_instance() -> None:
    planned = made(
        app={"replicas": 3}, database={"shards": 2}, cache={"mode": "cluster", "masters": 3}
    )
    text = RENDERER.tree(planned)["topology.md"]
    assert text.count("```") == 2
    assert "```mermaid\nflowchart LR\n" in text
    for name in (
        *planned.app.instances,
        *(shard.name for shard in planned.database.shards),
        *(node.name for node in planned.cache.nodes),
    ):
        assert f'"{name}<br/>' in text
    assert text.count("edge --> node_app_") == 3


def test_topology_of_services_with_names_of_mermaids_has_each_node_once() -> None:
    names = ("people", "end", "subgraph")
    text = tree(
        target="kubernetes",
        edge={"routes": [{"prefix": f"/{name}", "service": name} for name in names]},
        services={
            name: {"health_path": "/healthz", "replicas": {"min": 1, "max": 2}} for name in names
        },
    )["topology.md"]
    ids = re.findall(r"^ +(\w+)[\[(]+\"", text, re.MULTILINE)
    assert len(ids) == len(set(ids)) == 8
    for name in names:
        assert f'  node_{name}["{name}<br/>' in text
        assert f'edge -->|"/{name}"| node_{name}\n' in text
    assert re.findall(r"^ *end\b.*", text, re.MULTILINE) == ["  end", "  end"]


def test_summary_and_topology_say_how_many_edges_and_what_each_counts() -> None:
    limited = {"replicas": 3, "limits": {"client_requests_per_second": 20}}
    files = tree(target="kubernetes", edge=limited)
    text = files["summary.md"]
    assert "| edge | nginx | 3 | 0.5 | 64 |" in text
    assert "| limits of the edge | each of its replicas counts for itself |" in text
    assert "| requests of one address | 60 a second at most, over all replicas |" in text
    assert 'edge["edge<br/>nginx, round_robin<br/>3 × 0.5 CPU, 64 MiB"]' in files["topology.md"]
    one = tree(target="kubernetes", edge={**limited, "replicas": 1})
    assert "limits of the edge" not in one["summary.md"]
    # Each is told the same, whichever their number is.
    assert one["nginx/nginx.conf"] == files["nginx/nginx.conf"]


def test_summary_says_nothing_of_the_size_of_a_cache_that_is_not_the_stacks() -> None:
    text = tree(
        cache={"external": {"host": "redis.example", "password": SECRET}, "memory_mib": 4096}
    )["summary.md"]
    (line,) = [line for line in text.splitlines() if line.startswith("| cache |")]
    assert line == "| cache | external, which decides on its memory and eviction itself, 300 s |"
    assert "allkeys-lru" not in text


def test_summary_adds_up() -> None:
    text = tree(
        app={"replicas": 3, "cpus": 0.5, "memory_mib": 256}, database={"shards": 2, "cpus": 1.5}
    )["summary.md"]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| (edge|app|database|cache) \|.*\d \|$", line)
    ]
    assert len(rows) == 4
    cpus = sum(int(n) * float(each) for _, _, n, each, _ in rows)
    memory = sum(int(n) * int(each) for _, _, n, _, each in rows)
    count = sum(int(n) for _, _, n, _, _ in rows)
    assert f"| all | | {count} | {cpus:g} in all | {memory} in all |" in text


# --- Templates that are wrong --------------------------------------------------------------------


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATES, tmp_path / "templates")
    return tmp_path / "templates"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{% if %}", "Expected an expression"),
        ("{{ edge.threads | nope }}", "No filter named 'nope'"),
        ("{{ edge.nope }}", "has no attribute 'nope'; the template's first line names the type"),
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ 1 // 0 }}", "by zero"),
        ("{{ edge.threads + 'a' }}", "unsupported operand"),
        ("{{ edge.pools[0].hash_header }}", "a value that is not there would be printed as None"),
        ("{{ 'a\\nb' }}", "holds a control character"),
        ("{% include 'nope.j2' %}", "templates/nope.j2: there is no such template"),
        ("{% include 'broken.j2' %}", "templates/broken.j2:2: "),
    ],
)
def test_broken_template_names_file_and_line(templates: Path, line: str, sentence: str) -> None:
    (templates / "broken.j2").write_text("a\n{% endfor %}\n", encoding="utf-8")
    path = templates / "nginx" / "nginx.conf.j2"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines.insert(4, line)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CrmError) as caught:
        render.Renderer(templates).tree(made())
    message = str(caught.value)
    assert sentence in message
    if "include" not in line:
        assert message.startswith("templates/nginx/nginx.conf.j2:5: ")


def test_missing_template_is_named(templates: Path) -> None:
    (templates / "mysql" / "my.cnf.j2").unlink()
    with pytest.raises(CrmError, match=r"^templates/mysql/my\.cnf\.j2: there is no such template"):
        render.Renderer(templates).tree(made())


def test_line_break_in_a_value_is_refused_even_past_the_spec() -> None:
    # The spec refuses it first; this is the second lock on the same door.
    planned = structs.replace(made(), stack="dev\nuser root;")
    with pytest.raises(CrmError, match="holds a control character"):
        RENDERER.tree(planned)


# --- Writing and comparing -----------------------------------------------------------------------


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    render.write(tree(), tmp_path)
    before = snapshot(tmp_path)
    render.write(tree(), tmp_path)
    assert snapshot(tmp_path) == before
    assert render.difference(tree(), tmp_path) == ""


def test_writing_leaves_the_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "mysql").mkdir()
    (tmp_path / "mysql" / "notes.md").write_text("mine\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\xff")
    render.write(tree(), tmp_path)
    render.write({"summary.md": "x\n"}, tmp_path)
    assert snapshot(tmp_path) == {
        "mysql/notes.md": b"mine\n",
        "image.png": b"\x89PNG\xff",
        "summary.md": b"x\n",
        render.INDEX: b"summary.md\n",
    }
    assert render.difference({"summary.md": "x\n"}, tmp_path) == ""


def test_writing_removes_what_is_rendered_no_more(tmp_path: Path) -> None:
    render.write(tree(database={"shards": 2}), tmp_path)
    render.write(tree(), tmp_path)
    assert not (tmp_path / "mysql" / "database-2").exists()
    assert (tmp_path / "mysql" / "database-1" / "my.cnf").is_file()


def test_writing_never_reaches_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kept\n")
    folder = tmp_path / "folder"
    render.write(tree(), folder)
    (folder / render.INDEX).write_text(f"../outside\n{tmp_path}/outside\n")
    render.write(tree(), folder)
    assert (tmp_path / "outside").read_text() == "kept\n"


def test_writing_where_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CrmError, match=r"file.*: cannot be written: .*; name a folder with -o"):
        render.write(tree(), tmp_path / "file")


def test_difference_is_a_unified_diff(tmp_path: Path) -> None:
    render.write(tree(), tmp_path)
    changed = tmp_path / "summary.md"
    changed.write_text(changed.read_text().replace("Owner: crm.", "Owner: me."))
    (tmp_path / "nginx" / "nginx.conf").unlink()
    (tmp_path / "app" / "app.json").write_bytes(b"\xff\n")
    diff = render.difference(tree(), tmp_path)
    assert "--- a/summary.md\n+++ b/summary.md\n" in diff
    assert re.search(r"^-.*Owner: me\..*\n\+.*Owner: crm\.", diff, re.MULTILINE)
    assert "--- /dev/null\n+++ b/nginx/nginx.conf\n" in diff
    assert "--- a/app/app.json\n" in diff


def test_difference_shows_what_is_rendered_no_more(tmp_path: Path) -> None:
    render.write(tree(database={"shards": 2}), tmp_path)
    diff = render.difference(tree(), tmp_path)
    assert "--- a/mysql/database-2/my.cnf\n+++ /dev/null\n" in diff


def test_rendering_works_without_a_place_for_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(render, "LOCAL", tmp_path / "file")
    monkeypatch.setattr(render, "CACHE", tmp_path / "file" / "cache")
    assert render.Renderer().tree(made()) == tree()
