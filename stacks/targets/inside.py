"""Commands inside what runs of a stack, the same on both targets."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from stacks.errors import CrmError

Said = Callable[[bytes, bytes], None]
"""Is given what a command said since the last time: to its output, to its errors."""


class Inside(Protocol):
    """One running instance of a workload, under the ``name`` that its target has it by."""

    name: str

    def run(self, command: Sequence[str], said: Said) -> int:
        """Run ``command`` to its end, which may take long; returns its exit code.

        Raises ``CrmError`` where it cannot be run, or nobody knows how it ended.
        """


def read(inside: Inside, path: str) -> str:
    """The text of a file that ``inside`` sees. Raises ``CrmError`` where it cannot be read."""
    code, text = ask(inside, ["cat", path])
    if code != 0:
        raise CrmError(f"{inside.name}: {path}: {text.strip()}")
    return text


def ask(inside: Inside, command: Sequence[str]) -> tuple[int, str]:
    """The exit code of ``command``, and all it said, errors included."""
    parts: list[bytes] = []
    code = _run(inside, command, lambda out, err: parts.extend((out, err)))
    return code, b"".join(parts).decode(errors="replace")


def show(inside: Inside, command: Sequence[str]) -> int:
    """Run ``command``, saying here what it says; returns its exit code."""
    decoder = codecs.getincrementaldecoder("utf-8")
    # A letter may come in two parts.
    out, err = decoder(errors="replace"), decoder(errors="replace")

    def said(output: bytes, errors: bytes) -> None:
        sys.stdout.write(out.decode(output))
        sys.stderr.write(err.decode(errors))
        sys.stdout.flush()

    return _run(inside, command, said)


def _run(inside: Inside, command: Sequence[str], said: Said) -> int:
    try:
        return inside.run(command, said)
    except KeyboardInterrupt:
        print(f"{inside.name}: what was asked goes on there to its end", file=sys.stderr)
        raise
