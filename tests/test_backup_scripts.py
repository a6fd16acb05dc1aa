"""The scripts that make and restore backups: that they are scripts, and what parts of them say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stacks import plan, render, stack_file


def script(name: str) -> str:
    """``name`` as it is rendered for a stack with backups and copies of them."""
    key = {"env": "CRM_S3"}
    bucket = {"bucket": "crm", "access_key_id": key, "secret_access_key": key}
    config: dict[str, object] = {"database": {"backup": {"s3": bucket}}}
    return render.Renderer().tree(plan.make("dev", stack_file.parse(config, "dev")))[
        f"backup/{name}"
    ]


def functions(first: str, end: str) -> str:
    """Those of the keeper's script from ``first`` to before ``end``."""
    return f"{first}() {{" + script("backup.sh").partition(f"{first}() {{")[2].partition(end)[0]


@pytest.mark.parametrize("name", ["backup.sh", "restore.sh"])
def test_script_is_bash(name: str) -> None:
    text = script(name)
    checked = subprocess.run(
        ["bash", "-n"], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    assert checked.returncode == 0, checked.stderr
    # No password is ever on a command line.
    assert "--password" not in text
    assert "MYSQL_PWD" not in text


def test_server_that_is_away_is_told_and_not_taken_for_an_answer() -> None:
    asks = functions("server_end", "\n}\n")
    away = "set -euo pipefail; logs=/; sql() { echo gone >&2; return 1; }; "
    away += f"{asks}\n}}; server_end"
    done = subprocess.run(["bash", "-c", away], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "gone\n")


def test_clock_that_was_ahead_hides_no_backup_and_takes_no_log(tmp_path: Path) -> None:
    made = {"2020-01-01": "000003", "2021-01-01": "000002", "2999-01-01": "000007"}
    for day, log in made.items():
        folder = tmp_path / f"{day}T00:00:00Z"
        folder.mkdir()
        manifest = f'{{\n  "server_uuid": "u",\n  "binlog": "binlog.{log}",\n}}\n'
        (folder / "manifest.json").write_text(manifest)
    asks = f"set -euo pipefail; backups={tmp_path}; {functions('of_manifest', chr(10) + 'is_of')}\n"
    asks += "newest; first_needed u; first_needed v"
    done = subprocess.run(["bash", "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2021-01-01T00:00:00Z", "binlog.000002"]


def test_nothing_is_restored_while_copies_come_back(tmp_path: Path) -> None:
    begins = script("restore.sh").partition("\nfor file in dump.sql.gz")[0]
    begins = begins.replace("/backup/", f"{tmp_path}/")
    asks = ["bash", "-c", f"{begins}\necho goes on", "restore.sh", "2020-01-01T00:00:00Z"]
    (tmp_path / "offsite" / "coming").mkdir(parents=True)
    done = subprocess.run(asks, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("problem copies are still coming back from the bucket")
    (tmp_path / "offsite" / "coming").rmdir()
    assert subprocess.run(asks, capture_output=True, text=True, check=True).stdout == "goes on\n"
