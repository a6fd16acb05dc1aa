"""The real ``crm`` command in a process of its own: refusals, exit codes, and what it imports."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.cli import main
from stacks.paths import GOLDEN
from tests.nginx_text import without_dockers
from tests.project import Project, snapshot

FILE = "stacks/config/Pulumi.horizontal.yaml"
CRM = Path(sys.executable).with_name("crm")


def refused(project: Project, *arguments: str) -> str:
    """Run ``crm``, see that it refused with one sentence and touched nothing, and return that."""
    before = snapshot(project.root)
    run = project.crm(*arguments)
    assert run.code == 1, run
    assert run.out == ""
    assert run.err.startswith("error: ")
    assert run.err.count("\n") == 1, run.err
    assert "Traceback" not in run.err
    after = snapshot(project.root)
    new = {path for path in after if not path.startswith(".crm/cache/")} - before.keys()
    assert not new
    assert {path: after[path] for path in before} == before
    return run.err.removeprefix("error: ").rstrip("\n")


# --- Partitions ----------------------------------------------------------------------------------


def test_partitions_of_a_stack_that_keeps_none_says_what_to_write(project: Project) -> None:
    assert refused(project, "partitions", "plan", "vertical") == (
        "stacks/config/Pulumi.vertical.yaml: crm:database.orders: keeps no partitions; write "
        "`partition_by: range` and how many are kept, such as ahead: 3"
    )


@pytest.mark.parametrize(
    "verb", [("partitions", "apply", "vertical", "--yes"), ("backups", "vertical")]
)
def test_verbs_that_work_inside_a_stack_ask_its_cluster(
    project: Project, verb: tuple[str, ...]
) -> None:
    asked = "count: 36\n      ahead: 3\n    backup:\n      keep: 7"
    project.edit("stacks/config/Pulumi.vertical.yaml", "count: 36", asked)
    project.edit("stacks/config/Pulumi.vertical.yaml", "target: docker", "target: kubernetes")
    away = project.root / "none"
    done = project.crm(*verb, KUBECONFIG=str(away))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"error: no kubeconfig at {away}: ")


# --- Each bad input, as a person would write it --------------------------------------------------

BAD = [
    ("replicas: 3", "replicas: 0", "crm:app.replicas: 0 is not allowed; write a whole number from"),
    ("replicas: 3", "replicas: -1", "crm:app.replicas: -1 is not allowed; write a whole number"),
    ("replicas: 3", 'replicas: "three"', "crm:app.replicas: 'three' is not allowed; write a whole"),
    ("replicas: 3", "replicas: 1e9", "crm:app.replicas: '1e9' is not allowed; write a whole num"),
    ("replicas: 3", "replicas: 1.0e+9", "crm:app.replicas: 1000000000.0 is not allowed; write"),
    ("replicas: 3", "replica: 3", "crm:app.replica: there is no such key; did you mean `replicas`"),
    ("crm:cache:", "crm:cashe:", "crm:cashe: there is no such key; did you mean `cache`?"),
    ("port: 8080", "port: 70000", "crm:edge.port: 70000 is not allowed; write a TCP port, 1 to"),
    ("port: 8080", "port: 3306", "`edge.port` and `database.port` are both 3306; give each a p"),
    ("masters: 3", "masters: 2", "crm:cache: Redis Cluster needs `masters: 3` or more"),
    (
        "memory_mib: 768",
        "memory_mib: 99999999",
        "crm:database.memory_mib: 99999999 is not allowed; write MiB, 512 to 33554432",
    ),
    (
        "target: docker",
        'target: docker\n  crm:owner: "a\\nb"',
        "crm:owner: 'a\\nb' is not allowed; write lower-case letters, digits and dashes",
    ),
    (
        "target: docker",
        'target: docker\n  crm:owner: "a;b"',
        "crm:owner: 'a;b' is not allowed; write",
    ),
    (
        "target: docker",
        'target: docker\n  crm:owner: "a}b"',
        "crm:owner: 'a}b' is not allowed; write",
    ),
    (
        "target: docker",
        'target: docker\n  crm:owner: "{{ a }}"',
        "crm:owner: '{{ a }}' is not allowed; write",
    ),
    (
        "target: docker",
        "target: docker\n  crm:images:\n    haproxy: haproxy:latest",
        "crm:images.haproxy: 'haproxy:latest' is not allowed; write an image pinned to a version",
    ),
    (
        "target: docker",
        "target: docker\n  crm:images:\n    haproxy: haproxy",
        "crm:images.haproxy: 'haproxy' is not allowed; write an image pinned to a version tag",
    ),
    ("replicas: 3", "replicas: 100", "= 800, but each shard allows 128 less 10 in reserve = 118"),
    ("config:", "config: [", "this is not YAML: "),
    (
        "shards: 2",
        "shards: 2\n    settings:\n      sync_binlog: 0",
        "crm:database.settings.sync_binlog: cannot be set, it is always 1",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "sentence"), BAD, ids=[bad[1][-24:] for bad in BAD])
def test_bad_input_is_refused_with_file_key_and_form(
    project: Project, right: str, wrong: str, sentence: str
) -> None:
    project.edit(FILE, right, wrong)
    message = refused(project, "render", "horizontal", "-o", "out")
    assert message.startswith(f"{FILE}: ")
    assert sentence in message


@pytest.mark.parametrize("verb", ["preview", "up", "check", "images"])
def test_verb_that_reads_the_file_refuses_before_it_touches_anything(
    project: Project, verb: str
) -> None:
    project.edit(FILE, "replicas: 3", "replicas: 0")
    assert refused(project, verb, "horizontal").startswith(f"{FILE}: crm:app.replicas: 0 is not")


@pytest.mark.parametrize(
    "arguments",
    [
        ("render", "nope"),
        ("check", "nope"),
        ("images", "nope"),
        ("preview", "nope"),
        ("up", "nope"),
        ("refresh", "nope"),
        ("destroy", "nope"),
        ("outputs", "nope"),
        ("handover", "nope", "--to", "embedded"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_unknown_stack_is_refused_by_every_verb(
    project: Project, arguments: tuple[str, ...]
) -> None:
    assert refused(project, *arguments) == (
        "stacks/config/Pulumi.nope.yaml: there is no such stack (there are: dev, horizontal, "
        "kubernetes, vertical)"
    )


def test_misspelled_stack_gets_the_nearest_name(project: Project) -> None:
    assert "did you mean 'horizontal'?" in refused(project, "render", "horizonal")


def test_stack_file_with_a_name_that_cannot_be_is_refused(project: Project) -> None:
    project.write_stack("a;b", "config: {}\n")
    for arguments in (("render", "--all"), ("render", "dev"), ("render", "a;b")):
        assert "Pulumi.a;b.yaml: 'a;b' cannot be a stack's name" in refused(project, *arguments)


def test_render_all_writes_nothing_when_one_stack_is_refused(project: Project) -> None:
    project.edit("stacks/config/Pulumi.vertical.yaml", "replicas: 1", "replicas: 0")
    assert "Pulumi.vertical.yaml: " in refused(project, "render", "--all", "-o", "out")
    assert not (project.root / "out").exists()


def test_installed_command_refuses_alike(project: Project, tmp_path: Path) -> None:
    assert CRM.exists(), f"{CRM}: the console script is missing; run: pip install -e ."
    done = subprocess.run(
        [CRM, "render", "nope"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: stacks/config/Pulumi.nope.yaml: there is no such stack")


@pytest.mark.parametrize("arguments", [[], ["nope"], ["render", "dev", "--nope"], ["up"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: crm")


@pytest.mark.parametrize("arguments", [["render"], ["render", "dev", "--all"]])
def test_render_wants_one_stack_or_all(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: crm render ")
    assert said.endswith("crm render: error: name one stack, or --all\n")


@pytest.mark.parametrize(
    "verb", ["render", "preview", "up", "refresh", "destroy", "outputs", "check", "images"]
)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"usage: crm {verb}" in capsys.readouterr().out


# --- Rendering and checking ----------------------------------------------------------------------


def test_render_without_a_folder_leaves_git_clean(project: Project) -> None:
    run = project.crm("render", "dev")
    assert run.code == 0, run.err
    assert run.err == "dev: 12 files in .crm/rendered/dev\n"
    written = snapshot(project.root / ".crm" / "rendered" / "dev")
    assert written == snapshot(GOLDEN / "dev")
    mode = stat.S_IMODE((project.root / ".crm").stat().st_mode)
    assert mode == 0o700, "what is local is nobody else's to read"


def test_any_stack_is_rendered_for_kubernetes_without_a_cluster(
    project: Project, tmp_path: Path
) -> None:
    run = project.crm(
        *("render", "dev", "--target", "kubernetes", "-o", "out"),
        KUBECONFIG=str(tmp_path / "none"),
        HOME=str(tmp_path),
        PATH="",
    )
    assert run.code == 0, run.err
    written = snapshot(project.root / "out")
    assert {path for path in written if path.startswith("kubernetes/")} == {
        f"kubernetes/{name}.yaml"
        for name in ("00-namespace", "app", "cache", "database", "edge", "schema")
    }
    plain = snapshot(GOLDEN / "dev")
    about = {"summary.md", "topology.md", ".rendered"}
    # Only on Docker does nginx have to look for replicas' addresses again.
    nginx = without_dockers(plain["nginx/nginx.conf"].decode())
    assert nginx.encode() != plain["nginx/nginx.conf"]
    plain["nginx/nginx.conf"] = nginx.encode()
    same = {path for path, text in plain.items() if written.get(path) == text}
    assert same == set(plain) - about, "configuration files are the same on both targets"
    again = ("render", "dev", "--target", "kubernetes", "-o", "out", "--check")
    assert project.crm(*again).code == 0
    assert project.crm("render", "dev", "-o", "out", "--check").code == 1


def test_all_stacks_are_rendered_for_the_target_that_is_named(project: Project) -> None:
    assert project.crm("render", "--all", "--target", "kubernetes", "-o", "out").code == 0
    for stack in ("dev", "horizontal", "kubernetes", "vertical"):
        assert (project.root / "out" / stack / "kubernetes" / "edge.yaml").is_file()
    assert project.crm("render", "kubernetes", "--target", "docker", "-o", "docker").code == 0
    assert not (project.root / "docker" / "kubernetes").exists()
    run = project.crm(
        "render", "dev", "--target", "kubernetes", "-o", "tests/golden/dev", "--check"
    )
    assert run.err.endswith("refresh with: the same command without --check\n")


def test_stack_that_a_target_cannot_have_is_refused(project: Project) -> None:
    project.edit(FILE, "replicas: 3", "replicas: {min: 2, max: 4}")
    assert "Docker has no autoscaler; write a number" in refused(project, "render", "horizontal")
    assert project.crm("render", "horizontal", "--target", "kubernetes", "-o", "out").code == 0


def test_render_into_the_same_folder_twice_is_stable(project: Project) -> None:
    for _ in range(2):
        assert project.crm("render", "--all", "-o", "out").code == 0
        assert snapshot(project.root / "out") == snapshot(GOLDEN)


def test_check_of_a_reviewed_tree_names_the_command_that_refreshes_it(project: Project) -> None:
    assert project.crm("render", "--all", "-o", "tests/golden").code == 0
    for arguments in (("dev",), ("--all",), ("--all", "-o", "tests/golden")):
        run = project.crm("render", *arguments, "--check")
        assert (run.code, run.out, run.err) == (0, "", "")
    project.edit("stacks/config/Pulumi.dev.yaml", "port: 8080", "port: 8081")
    for arguments in (("dev",), ("--all",), ("dev", "-o", "tests/golden/dev")):
        run = project.crm("render", *arguments, "--check")
        assert run.code == 1
        assert "--- a/nginx/nginx.conf\n+++ b/nginx/nginx.conf\n" in run.out
        assert "-        listen 8080;\n+        listen 8081;\n" in run.out
        assert run.err == (
            "error: tests/golden/dev differs from what dev renders; if the diff is right, "
            "refresh with: make golden\n"
        )


def test_check_changes_nothing(project: Project) -> None:
    assert project.crm("render", "dev", "-o", "out").code == 0
    (project.root / "out" / "summary.md").write_text("changed\n")
    before = snapshot(project.root / "out")
    run = project.crm("render", "dev", "-o", "out", "--check")
    assert run.code == 1
    assert run.err.endswith("refresh with: the same command without --check\n")
    assert snapshot(project.root / "out") == before


def test_check_of_a_folder_that_is_not_there_shows_everything_as_new(project: Project) -> None:
    run = project.crm("render", "dev", "-o", "out", "--check")
    assert run.code == 1
    assert run.out.count("--- /dev/null\n") == len(snapshot(GOLDEN / "dev"))
    assert not (project.root / "out").exists()


def test_broken_template_is_one_sentence(project: Project) -> None:
    project.edit("templates/nginx/nginx.conf.j2", "{{ edge.threads }}", "{{ edge.thread }}")
    run = project.crm("render", "dev", "-o", "out")
    assert run.code == 1
    assert run.err.startswith("error: templates/nginx/nginx.conf.j2:5: ")
    assert "Traceback" not in run.err


# --- What rendering costs ------------------------------------------------------------------------

HEAVY = {
    *("pulumi", "pulumi_docker", "pulumi_kubernetes", "pulumi_policy"),
    *("docker", "kubernetes", "grpc", "google", "cryptography", "trustme"),
}


@pytest.mark.parametrize(
    "stacks", [("horizontal",), ("horizontal", "--target", "kubernetes"), ("--all",)]
)
def test_rendering_imports_no_pulumi_docker_or_grpc(
    project: Project, stacks: tuple[str, ...]
) -> None:
    run = project.python(
        "-c",
        "import json, sys\n"
        "from stacks.cli import main\n"
        f"code = main(['render', *{stacks!r}, '-o', 'out'])\n"
        "print(json.dumps([code, sorted(sys.modules)]))",
    )
    assert run.code == 0, run.err
    code, modules = json.loads(run.out)
    assert code == 0
    roots = {name.partition(".")[0] for name in modules}
    assert {"stacks", "jinja2", "yaml", "msgspec"} <= roots
    assert not roots & HEAVY
    # Nothing of the error messages' either, which only a refused stack needs.
    assert not {"stacks.spec_errors", "difflib"} & set(modules)
