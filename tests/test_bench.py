"""The benchmark's own parts; what it measures is no test."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from stacks import engines, stack_file
from tests.bench import charts, engine, render, table
from tests.bench.measure import CannotRunError, Command, Cost, Pair, pair, run


def python(code: str, folder: Path) -> Command:
    return Command((sys.executable, "-c", code), folder, os.environ)


def test_run_counts_the_processor_time_of_children_too(tmp_path: Path) -> None:
    busy = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    idle = run(python("import time; time.sleep(0.2)", tmp_path))
    assert idle.wall > 0.2
    assert run(python(busy, tmp_path)).cpu > idle.cpu


def test_pair_runs_both_in_turn_after_one_each_that_does_not_count(tmp_path: Path) -> None:
    one = python("open('log', 'a').write('1')", tmp_path)
    other = python("open('log', 'a').write('2')", tmp_path)
    pair(one, other, 3)
    assert (tmp_path / "log").read_text() == "12" * 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((sys.executable, "-c", "raise SystemExit('no luck')"), "exit code 1: no luck"),
        (("no-such-command",), "no-such-command: No such file"),
    ],
)
def test_command_that_does_not_run_is_said(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(CannotRunError, match=sentence):
        run(Command(words, tmp_path, os.environ))


def test_table_says_what_is_over_its_bound() -> None:
    measured = Pair(Cost(0.2, 0.3), Cost(0.1, 0.1), 2.0)
    rows = [
        table.Row("a", "b", measured, 2.0, "×", 1.9),
        table.Row("c", "d", measured, 24.0, "ms", 25.0),
        table.Row("e", "f", measured, 3.0, "ms"),
    ]
    lines = table.text(rows).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["OVER", "within", "–"]
    assert "200 ms" in lines[2]


def test_largest_stack_is_the_one_with_most_to_render() -> None:
    assert render.largest() == "kubernetes"


@pytest.mark.parametrize("stack", stack_file.names())
def test_chart_and_base_make_the_same_objects(stack: str, tmp_path: Path) -> None:
    charts.write_chart(tmp_path / "chart", stack)
    charts.write_base(tmp_path / "base", stack)
    workloads = json.loads((tmp_path / "chart" / "values.yaml").read_text())["workloads"]
    kustomization = json.loads((tmp_path / "base" / "kustomization.yaml").read_text())
    made = [
        json.loads((tmp_path / "base" / name).read_text()) for name in kustomization["resources"]
    ]
    kinds = ["Deployment", "Service", "ConfigMap"]
    assert [(o["kind"], o["metadata"]["name"]) for o in made] == [
        (kind, name) for name in workloads for kind in kinds
    ]
    assert all(f"kind: {kind}\n" in charts.TEMPLATE for kind in kinds)


def test_tools_that_are_absent_get_a_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    assert list(charts.rows("dev", 1)) == [
        "helm template: helm is not on PATH, so it is not compared.",
        "kustomize build: kustomize is not on PATH, so it is not compared.",
    ]


def test_nothing_deployed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "maker_of", lambda stack: None)
    (sentence,) = engine.rows(1)
    assert (
        sentence == "crm preview, crm up: no stack is deployed here; `make up`, then `make bench`."
    )
