"""``crm review STACK --against REF``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from stacks import prices, stack_file
from stacks.errors import CrmError
from stacks.reviews import blocks, other, side, steps
from stacks.reviews.model import Review
from stacks.reviews.page import page


def run(stack: str, against: str, form: str, file: Path | None) -> int:
    """Write the page to ``file``, else to standard output.

    Raises ``CrmError`` where one side cannot be read, or none has such a stack.
    """
    # Exceptions from policies end on a day; both sides are judged as of the same one.
    day = datetime.now(UTC).date()
    money = prices.load()
    commit = other.commit(against)
    before, note = other.describe(stack, commit, day)
    if before is None or other.is_here(stack):
        # Where neither has it, this says which stacks there are.
        after, planned = side.describe(stack, day)
    else:
        after, planned = None, None
    if before is not None and after is not None and before.target != after.target:
        found = steps.Steps(())
    else:
        asked = stack_file.load(stack).policies if planned else None
        found = steps.between(stack, before.resources if before else [], planned, asked)
    name = f"{blocks.code(against)} (commit {blocks.code(commit[:12])})"
    notes = (note,) if note else ()
    shown = page(Review(stack, name, before, after, found, money, notes))
    text = (
        blocks.html(shown, f"What changes for {stack}")
        if form == "html"
        else blocks.markdown(shown)
    )
    if file is None:
        sys.stdout.write(text)
        return 0
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CrmError(
            f"{file}: cannot be written: {error.strerror}; name another with -o"
        ) from None
    print(f"{stack}: reviewed against {against} in {file}", file=sys.stderr)
    return 0
