"""What the documents say is there: paths, links, commands, keys, sizes, dependencies."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml
from msgspec.structs import fields

from policies.files import FILE_RULES
from policies.rules import RULES
from stacks import cli, plan, stack_file
from stacks.paths import ROOT
from stacks.spec import StackSpec
from tests.project import tree

DOCUMENTS = [path for path in tree() if path.endswith(".md") and not path.startswith("tests/")]
WHERE = "docs/where-to-change.md"


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def pyproject() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Pulumi.yaml",
        ".pre-commit-config.yaml",
        ".ci/run",
        WHERE,
        "docs/dependencies.md",
    ],
)
def test_document_is_there_and_says_something(path: str) -> None:
    assert len(read(path)) > 100


# --- Paths and links -----------------------------------------------------------------------------


def rows(path: str) -> list[list[str]]:
    """The cells of each row of the tables in ``path``, headings left out."""
    found = []
    lines = read(path).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_row = line.startswith("| ") and not line.startswith("| ---")
        if is_row and not following.startswith("| ---"):
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def test_where_to_change_names_only_what_exists() -> None:
    named = re.findall(r"`([^`\s]+)`", read(WHERE))
    paths = [name for name in named if "/" in name or "." in name]
    assert len(paths) > 40
    missing = sorted({path for path in paths if not (ROOT / path).exists()})
    assert not missing, f"{WHERE} names what is not there: {missing}"


def test_where_to_change_says_file_test_and_golden_for_each_wish() -> None:
    for row in rows(WHERE):
        assert len(row) == 4, row
        _, file, test, golden = row
        assert "`" in file, row
        tests = re.findall(r"`([^`]+)`", test)
        assert tests or test in ("itself", "–"), row
        assert all(name.startswith("tests/") for name in tests), row
        assert golden == "–" or golden.startswith("`tests/golden/"), row


def test_where_to_change_leaves_no_tier_and_no_service_out() -> None:
    named = re.findall(r"`([^`\s]+)`", read(WHERE))
    for path in tree():
        if path.startswith("templates/"):
            service = path.rpartition("/")[0]
            assert any(name.startswith(f"{service}/") for name in named), service
        if re.fullmatch(r"stacks/tiers/(?!__init__|probe)\w+\.py", path):
            assert path in named


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", read(document)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            assert path.startswith("https://"), target
            continue
        found = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert found.exists(), f"{document}: {target}"
        assert found.is_relative_to(ROOT), f"{document}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{document}: {target}"


def test_decisions_are_numbered_without_a_gap() -> None:
    names = [path for path in DOCUMENTS if re.match(r"docs/adr/\d", path)]
    numbers = [int(path.removeprefix("docs/adr/")[:4]) for path in names]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in names:
        text = read(path)
        assert re.match(rf"# {path.removeprefix('docs/adr/')[:4]}: ", text), path
        for heading in ("Context", "Decision", "Consequences"):
            assert f"\n## {heading}\n" in text, path


def test_sources_name_decisions_that_exist() -> None:
    for path in tree():
        if path.endswith((".py", ".j2", ".toml", ".yaml", "Makefile", "Dockerfile")):
            for name in re.findall(r"docs/[\w./-]+\.md", read(path)):
                assert (ROOT / name).is_file(), f"{path}: {name}"


# --- Commands ------------------------------------------------------------------------------------


def verbs() -> set[str]:
    """The verbs of the Makefile."""
    return set(re.findall(r"^([a-z]+):.*## ", read("Makefile"), re.MULTILINE))


def code(document: str) -> list[str]:
    """Lines of code blocks, and code between backticks, that are commands."""
    text = read(document)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"(?s)```.*?```", "", text))
    return [line.partition("  #")[0].strip() for b in blocks for line in b.splitlines()] + inline


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_verbs_exist(document: str) -> None:
    for line in code(document):
        match = re.match(r"(?:[A-Z]+=\S+ )*make(?: ([a-z]+))?(?: |$)", line)
        if match and match[1]:
            assert match[1] in verbs(), f"{document}: {line}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_crm_commands_are_understood(document: str) -> None:
    for line in code(document):
        if not re.match(r"crm [a-z]", line):
            continue
        # `[…]` is what may be left out; the words in capitals stand for one.
        plain = line.replace("[", " ").replace("]", " ").replace("…", " ")
        plain = re.sub(r"\bENGINE\b", "embedded", plain)
        plain = re.sub(r"\bN\b", "2", plain)
        words = [word for word in shlex.split(plain) if not word.startswith("(")]
        if len(words) == 2 and words[1] in ("up", "preview", "refresh", "destroy", "outputs"):
            words.append("dev")  # the verb alone, in a sentence
        if len(words) == 2 and words[1] in ("check", "render", "review", "handover"):
            continue
        try:
            cli._parser().parse_args(words[1:])
        except SystemExit:
            pytest.fail(f"{document}: crm does not understand: {line}")


def test_readme_names_every_verb() -> None:
    text = read("README.md")
    for verb in re.findall(r"^    \{([a-z,]+)\}|^    ([a-z]+)  ", cli._parser().format_help()):
        for name in "".join(verb).split(","):
            assert f"`crm {name}" in text, name
    assert "make up" in text
    assert "make test" in text


def test_makefile_benchmarks_by_the_module_that_is_there() -> None:
    assert ".venv/bin/python -m tests.bench" in read("Makefile")
    assert (ROOT / "tests" / "bench" / "__main__.py").is_file()


# --- Keys and sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_stack_files_shown_are_right(document: str) -> None:
    for block in re.findall(r"^```yaml\n(.*?)^```", read(document), re.MULTILINE | re.DOTALL):
        if "crm:" in block:
            text = block if re.search(r"^config:", block, re.MULTILINE) else f"config:\n{block}"
            config = yaml.safe_load(text.replace("<version>", "1.0"))["config"]
            stack_file.parse(stack_file.values(config, "shown"), "shown")


def test_readme_shows_the_sizes_the_stacks_have() -> None:
    shown = {row[0].strip("`"): " ".join(row[2:]) for row in rows("README.md") if len(row) == 6}
    assert sorted(shown) == stack_file.names()
    for stack, text in shown.items():
        planned = plan.make(stack, stack_file.load(stack))
        app, cache = planned.app, planned.cache
        assert planned.edge.proxy in text.lower(), stack
        assert f"{len(app.instances)} × {app.cpus:g} CPU, {app.memory_mib} MiB" in text, stack
        assert f"× {planned.database.memory_mib} MiB" in text, stack
        assert f"{len(planned.database.shards)} " in text, stack
        assert f"× {cache.memory_mib} MiB" in text, stack


def test_pulumi_yaml_describes_every_key() -> None:
    described = yaml.safe_load(read("Pulumi.yaml"))["config"]
    defaults = StackSpec()
    assert list(described) == [field.encode_name for field in fields(StackSpec)]
    for key, about in described.items():
        assert about["description"], key
        if about["type"] == "string":
            assert about["default"] == getattr(defaults, key), key


def test_policies_are_listed_as_they_are() -> None:
    listed = [row for row in rows("docs/policies.md") if row[0].startswith("`")]
    wanted = []
    for rule in RULES:
        about = importlib.import_module(f"policies.rules.{rule.name}").__doc__ or ""
        wanted.append(
            [f"`{rule.name}`", about.strip(), ", ".join(rule.reads) or "all", rule.reason]
        )
    for file_rule in FILE_RULES:
        about = importlib.import_module(f"policies.files.{file_rule.name}").__doc__ or ""
        read = ", ".join(f"`{path}`" for path in file_rule.reads)
        wanted.append([f"`{file_rule.name}`", about.strip(), read, file_rule.reason])
    assert listed == wanted
    # As the sentence above the table says.
    assert all(rule.level == "mandatory" for rule in (*RULES, *FILE_RULES))


# --- Dependencies --------------------------------------------------------------------------------


def names(requirements: list[str]) -> list[str]:
    found = [re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower() for line in requirements]
    return [name.replace("_", "-") for name in found if name != "crm-platform"]


def test_dependencies_are_explained_and_nothing_else_is() -> None:
    project = pyproject()["project"]
    wanted = names(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += names(extra)
    explained = [row[0].strip("`").lower() for row in rows("docs/dependencies.md")]
    assert sorted(explained) == sorted(set(wanted))
    for row in rows("docs/dependencies.md"):
        assert len(row) == 3, row
        assert all(len(cell) > 3 for cell in row[1:]), row


def test_image_holds_what_the_extra_app_names() -> None:
    lines = [line for line in read("app/requirements.txt").splitlines() if "==" in line]
    pinned = names([line for line in lines if not line.startswith("#")])
    app = names(pyproject()["project"]["optional-dependencies"]["app"])
    assert {*app, "msgspec"} <= set(pinned)
