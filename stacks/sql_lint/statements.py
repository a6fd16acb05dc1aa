"""A file's statements, as the client ``mysql`` cuts them: at semicolons, or what DELIMITER says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from stacks.sql_lint.reader import TOKEN, VERSION

_DELIMITER = re.compile(r"[ \t]*DELIMITER[ \t]+(\S+)[^\n]*", re.IGNORECASE)


class Statement(NamedTuple):
    """One statement and the line it begins on."""

    text: str
    line: int


def statements(text: str) -> Iterator[Statement]:
    """The statements of ``text``, each with its own text, without its delimiter. What follows an
    open quote or comment is one statement."""
    delimiter, place, line, counted = ";", 0, 1, 0
    first: int | None = None
    while place < len(text):
        if first is None and (place == 0 or text[place - 1] == "\n"):
            said = _DELIMITER.match(text, place)
            if said:
                delimiter, place = said[1], said.end()
                continue
        kind, end = _piece(text, place)
        cut = -1
        if kind in ("word", "op", "number", "closing"):
            cut = text.find(delimiter, place, end)
        if kind in ("word", "op", "number") and text.startswith(delimiter, place):
            cut = place
        if cut >= 0:
            if first is None and cut > place:
                first = place
            if first is not None:
                line, counted = line + text.count("\n", counted, first), first
                yield Statement(text[first:cut].strip(), line)
            first, place = None, cut + len(delimiter)
            continue
        if first is None and kind not in ("space", "remark", "comment"):
            first = place
        place = end
    if first is not None:
        yield Statement(text[first:].strip(), line + text.count("\n", counted, first))


def _piece(text: str, place: int) -> tuple[str, int]:
    """The kind of the token that begins at ``place``, and where it ends. Space ends after a line:
    the client knows DELIMITER at the beginning of one."""
    found = TOKEN.match(text, place)
    assert found is not None
    kind, end = str(found.lastgroup), found.end()
    if kind == "space":
        line = text.find("\n", place, end)
        return kind, end if line < 0 else line + 1
    if kind in ("version", "executed"):
        if int(found["version"] or 0) > VERSION:
            closing = text.find("*/", end)
            return "comment", len(text) if closing < 0 else closing + 2
        return "executed", end
    if kind == "op" and (found[0] in "'\"`" or text.startswith("/*", place)):
        return "open", len(text)
    return kind, end
