"""Configuration files, read as far as rules need: one directive after the other, with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct


class Directive(Struct, frozen=True):
    """One directive: its ``words`` without quotes, and the heads of the blocks it is in."""

    line: int
    words: tuple[str, ...]
    within: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0]

    @property
    def value(self) -> str:
        """All after its first word."""
        return " ".join(self.words[1:])


_NGINX = re.compile(
    r"""(?P<space>\s+|\#[^\n]*) | (?P<mark>[{};])
      | "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)'
      | (?P<word>(?:\$\{|[^\s{};"'])(?:\$\{|[^\s{};])*)""",
    re.VERBOSE | re.DOTALL,
)


def nginx(text: str) -> list[Directive]:
    """nginx's own; a block is a directive too. What cannot be read raises ``ValueError``."""
    found: list[Directive] = []
    within: list[tuple[str, ...]] = []
    words: list[str] = []
    place = began = 0
    while place < len(text):
        token = _NGINX.match(text, place)
        if token is None:
            raise ValueError(f"line {_line(text, place)} cannot be read")
        place = token.end()
        if token["space"] is not None:
            continue
        if token["mark"] is None:
            began = began if words else token.start()
            words.append(
                next(w for w in (token["double"], token["single"], token[0]) if w is not None)
            )
            continue
        if words[:1] == ["include"]:
            raise ValueError(f"line {_line(text, began)} includes what is not at hand")
        if words:
            found.append(Directive(_line(text, began), tuple(words), tuple(within)))
        if token["mark"] == "{":
            within.append(tuple(words))
        elif token["mark"] == "}":
            if not within:
                raise ValueError(f"line {_line(text, place)} closes what nothing opened")
            within.pop()
        words = []
    if within or words:
        raise ValueError("the end is missing")
    return found


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


_SECTIONS = (
    *("backend", "cache", "crt-store", "defaults", "frontend", "global", "http-errors", "listen"),
    *("log-forward", "log-profile", "mailers", "peers", "program", "resolvers", "ring", "traces"),
    "userlist",
)
_HAPROXY = re.compile(r"""\#.* | (?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s\#'"\\])+""", re.VERBOSE)


def haproxy(text: str) -> list[Directive]:
    """HAProxy's own, each within its section."""
    section: tuple[str, ...] = ()
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        given = [word for word in _HAPROXY.findall(line) if not word.startswith("#")]
        words = tuple(
            word[1:-1] if word[0] == word[-1] and word[0] in "'\"" else word for word in given
        )
        if not words:
            continue
        if words[0] in _SECTIONS:
            section = words
        found.append(Directive(number, words, (section,)))
    return found


def mysql(text: str) -> list[Directive]:
    """Settings of ``[mysqld]``: the name, as the server writes it, and its value, if it has one."""
    section = ""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        setting = re.sub(r"(^|\s)[#;].*", "", line).strip()
        if setting.startswith("["):
            section = setting.strip("[]")
        elif setting:
            name, _, value = setting.partition("=")
            name = name.strip().lower().replace("-", "_").removeprefix("loose_")
            if section in ("mysqld", "server") or name.startswith("!include"):
                found.append(Directive(number, (name, value.strip().strip("'\""))))
    return found


def redis(text: str) -> list[Directive]:
    """Redis' own, names in lower case."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = [word.strip("\"'") for word in line.split()]
        if words and not words[0].startswith("#"):
            found.append(Directive(number, (words[0].lower(), *words[1:])))
    return found


class Statement(Struct, frozen=True):
    """One statement of SQL and the line it begins on; comments are left out, strings are empty."""

    line: int
    text: str


_SQL = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|--[^\n]*|\#[^\n]*|/\*.*?\*/", re.DOTALL
)


def sql(text: str) -> list[Statement]:
    """The statements of a file."""
    bare = _SQL.sub(_blank, text)
    found, place = [], 0
    for piece in bare.split(";"):
        if piece.strip():
            start = place + len(piece) - len(piece.lstrip())
            found.append(Statement(_line(bare, start), " ".join(piece.split())))
        place += len(piece) + 1
    return found


def _blank(found: re.Match[str]) -> str:
    # What a server carries out although it looks like a remark is kept.
    if found[0].startswith("/*!"):
        return re.sub(r"\A/\*!\d*|\*/\Z", " ", found[0])
    return ("''" if found[0][0] in "'\"" else " ") + "\n" * found[0].count("\n")


def last(directives: Sequence[Directive], *names: str) -> Directive | None:
    """The one that counts where each takes the place of the one before."""
    return next((d for d in reversed(directives) if d.name in names), None)


def seconds(written: str) -> float:
    """A time of nginx's or HAProxy's whose unit is written; 0 for what is none."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", written)
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    return int(found[1]) * units[found[2]] if found else 0


def within(directives: Sequence[Directive], *head: str) -> Iterator[Directive]:
    """Those right inside a block whose head begins so."""
    return (d for d in directives if d.within and d.within[-1][: len(head)] == head)


def fronts(directives: Sequence[Directive]) -> list[Directive]:
    """HAProxy's frontends that hand requests to replicas."""
    served = {
        d.within[-1] for d in directives if d.name in ("default_backend", "use_backend", "server")
    }
    return [d for d in directives if d.name in ("frontend", "listen") and d.within[-1] in served]
