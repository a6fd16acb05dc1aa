"""A page as blocks, written as Markdown or as HTML; both escape whatever they are given.

Text is plain but for parts between backticks, which are code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from msgspec import Struct


class Heading(Struct, frozen=True):
    level: int
    text: str


class Paragraph(Struct, frozen=True):
    text: str


class Facts(Struct, frozen=True):
    """What is told, each with the word for it."""

    items: tuple[tuple[str, str], ...]


class Table(Struct, frozen=True):
    """``numbers`` are the columns, counted from 0, that stand to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...] = ()


class Diff(Struct, frozen=True):
    """Lines of a unified diff."""

    lines: tuple[str, ...]


class Folded(Struct, frozen=True):
    """What is shown when the reader opens it."""

    summary: str
    blocks: tuple[Block, ...]


Block = Heading | Paragraph | Facts | Table | Diff | Folded


def code(value: object) -> str:
    """``value`` as code within a text, on one line."""
    text = " ".join(str(value).replace("`", "'").split())
    return f"`{text}`" if text else "–"


def plain(value: object) -> str:
    """``value`` as words within a text, on one line."""
    return " ".join(str(value).replace("`", "'").split())


# --- Markdown ------------------------------------------------------------------------------------


def markdown(page: Sequence[Block]) -> str:
    """As GitHub and GitLab show it."""
    return "\n\n".join(_markdown(block) for block in page) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_words(block.text)}"
    if isinstance(block, Paragraph):
        return _words(block.text)
    if isinstance(block, Facts):
        return "\n".join(f"- **{_words(name)}:** {_words(fact)}" for name, fact in block.items)
    if isinstance(block, Table):
        rule = ["---:" if n in block.numbers else "---" for n in range(len(block.head))]
        rows = [_cells(block.head), rule, *map(_cells, block.rows)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    if isinstance(block, Diff):
        text = "\n".join(block.lines)
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or [""]))
        return f"{fence}diff\n{text}\n{fence}"
    inside = markdown(block.blocks)
    return f"<details>\n<summary>{_html_words(block.summary)}</summary>\n\n{inside}\n</details>"


def _cells(row: Sequence[str]) -> list[str]:
    # In a table a bar ends the cell, in code too.
    return [_words(cell, bar=r"\|") for cell in row]


def _words(text: str, bar: str = "|") -> str:
    parts = text.split("`")
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = f"`{part}`".replace("|", bar)
        else:
            part = re.sub(r"([\\*_\[\]<>|~$])", r"\\\1", part.replace("&", "&amp;"))
            # A name behind it would be told of the page: a space without width keeps them apart.
            parts[place] = part.replace("@", "@\N{ZERO WIDTH SPACE}")
    return "".join(parts)


# --- HTML ----------------------------------------------------------------------------------------

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2328; background: #fff; }
h1, h2 { line-height: 1.25; } h2 { margin-top: 2rem; border-bottom: 1px solid #d1d9e0; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid #d1d9e0; padding: .3rem .7rem; text-align: left; vertical-align: top; }
.number { text-align: right; white-space: nowrap; }
code, pre { font: 13px/1.45 ui-monospace, monospace; background: #f2f4f6; border-radius: 4px; }
code { padding: .1rem .3rem; } pre { padding: .7rem; overflow-x: auto; }
ins, del { text-decoration: none; } ins { background: #d7f5dd; } del { background: #ffe0de; }
summary { cursor: pointer; padding: .2rem 0; }
"""


def html(page: Sequence[Block], title: str) -> str:
    """One page with all it needs in it; nothing in it can run or be fetched."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    body = "\n".join(_html(block) for block in page)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_html_words(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{_html_words(block.text)}</p>"
    if isinstance(block, Facts):
        pairs = [(_html_words(name), _html_words(fact)) for name, fact in block.items]
        items = "\n".join(f"<li><strong>{name}:</strong> {fact}</li>" for name, fact in pairs)
        return f"<ul>\n{items}\n</ul>"
    if isinstance(block, Table):
        rows = [_html_row("th", block.head, block.numbers)]
        rows += [_html_row("td", row, block.numbers) for row in block.rows]
        return "<table>\n" + "\n".join(rows) + "\n</table>"
    if isinstance(block, Diff):
        marks = {"+": "ins", "-": "del"}
        lines = []
        for line in block.lines:
            tag = marks.get(line[:1])
            lines.append(f"<{tag}>{escape(line)}</{tag}>" if tag else escape(line))
        return "<pre>" + "\n".join(lines) + "</pre>"
    inside = "\n".join(_html(each) for each in block.blocks)
    return f"<details>\n<summary>{_html_words(block.summary)}</summary>\n{inside}\n</details>"


def _html_row(tag: str, cells: Sequence[str], numbers: Sequence[int]) -> str:
    kinds = [' class="number"' if n in numbers else "" for n in range(len(cells))]
    pairs = zip(kinds, cells, strict=True)
    return "<tr>" + "".join(f"<{tag}{kind}>{_html_words(c)}</{tag}>" for kind, c in pairs) + "</tr>"


def _html_words(text: str) -> str:
    parts = [escape(part) for part in text.split("`")]
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(parts))
