"""Where a finding is shown: at a line of what a person keeps, the stack file or a template.

Rendered files are no such place. Code hosts show findings at files of the repository alone, and the
trees in tests/golden are those of the last `make golden`, not what is being checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stacks.check_report import Place
from stacks.paths import STACK_FILES, TEMPLATES, stack_file_name

if TYPE_CHECKING:
    from policies.model import Finding
    from stacks.spec import StackSpec

_TEMPLATE = re.compile(r"\b(templates/\S+\.j2):(\d+): ")
_OF_A_PROXY = re.compile(r"\b(nginx\.conf|haproxy\.cfg):(\d+)\b")
_KEY = re.compile(r"(?:\bcrm:|`)([a-z]\w*(?:[.\[][\w-]+\]?)*)")
_LINE = re.compile(r"\bline (\d+)\b")
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*%\}")
_TIERS = ("app", "cache", "database", "edge")
_OTHERS = dict.fromkeys(("backup", "offsite", "partitions", "schema"), "database")
"""What belongs to a tier and does not begin with its name."""


class Places:
    """Those of one stack. ``files`` is what is rendered of it, once that is known."""

    def __init__(self, stack: str) -> None:
        self._name = stack_file_name(stack)
        self._root = _root(stack)
        self.files: Mapping[str, str] = {}

    def of_error(self, message: str) -> Place:
        """Where a refusal is about, as far as its sentence says."""
        if found := _TEMPLATE.search(message):
            return Place(found[1], int(found[2]))
        if found := _OF_A_PROXY.search(message):
            path = next((p for p in self.files if p.endswith(f"/{found[1]}")), "")
            if path:
                return self.of_rendered(path, int(found[2]))
        if found := _LINE.search(message):
            return Place(self._name, int(found[1]))
        found = _KEY.search(message)
        return self.of_key(re.findall(r"[\w-]+", found[1]) if found else [])

    def of_policy(self, finding: Finding, spec: StackSpec) -> Place:
        """Where what a rule found comes from."""
        if finding.rule == "exceptions":
            numbers = [
                str(number)
                for number, one in enumerate(spec.policies.exceptions)
                if one.resource == finding.resource and f"from {one.rule} " in finding.what
            ]
            return self.of_key(["policies", "exceptions", *numbers[:1]])
        if finding.resource in self.files:
            return self.of_rendered(finding.resource, finding.line)
        for name in spec.services:
            if _belongs(finding.resource, name):
                return self.of_key(["services", name])
        for name, key in {**_OTHERS, **dict(zip(_TIERS, _TIERS, strict=True))}.items():
            if _belongs(finding.resource, name):
                return self.of_key([key])
        return self.of_key([])

    def of_rendered(self, path: str, line: int) -> Place:
        """Where line ``line`` of a rendered file comes from: the setting of the stack file that
        it is, else the template's line that it looks like most."""
        lines = self.files[path].splitlines()
        text = lines[line - 1] if 0 < line <= len(lines) else ""
        setting = self._find(["database", "settings", text.partition("=")[0].strip()])
        if path.endswith("/my.cnf") and len(setting) == 3:
            return Place(self._name, setting[-1])
        return _template(path, text)

    def of_key(self, steps: Sequence[str]) -> Place:
        """The stack file's line of a key, or of the innermost one above it that is there."""
        return Place(self._name, [1, *self._find(steps)][-1])

    def _find(self, steps: Sequence[str]) -> list[int]:
        """The lines of ``steps``, each under the one before, as far as they are there."""
        found: list[int] = []
        node = _child(self._root, "config")
        for number, step in enumerate(steps):
            child = _child(node[1], f"crm:{step}" if number == 0 else step) if node else None
            if child is None:
                break
            found.append(child[0].start_mark.line + 1)
            node = child
        return found


def _belongs(resource: str, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(name)}([-_].*)?", resource) is not None


def _root(stack: str) -> Any:
    """The YAML nodes of a stack's file; nothing where there is none, or it is no YAML."""
    import yaml

    try:
        return yaml.compose((STACK_FILES / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _child(node: Any, name: str) -> tuple[Any, Any] | None:
    """The key's node and the value's; of a list the item twice."""
    if node is None or isinstance(node.value, str):
        return None
    for number, child in enumerate(node.value):
        if isinstance(child, tuple):
            if child[0].value == name:
                return child
        elif str(number) == name:
            return child, child
    return None


def _template(path: str, text: str) -> Place:
    """The line of a rendered file's template that ``text`` shares most with."""
    folder, _, name = path.rpartition("/")
    template = TEMPLATES / folder.partition("/")[0] / f"{name}.j2"
    best, line = 0, 1
    for number, written in enumerate(template.read_text(encoding="utf-8").splitlines(), start=1):
        pieces = _JINJA.split(written)
        alike = sum(map(len, pieces)) - len(written) + len(written.lstrip())
        if alike > best and re.fullmatch(".*".join(map(re.escape, pieces)), text):
            best, line = alike, number
    return Place(f"templates/{template.relative_to(TEMPLATES).as_posix()}", line)
