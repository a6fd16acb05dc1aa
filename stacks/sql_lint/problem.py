"""What a rule yields."""

from __future__ import annotations

from typing import NamedTuple

from stacks.sql_lint.reader import Edit


class Problem(NamedTuple):
    """``number``: MySQL's; ``edits``: what would be right, none where that cannot be known."""

    number: int
    message: str
    edits: tuple[Edit, ...] = ()
