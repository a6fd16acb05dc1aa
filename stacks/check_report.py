"""What ``crm check`` found, for code hosts and CI: SARIF 2.1.0 and JUnit's XML.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from msgspec import Struct

from stacks.errors import CrmError
from stacks.paths import ROOT

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_UNFIT = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Place(Struct, frozen=True):
    """A line of a file that a person keeps: from the project's root, or as it was named."""

    path: str
    line: int = 1


class Shown(Struct, frozen=True):
    """One finding; ``fatal`` says whether the check fails by it."""

    rule: str
    fatal: bool
    message: str
    place: Place


class About(Struct, frozen=True):
    """What one rule is about, and how to put right what it finds."""

    reason: str
    fix: str = ""


class Report(Struct):
    """All that was asked, in its order, by the name that reports have for it; empty where nothing
    was found."""

    name: str
    cases: dict[str, list[Shown]]
    about: Mapping[str, About] = {}

    def add(self, case: str, *found: Shown) -> None:
        """``case`` was asked, and found that."""
        self.cases.setdefault(case, []).extend(found)

    @property
    def fails(self) -> bool:
        """Whether anything is fatal."""
        return any(one.fatal for found in self.cases.values() for one in found)


def write(report: Report, sarif_file: Path | None, junit_file: Path | None) -> None:
    """Raises ``CrmError`` where a file cannot be written."""
    for path, make in ((sarif_file, sarif), (junit_file, junit)):
        if path is not None:
            try:
                path.write_text(make(report), encoding="utf-8")
            except OSError as error:
                raise CrmError(
                    f"{path}: cannot be written: {error.strerror}; name a file in a folder that "
                    "is there"
                ) from None


def sarif(report: Report) -> str:
    """As code hosts read it, which then show each finding at its line."""
    found = [one for case in report.cases.values() for one in case]
    rules = list(dict.fromkeys([*report.about, *(one.rule for one in found)]))
    driver = {
        "name": "crm check",
        "rules": [_descriptor(name, report.about.get(name)) for name in rules],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [
            {
                "ruleId": one.rule,
                "ruleIndex": rules.index(one.rule),
                "level": "error" if one.fatal else "warning",
                "message": {"text": _clean(one.message)},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": _artifact(one.place.path),
                            "region": {"startLine": one.place.line},
                        }
                    }
                ],
            }
            for one in found
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _descriptor(name: str, about: About | None) -> dict[str, object]:
    described: dict[str, object] = {"id": name}
    if about is not None:
        described["shortDescription"] = {"text": about.reason}
        if about.fix:
            described["help"] = {"text": about.fix}
    return described


def _artifact(path: str) -> dict[str, str]:
    """Files of the checkout are named from its root, which is what code hosts look for."""
    full = (ROOT / path) if (ROOT / path).exists() else Path(path).absolute()
    if not full.is_relative_to(ROOT):
        return {"uri": full.as_uri()}
    return {"uri": quote(full.relative_to(ROOT).as_posix()), "uriBaseId": "%SRCROOT%"}


def junit(report: Report) -> str:
    """One test case for each rule. Of several findings CI shows the first failure alone, so they
    are one; what is not fatal is the case's output."""
    failed = sum(any(one.fatal for one in found) for found in report.cases.values())
    counts = {"tests": str(len(report.cases)), "failures": str(failed), "errors": "0"}
    suites = ElementTree.Element("testsuites", {"name": "crm check", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": report.name, **counts})
    for name, found in report.cases.items():
        about = {"name": _clean(name), "classname": _clean(report.name), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", about)
        if fatal := [one for one in found if one.fatal]:
            what = {"message": _clean(fatal[0].message), "type": fatal[0].rule}
            ElementTree.SubElement(case, "failure", what).text = _lines(fatal)
        if told := [one for one in found if not one.fatal]:
            ElementTree.SubElement(case, "system-out").text = _lines(told)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _lines(found: list[Shown]) -> str:
    return _clean("\n".join(f"{one.place.path}:{one.place.line}: {one.message}" for one in found))


def _clean(text: str) -> str:
    """Without what XML cannot hold, nor UTF-8."""
    return _UNFIT.sub("\ufffd", text)
