"""``crm check --sql``: files in, findings out, as text or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from stacks.errors import CrmError
from stacks.sql_lint.judge import Finding, lint_all

if TYPE_CHECKING:
    from stacks.check_report import Place, Shown


def run(
    files: Sequence[str], as_json: bool, sarif: Path | None = None, junit: Path | None = None
) -> int:
    """Lint ``files`` in their order: 0 if the server would accept all, 1 if not, 2 if one cannot be
    read. Writes reports of what was found; 2 where one cannot be written."""
    texts = {}
    for name in files:
        try:
            texts[name] = read(Path(name))
        except (OSError, ValueError) as problem:
            print(f"error: {name}: {problem}", file=sys.stderr)
            return 2
    judged = zip(texts, lint_all(texts.values()), strict=True)
    found = [(name, finding) for name, findings in judged for finding in findings]
    if as_json:
        print(json.dumps({"findings": [_object(*one) for one in found]}, indent=2))
    else:
        for line in lines(found):
            print(line)
    if sarif or junit:
        from stacks.check_report import Place, Report, write

        report = Report("sql", {name: [] for name in texts})
        for name, finding in found:
            place = Place(name, finding.line)
            report.add(name, shown(finding, f"{name}:{finding.line}", place))
        try:
            write(report, sarif, junit)
        except CrmError as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 2
    return 1 if any(finding.error for _, finding in found) else 0


def shown(finding: Finding, where: str, place: Place) -> Shown:
    """The finding as reports have it; the number of MySQL's error is its rule."""
    from stacks.check_report import Shown

    about = f"{finding.table}: " if finding.table else ""
    right = f"\nright would be:\n{finding.corrected};" if finding.corrected else ""
    rule = f"mysql-{finding.error}" if finding.error else "sql-advice"
    return Shown(rule, bool(finding.error), f"{where}: {about}{finding.message}{right}", place)


def read(path: Path) -> str:
    """The text of a file. Raises ``ValueError`` or ``OSError`` with a sentence."""
    if not path.exists():
        raise ValueError("there is no such file")
    if not path.is_file():
        raise ValueError("this is no file; name a file of SQL")
    data = path.read_bytes()
    if b"\0" in data:
        raise ValueError("this is a binary file; name a file of SQL")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("this is no text in UTF-8; name a file of SQL in UTF-8") from None


def _object(name: str, finding: Finding) -> dict[str, object]:
    return {"file": name, **finding._asdict()}


def lines(found: Sequence[tuple[str, Finding]]) -> list[str]:
    """One line a finding, and after those of a statement what would be right."""
    printed = []
    for (name, line, _), group in groupby(
        found, lambda one: (one[0], one[1].line, one[1].statement)
    ):
        corrected = None
        for _, finding in group:
            kind = f"error {finding.error}" if finding.error else "advice"
            about = f"{finding.table}: " if finding.table else ""
            printed.append(f"{name}:{line}: {kind}: {about}{finding.message}")
            corrected = finding.corrected or corrected
        if corrected:
            printed.append("  right would be:")
            printed += [f"    {one}" for one in f"{corrected};".splitlines()]
    return printed
