"""The embedded engine is a stand-in, not a second product: it may not grow."""

import ast
import io
import tokenize
from pathlib import Path

from stacks.paths import ROOT

CODE_LINES = 1200
"""Lines that hold code; not blank ones, comments and docstrings (shared design, "The fence")."""
FILE_LINES = 400

_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    tokenize.ENDMARKER,
}


def code_lines(path: Path) -> int:
    """How many lines of ``path`` hold code."""
    text = path.read_text()
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_engine_stays_within_its_fence() -> None:
    files = sorted((ROOT / "stacks" / "embedded").glob("*.py"))
    assert sum(map(code_lines, files)) <= CODE_LINES
    for path in files:
        assert len(path.read_text().splitlines()) < FILE_LINES, path.name
