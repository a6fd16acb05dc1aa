"""Text to statements of tokens. Comments are left out; ``/*!50100 … */`` is read, as MySQL does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

VERSION = 90704
"""What is in ``/*!NNNNN … */`` for a newer server than this is a comment."""


class UnreadError(Exception):
    """What is written is not understood: no judgement, and never an error."""


class Token(NamedTuple):
    """``kind``: word, name (in backticks), string, number, op. ``value``: without its quotes;
    words in upper case, and in ``raw`` as written. ``start`` and ``end``: offsets in the text."""

    kind: str
    value: str
    start: int
    end: int
    raw: str = ""


class Edit(NamedTuple):
    """``text`` in the place of what is between two offsets."""

    start: int
    end: int
    text: str


_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<remark>\#[^\n]*|--(?=\s|\Z)[^\n]*)
    | (?P<executed>/\*!(?P<version>\d{5,6})?)
    | (?P<comment>/\*.*?(?:\*/|\Z))
    | (?P<closing>\*/)
    | (?P<name>`(?:[^`]|``)*`)
    | (?P<hex>0[xXbB][0-9a-fA-F]+\b|[xXbB]'[0-9a-fA-F]*')
    | (?P<string>(?:[nN](?='))?(?:'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"))
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))
    | (?P<word>[\w$]+)
    | (?P<op><<|>>|<=|>=|<>|!=|:=|\|\||&&|[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text``, without space and comments. An open quote raises ``UnreadError``."""
    place, executed = 0, False
    while place < len(text):
        found = _TOKEN.match(text, place)
        assert found is not None
        kind, start, place = str(found.lastgroup), place, found.end()
        if kind == "version":
            kind = "executed"
        written = found[0]
        if kind in ("space", "remark", "comment"):
            continue
        if kind == "executed":
            if int(found["version"] or 0) > VERSION:
                end = text.find("*/", place)
                place = len(text) if end < 0 else end + 2
            else:
                executed = True
            continue
        if kind == "closing":
            if executed:
                executed = False
                continue
            yield Token("op", "*", start, start + 1)
            place = start + 1
            continue
        if kind == "op" and written in "'\"`":
            raise UnreadError(f"a quote ({written}) is not closed")
        held = _value(kind, written)
        raw = written if kind == "word" else held
        yield Token("number" if kind == "hex" else kind, held, start, place, raw)


def _value(kind: str, written: str) -> str:
    if kind == "name":
        return written[1:-1].replace("``", "`")
    if kind == "string":
        bare = written.lstrip("nN")
        quote, inner = bare[0], bare[1:-1].replace(bare[0] * 2, bare[0])
        del quote
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), inner, flags=re.DOTALL)
    return written.upper() if kind in ("word", "hex") else written


_DELIMITER = re.compile(r"^[ \t]*DELIMITER[ \t]+(\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)


def blank_foreign(text: str) -> str:
    """``text`` with what stands between DELIMITER lines (bodies of procedures) made blank."""
    pieces, place, hidden = [], 0, False
    for found in _DELIMITER.finditer(text):
        piece = text[place : found.start()]
        pieces.append(re.sub(r"[^\n]", " ", piece) if hidden else piece)
        pieces.append(re.sub(r"[^\n]", " ", found[0]))
        place, hidden = found.end(), found[1] != ";"
    piece = text[place:]
    return "".join([*pieces, re.sub(r"[^\n]", " ", piece) if hidden else piece])


class Statement(NamedTuple):
    """One statement and the line it begins on; ``problem`` where it cannot be split into tokens."""

    text: str
    line: int
    problem: str = ""


def statements(text: str) -> Iterator[Statement]:
    """The statements of ``text``, each with its own text, without the semicolon."""
    text = blank_foreign(text)
    first: int | None = None
    last = 0
    try:
        for token in tokens(text):
            if token.value == ";" and token.kind == "op":
                if first is not None:
                    yield _statement(text, first, token.start)
                first = None
            elif first is None:
                first = token.start
            last = token.end
    except UnreadError as problem:
        begin = last if first is None else first
        begin += len(text[begin:]) - len(text[begin:].lstrip(" \t\n;"))
        yield Statement(text[begin:], text.count("\n", 0, begin) + 1, str(problem))
        return
    if first is not None:
        yield _statement(text, first, len(text))


def _statement(text: str, start: int, end: int) -> Statement:
    # A dump's `/*!50100 CREATE …`: the opening is part of the statement.
    opening = re.search(r"/\*!\d*\s*\Z", text[:start])
    start = opening.start() if opening else start
    return Statement(text[start:end].strip(), text.count("\n", 0, start) + 1)


class Cursor:
    """A place in a row of tokens."""

    def __init__(self, row: Sequence[Token]) -> None:
        self.row = row
        self.place = 0

    def peek(self, ahead: int = 0) -> Token:
        """The next token, or an empty one at the end."""
        at = self.place + ahead
        if at < len(self.row):
            return self.row[at]
        end = self.row[-1].end if self.row else 0
        return Token("end", "", end, end)

    def next(self) -> Token:
        token = self.peek()
        if token.kind == "end":
            raise UnreadError("it ends where more is due")
        self.place += 1
        return token

    @property
    def done(self) -> bool:
        return self.place >= len(self.row)

    def at(self, *words: str) -> bool:
        """Whether these words or signs come next."""
        return all(
            self.peek(i).kind in ("word", "op") and self.peek(i).value == word
            for i, word in enumerate(words)
        )

    def take(self, *words: str) -> bool:
        """Pass over these words if they come next."""
        if self.at(*words):
            self.place += len(words)
            return True
        return False

    def need(self, word: str) -> Token:
        if not self.at(word):
            raise UnreadError(f"`{word}` expected where `{self.peek().value or 'the end'}` stands")
        return self.next()

    def name(self) -> Token:
        """An identifier."""
        if self.peek().kind not in ("word", "name"):
            raise UnreadError(f"a name expected where `{self.peek().value or 'the end'}` stands")
        return self.next()

    def table(self) -> str:
        """A table's name, without its schema; as MySQL on Linux, upper and lower case differ."""
        text = self.raw_name()
        return self.raw_name() if self.take(".") else text

    def raw_name(self) -> str:
        return self.name().raw

    def number(self) -> int:
        token = self.next()
        if token.kind != "number" or not token.value.isdigit():
            raise UnreadError(f"a whole number expected where `{token.value}` stands")
        return int(token.value)

    def group(self) -> list[Token]:
        """The tokens between the parentheses that begin here."""
        self.need("(")
        depth, begin = 1, self.place
        while depth:
            if self.done:
                raise UnreadError("a parenthesis is not closed")
            token = self.next()
            if token.kind == "op":
                depth += {"(": 1, ")": -1}.get(token.value, 0)
        return list(self.row[begin : self.place - 1])


def parts(row: Sequence[Token]) -> list[list[Token]]:
    """``row`` cut at the commas that are in no parentheses; empty for an empty row."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in row:
        if token.kind == "op":
            depth += {"(": 1, ")": -1}.get(token.value, 0)
            if token.value == "," and depth == 0:
                found.append([])
                continue
        found[-1].append(token)
    return found if row else []


def apply(text: str, edits: Sequence[Edit]) -> str:
    """``text`` with ``edits`` carried out; none may overlap."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text
