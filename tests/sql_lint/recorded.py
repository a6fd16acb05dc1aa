"""The cases: files of statements, and what the real server said to each."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "cases"
ANSWERS: dict[str, int | None] = json.loads(
    (Path(__file__).parent / "answers.json").read_text(encoding="utf-8")
)
"""Error number of each case, None where all was accepted. Recorded from MySQL 9.7.4 by
``tests/live/test_sql_lint.py``, which asks again and compares; never written by hand."""


def cases() -> dict[str, str]:
    """Name → text of each: a file in ``cases``, or a line of a file in ``cases/lines``, which is
    its own name."""
    files = sorted(FOLDER.glob("*.sql"))
    found = {path.stem: path.read_text(encoding="utf-8") for path in files}
    for path in sorted((FOLDER / "lines").glob("*.sql")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("-- "):
                assert line not in found, f"{path}: this case is there twice: {line}"
                found[line] = line
    return found
