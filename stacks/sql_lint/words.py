"""MySQL's words: what is reserved, what a statement begins with, functions it refuses."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path


@cache
def words(name: str) -> frozenset[str]:
    """The list ``name`` of ``words.toml``, in upper case."""
    text = (Path(__file__).parent / "words.toml").read_text(encoding="utf-8")
    return frozenset(str(tomllib.loads(text)[name]).split())


def is_reserved(word: str) -> bool:
    """Whether ``word`` has to be quoted where it is a name."""
    return word.upper() in words("reserved")
