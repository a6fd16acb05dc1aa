"""The rendered files of both sides, compared for a page that people read to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import unified_diff

from stacks.reviews.blocks import Block, Diff, Folded, Paragraph, code

FILE_LINES = 80
PAGE_CHARACTERS = 30_000
"""Code hosts take comments up to a length: GitHub's is 65,536 characters for the whole page."""
_LINE_CHARACTERS = 300


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The paths that differ, sorted; but for the picture, which shows only as one."""
    paths = sorted({*before, *after} - {"topology.md"})
    return [path for path in paths if before.get(path) != after.get(path)]


def blocks(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Block]:
    """One folded diff for each change; files that change alike share one."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for path in changed(before, after):
        alike.setdefault(_lines(before.get(path), after.get(path)), []).append(path)
    left = PAGE_CHARACTERS
    for lines, paths in alike.items():
        added, removed = (sum(line[0] == mark for line in lines) for mark in "+-")
        about = f"{', '.join(map(code, paths))}{_state(paths[0], before, after)}: "
        about += f"{added} lines added, {removed} removed"
        if len(paths) > 1:
            about += ", in each alike"
        shown = [_short(line) for line in lines[:FILE_LINES]]
        size = sum(len(line) + 1 for line in shown)
        if size > left:
            yield Folded(about, (Paragraph("Not shown: this page would be too long."),))
            continue
        left -= size
        inside: list[Block] = [Diff(tuple(shown))]
        if len(lines) > FILE_LINES:
            inside.append(Paragraph(f"{len(lines) - FILE_LINES} more lines are not shown."))
        yield Folded(about, tuple(inside))


def _lines(old: str | None, new: str | None) -> tuple[str, ...]:
    lines = unified_diff((old or "").splitlines(), (new or "").splitlines(), lineterm="")
    # The first two name files, and all that could be said of one stands in the summary.
    return tuple(lines)[2:]


def _state(path: str, before: Mapping[str, str], after: Mapping[str, str]) -> str:
    return " (new)" if path not in before else " (gone)" if path not in after else ""


def _short(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS else f"{line[:_LINE_CHARACTERS]} …"
