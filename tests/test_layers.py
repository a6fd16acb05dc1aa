"""Data flows one way: what each layer may import, how long files may be, what templates may do."""

from __future__ import annotations

import ast
import gc
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from jinja2 import Environment, meta, nodes

from stacks.paths import ROOT, TEMPLATES
from tests.project import tree

LEFT = (
    "stacks.database_tls",
    "stacks.errors",
    "stacks.paths",
    "stacks.app_image",
    "stacks.spec",
    "stacks.spec_backup",
    "stacks.spec_edge",
    "stacks.spec_orders",
    "stacks.spec_policies",
    "stacks.spec_words",
    "stacks.spec_errors",
    "stacks.stack_file",
    "stacks.stack_names",
    "stacks.mysql_settings",
    "stacks.partitions",
    "stacks.shard_map",
    "stacks.services",
    "stacks.balancing",
    "stacks.offsite",
    "stacks.plan",
    "stacks.summary",
    "stacks.render",
    "stacks.workload",
    "stacks.tiers",
    "stacks.tiers.app",
    "stacks.tiers.backup",
    "stacks.tiers.cache",
    "stacks.tiers.database",
    "stacks.tiers.edge",
    "stacks.tiers.offsite",
    "stacks.tiers.probe",
    "stacks.manifests",
    "stacks.manifests.common",
    "stacks.manifests.controllers",
    "stacks.manifests.helpers",
    "stacks.manifests.network_policies",
    "stacks.manifests.pods",
    "stacks.manifests.services",
    "stacks.manifests.yaml_text",
    "stacks.review",
)
"""Everything left of the targets: pure text and numbers, without an engine."""

ENGINES = {"pulumi", "pulumi_docker", "pulumi_kubernetes", "docker", "grpc", "google", "kubernetes"}

FLOW = (
    *(
        "spec_words",
        "spec_edge",
        "spec_backup",
        "spec_orders",
        "spec_policies",
        "spec",
        "services",
        "balancing",
        "plan",
        "summary",
    ),
    *("render", "workload", "tiers", "manifests", "targets"),
)


def source_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of ``path``. Python before 3.11.5 miscounts its depth when the garbage
    collector comes in between (https://github.com/python/cpython/issues/106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """The modules ``path`` imports, by full name; only those at its top if ``top_level``."""
    module = parsed(path)
    statements = module.body if top_level else list(ast.walk(module))
    found = set()
    for node in statements:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = full.startswith("stacks") and source_of(full).is_file()
                found.add(full if is_module else node.module)
    return found


def python_files(*folders: str) -> Iterator[str]:
    return (path for path in tree() if path.endswith(".py") and path.startswith(folders))


def lines_of(path: str) -> int:
    return len((ROOT / path).read_text(encoding="utf-8").splitlines())


# --- Imports -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", LEFT)
def test_module_left_of_the_targets_imports_no_engine(module: str) -> None:
    found = imports(source_of(module))
    assert not {name.partition(".")[0] for name in found} & ENGINES
    # Nor through another module of ours.
    ours = {name for name in found if name.split(".")[0] == "stacks"}
    assert ours <= set(LEFT), f"{module} imports from the right: {sorted(ours - set(LEFT))}"


def test_every_tier_and_all_manifests_are_held_to_that() -> None:
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in python_files("stacks/tiers/", "stacks/manifests/")
    }
    assert modules <= set(LEFT)


def test_layers_import_only_from_their_left() -> None:
    for place, layer in enumerate(FLOW):
        right = {f"stacks.{name}" for name in FLOW[place + 1 :]}
        folder = ROOT / "stacks" / layer
        files = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        for path in files:
            found = {".".join(name.split(".")[:2]) for name in imports(path)}
            assert not found & right, f"{path.relative_to(ROOT)} imports from its right"


def test_rules_import_no_engine_and_know_no_clock() -> None:
    for path in sorted({*python_files("policies/")} - {"policies/__main__.py"}):
        found = imports(ROOT / path)
        assert not {name.partition(".")[0] for name in found} & {*ENGINES, "pulumi_policy"}, path
        assert {name for name in found if name.startswith("stacks")} <= {
            "stacks.spec_policies",
            "stacks.prices",
        }
        assert "now(" not in (ROOT / path).read_text(encoding="utf-8"), path


