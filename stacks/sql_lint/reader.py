"""Text to tokens. Comments are left out; ``/*!50100 … */`` is read, as MySQL does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stacks.sql_lint.words import is_reserved

VERSION = 90704
"""What is in ``/*!NNNNN … */`` for a newer server than this is a comment."""
LONGEST_NAME = 64
SYNTAX = 1064


class UnreadError(Exception):
    """What is written is not understood: no judgement, and never an error."""


class RefusedError(Exception):
    """What the server refuses while it reads: error number, why."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


class Token(NamedTuple):
    """``kind``: word, name (in backticks), string, number, op. ``value``: without its quotes;
    words in upper case, and in ``raw`` as written. ``start`` and ``end``: offsets in the text."""

    kind: str
    value: str
    start: int
    end: int
    raw: str = ""


class Name(NamedTuple):
    """A table. ``schema`` is "" where none is named and no USE came before."""

    schema: str
    table: str


class Edit(NamedTuple):
    """``text`` in the place of what is between two offsets."""

    start: int
    end: int
    text: str


TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<remark>\#[^\n]*|--(?=\s|\Z)[^\n]*)
    | (?P<executed>/\*!(?P<version>\d{5,6})?)
    | (?P<comment>/\*.*?\*/)
    | (?P<closing>\*/)
    | (?P<name>`(?:[^`]|``)*`)
    | (?P<hex>0[xX][0-9a-fA-F]+\b|0b[01]+\b|[xX]'[0-9a-fA-F]*'|[bB]'[01]*')
    | (?P<string>(?:[nN](?='))?(?:'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"))
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))
    | (?P<word>[\w$]+)
    | (?P<op><<|>>|<=>|<=|>=|<>|!=|:=|\|\||&&|->>|->|[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}


def tokens(text: str, ansi: bool = False) -> Iterator[Token]:
    """The tokens of ``text``, without space and comments; ``ansi``: what is in double quotes is a
    name. An open quote or comment raises ``RefusedError``."""
    place, executed = 0, False
    while place < len(text):
        found = TOKEN.match(text, place)
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
            raise RefusedError(SYNTAX, f"a quote ({written}) is not closed")
        if text.startswith("/*", start):
            raise RefusedError(SYNTAX, "a comment (/*) is not closed")
        if ansi and kind == "string" and written.startswith('"'):
            kind = "name"
        held = _value(kind, written)
        raw = written if kind == "word" else held
        yield Token("number" if kind == "hex" else kind, held, start, place, raw)


def _value(kind: str, written: str) -> str:
    if kind == "name":
        return written[1:-1].replace(written[0] * 2, written[0])
    if kind == "string":
        bare = written.lstrip("nN")
        inner = bare[1:-1].replace(bare[0] * 2, bare[0])
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), inner, flags=re.DOTALL)
    return written.upper() if kind in ("word", "hex") else written


class Cursor:
    """A place in a row of tokens. What is due and missing raises ``RefusedError``: only what is
    wholly understood is read by one."""

    def __init__(self, row: Sequence[Token], schema: str = "") -> None:
        self.row = row
        self.place = 0
        self.schema = schema

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
            raise RefusedError(SYNTAX, "it ends where more is due")
        self.place += 1
        return token

    @property
    def done(self) -> bool:
        return self.place >= len(self.row)

    @property
    def stands(self) -> str:
        """What stands here, for a message."""
        token = self.peek()
        return token.raw or token.value or "the end"

    def at(self, *words: str) -> bool:
        """Whether these words or signs come next."""
        return all(
            self.peek(i).kind in ("word", "op") and self.peek(i).value == word
            for i, word in enumerate(words)
        )

    def at_any(self, words: frozenset[str]) -> bool:
        """Whether one of these words comes next."""
        return self.peek().kind == "word" and self.peek().value in words

    def take(self, *words: str) -> bool:
        """Pass over these words if they come next."""
        if self.at(*words):
            self.place += len(words)
            return True
        return False

    def need(self, *words: str) -> Token:
        """Pass over these words, which have to come next; the last of them."""
        for word in words:
            if not self.at(word):
                raise RefusedError(SYNTAX, f"`{word}` expected where `{self.stands}` stands")
            self.place += 1
        return self.row[self.place - 1]

    def end(self) -> None:
        """Nothing may come any more."""
        if not self.done:
            raise RefusedError(SYNTAX, f"`{self.stands}` where nothing more may stand")

    def name(self, dotted: bool = False) -> Token:
        """An identifier; ``dotted``: after a dot, where reserved words need no quotes."""
        token = self.peek()
        if token.kind not in ("word", "name") or (token.kind == "name" and not token.value):
            raise RefusedError(SYNTAX, f"a name expected where `{self.stands}` stands")
        if token.kind == "word" and not dotted and is_reserved(token.value):
            why = f"`{token.raw}` is a reserved word: as a name it stands in backticks"
            raise RefusedError(SYNTAX, why)
        if token.kind == "word" and token.value.isdigit():
            raise RefusedError(SYNTAX, f"a name expected where `{token.raw}` stands")
        if len(token.raw) > LONGEST_NAME:
            raise RefusedError(1059, f"the name {token.raw} is longer than 64 characters")
        return self.next()

    def table(self) -> Name:
        """A table's name; as MySQL on Linux, upper and lower case differ."""
        text = self.name().raw
        if self.take("."):
            return Name(text, self.name(dotted=True).raw)
        return Name(self.schema, text)

    def raw_name(self) -> str:
        return self.name().raw

    def word(self) -> str:
        """What is no identifier and may be reserved or quoted: an engine, a character set."""
        token = self.next()
        if token.kind == "op":
            raise RefusedError(SYNTAX, f"a word expected where `{token.value}` stands")
        return token.raw

    def number(self) -> int:
        """A whole number, also in hexadecimal."""
        token = self.next()
        if token.kind != "number" or not re.fullmatch(r"\d{1,20}|0X[0-9A-F]{1,16}", token.value):
            raise RefusedError(SYNTAX, f"a whole number expected where `{token.raw}` stands")
        number = int(token.value, 16 if token.value.startswith("0X") else 10)
        if number >= 2**64:
            raise RefusedError(SYNTAX, f"{number} is too large")
        return number

    def group(self) -> list[Token]:
        """The tokens between the parentheses that begin here."""
        self.need("(")
        depth, begin = 1, self.place
        while depth:
            if self.done:
                raise RefusedError(SYNTAX, "a parenthesis is not closed")
            token = self.next()
            if token.kind == "op":
                depth += {"(": 1, ")": -1}.get(token.value, 0)
        return list(self.row[begin : self.place - 1])

    def inner(self) -> Cursor:
        """A cursor over what is between the parentheses that begin here."""
        return Cursor(self.group(), self.schema)


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
