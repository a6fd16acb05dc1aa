"""What is read back of a file of archived rows, without a server."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from crm import archive_files
from crm.archive_files import Measure
from crm.errors import CrmError

ROWS = ["'1', 'it\\'s'", "'2', NULL", "'3', 'INSERT INTO x'", "'4', ';'"]
SUM = sum(int(hashlib.sha256(row.encode()).hexdigest()[:16], 16) for row in ROWS)


def file(folder: Path, *rows: str, end: str | None = None) -> Path:
    """One as it is written, two rows a statement."""
    lines = ["-- t, archived", "CREATE TABLE IF NOT EXISTS `t` (", "  `id` int", ");"]
    for at in range(0, len(rows), 2):
        lines += ["INSERT INTO `t` (`id`, `words`) VALUES", f"({rows[at]})"]
        lines += [f",({row})" for row in rows[at + 1 : at + 2]] + [";"]
    lines.append(f"-- whole: {len(rows)} rows, sum {SUM:x}" if end is None else end)
    path = folder / "t.sql.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def test_rows_and_their_sum_are_those_of_the_file(tmp_path: Path) -> None:
    assert archive_files.read_back(file(tmp_path, *ROWS)) == Measure(4, SUM)
    assert archive_files.read_back(file(tmp_path, *reversed(ROWS))) == Measure(4, SUM)
    empty = file(tmp_path, end="-- whole: 0 rows, sum 0")
    assert archive_files.read_back(empty) == Measure(0, 0)


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        (ROWS[:3], None),
        ([*ROWS[:3], ROWS[0]], None),
        ([*ROWS[:3], "'4', ','"], None),
        (ROWS, ""),
        (ROWS, ";"),
    ],
)
def test_other_rows_and_a_missing_end_are_found(
    tmp_path: Path, rows: list[str], end: str | None
) -> None:
    with pytest.raises(CrmError, match="is not whole, or its rows are not those"):
        archive_files.read_back(file(tmp_path, *rows, end=end))


def test_damage_is_found_by_where_it_is(tmp_path: Path) -> None:
    path = file(tmp_path, *ROWS)
    right = path.read_bytes()
    for at in (len(right) // 2, len(right) - 6):
        path.write_bytes(right[:at] + bytes([right[at] ^ 4]) + right[at + 1 :])
        with pytest.raises(CrmError, match=r"t\.sql\.gz: is (damaged|not whole)"):
            archive_files.read_back(path)
    path.write_bytes(right[:-9])
    with pytest.raises(CrmError, match="damaged"):
        archive_files.read_back(path)


def test_only_files_that_were_compared_count(tmp_path: Path) -> None:
    for name in ("a.1-ff.sql.gz", "a.2-aa.sql.gz", "a.2-aa.sql.gz.sha256", "ab.1-ff.sql.gz.sha256"):
        (tmp_path / name).touch()
    assert archive_files.files(tmp_path, "a") == [tmp_path / "a.2-aa.sql.gz"]
    assert archive_files.files(tmp_path / "none", "a") == []