def test_rendering_does_not_import_policies() -> None:
    for module in LEFT:
        assert not {name for name in imports(source_of(module)) if name.startswith("policies")}


def test_plan_and_spec_know_no_clock_no_host_and_no_file() -> None:
    outside = {"os", "time", "datetime", "socket", "random", "secrets", "platform", "subprocess"}
    for module in (
        "stacks.spec",
        "stacks.spec_edge",
        "stacks.spec_orders",
        "stacks.services",
        "stacks.shard_map",
        "stacks.balancing",
        "stacks.plan",
        "stacks.summary",
        "stacks.mysql_settings",
        "stacks.manifests",
    ):
        path = source_of(module)
        assert not imports(path) & outside, module
        assert "open(" not in path.read_text(encoding="utf-8"), module
    assert not imports(source_of("stacks.render")) & (outside - {"os"})


def test_command_line_imports_nothing_heavy_before_it_knows_the_verb() -> None:
    found = imports(source_of("stacks.cli"), top_level=True)
    assert {name for name in found if name.startswith("stacks")} == {"stacks.errors"}
    assert not {name.partition(".")[0] for name in found} & {*ENGINES, "jinja2", "yaml", "msgspec"}


def test_only_one_jinja_environment_exists() -> None:
    users = [path for path in python_files("stacks/", "policies/") if "jinja2" in imports_of(path)]
    assert users == ["stacks/render.py"]


def imports_of(path: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(ROOT / path)}


def test_platform_does_not_import_the_application_nor_the_other_way() -> None:
    for path in python_files("stacks/", "policies/"):
        assert "crm" not in imports_of(path), path
    for path in python_files("app/"):
        assert not {"stacks", "policies"} & imports_of(path), path


# --- Lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in tree()
        if path.startswith(("stacks/", "templates/", "app/", "policies/"))
        and path.endswith((".py", ".j2", ".html", ".yaml", ".css"))
    ],
)
def test_file_is_400_lines_at_most(path: str) -> None:
    assert lines_of(path) <= 400


def test_program_is_under_60_lines() -> None:
    assert lines_of("stacks/__main__.py") < 60


def test_embedded_engine_is_1200_lines_at_most() -> None:
    # The fence: it serves one machine and CI, and is not a second product.
    lengths = {path: lines_of(path) for path in python_files("stacks/embedded/")}
    total = sum(lengths.values())
    assert total <= 1200, f"{total} lines in stacks/embedded: {lengths}"


# --- Templates -----------------------------------------------------------------------------------

JINJA = Environment(autoescape=True)
JINJA.filters["json"] = str  # a filter of the project's own
TEMPLATE_FILES = sorted(TEMPLATES.rglob("*.j2"))


def _name(path: Path) -> str:
    return path.relative_to(TEMPLATES).as_posix()


def test_templates_hold_nothing_but_templates() -> None:
    assert [p for p in TEMPLATES.rglob("*") if p.is_file() and p.suffix != ".j2"] == []


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=_name)
def test_first_line_names_the_type_it_takes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert re.fullmatch(r"\{# \w+: .* #\}", first), first
    named = re.findall(r"(\w+): (stacks(?:\.\w+)+)", first)
    assert named, "no type such as stacks.plan.EdgePlan"
    for _, dotted in named:
        module, _, attribute = dotted.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), dotted
    # All it uses is named there.
    used = meta.find_undeclared_variables(JINJA.parse(text))
    assert used == set(re.findall(r"(\w+):(?= )", first))


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=_name)
def test_template_computes_nothing(path: Path) -> None:
    parsed = JINJA.parse(path.read_text(encoding="utf-8"))
    sums = (
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow),
        *(nodes.Neg, nodes.Pos, nodes.Concat, nodes.Call),
    )
    found = [(type(node).__name__, node.lineno) for kind in sums for node in parsed.find_all(kind)]
    assert not found, "numbers are worked out in stacks/plan.py"
    filters = {node.name for node in parsed.find_all(nodes.Filter)}
    assert filters <= {"json", "join", "length", "lower", "replace", "selectattr"}


def test_a_sum_in_a_template_would_be_found() -> None:
    parsed = JINJA.parse("{{ edge.threads * 2 }}")
    assert list(parsed.find_all(nodes.Mul))
