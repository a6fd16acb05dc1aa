"""``crm check --sql``: exit codes, text, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stacks.cli import main
from tests.sql_lint.recorded import FOLDER

WRONG, RIGHT = str(FOLDER / "article_form.sql"), str(FOLDER / "article_corrected.sql")


def test_accepted_file_is_0_and_advice_does_not_change_that(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--sql", RIGHT]) == 0
    assert f"{RIGHT}:1: advice: orders: " in capsys.readouterr().out


def test_refused_file_is_1_with_number_reason_and_correction(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--sql", RIGHT, WRONG]) == 1
    said = capsys.readouterr().out
    assert f"{WRONG}:1: error 1697: orders: " in said
    assert f"{WRONG}:1: error 1503: orders: the primary key lacks order_date" in said
    assert "  right would be:\n    CREATE TABLE orders (\n" in said


def test_files_after_each_of_several_sql_are_all_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "--sql", WRONG, "--sql", RIGHT]) == 1
    said = capsys.readouterr().out
    assert f"{WRONG}:1: error 1697" in said
    assert f"{RIGHT}:1: advice" in said


def test_report_that_cannot_be_written_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = str(tmp_path / "absent" / "report")
    for option in ("--sarif", "--junit"):
        assert main(["check", "--sql", RIGHT, option, there]) == 2
        assert f"error: {there}: cannot be written" in capsys.readouterr().err


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--sql", WRONG]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert list(findings[0]) == [
        *("file", "line", "statement", "table", "error", "message", "corrected")
    ]
    assert [one["error"] for one in findings[:2]] == [1697, 1503]
    assert findings[0]["file"] == WRONG
    assert main(["check", "--json", "--sql", str(FOLDER / "hash_year.sql")]) == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}


@pytest.mark.parametrize(
    "arguments",
    [["check"], ["check", "dev", "--sql", RIGHT], ["check", "--sql"], ["check", "dev", "--json"]],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_file_that_is_none_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary.sql"
    binary.write_bytes(b"CREATE\0TABLE")
    latin = tmp_path / "latin.sql"
    latin.write_bytes("CREATE TABLE é (i INT)".encode("latin-1"))
    for path in (binary, latin, tmp_path, tmp_path / "absent.sql"):
        assert main(["check", "--sql", str(path)]) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"error: {path}: ")
        assert said.out == ""


def test_rendering_does_not_import_it() -> None:
    code = (
        "import sys, stacks.cli, stacks.render, stacks.check\n"
        "print('stacks.sql_lint' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
