"""Which stacks there are: what they may be called, and where their files are.

Standard library only: `make up` asks on the system's Python, before anything is installed.
"""

from __future__ import annotations

import re
from pathlib import Path

from stacks.errors import CrmError
from stacks.paths import STACK_FILES, stack_file_name

# It ends labels and names of Kubernetes objects, where no dash may be last.
_NAME = re.compile(r"\A[a-z]([a-z0-9-]{0,29}[a-z0-9])?\Z")


def names(folder: Path = STACK_FILES) -> list[str]:
    """The stacks that have a file in ``folder``, sorted.

    Raises ``CrmError`` when a file is named for something that cannot be a stack's name.
    """
    found = _listed(folder)
    for name in found:
        check_name(name)
    return found


def find(stack: str, folder: Path = STACK_FILES) -> Path:
    """The file of ``stack``; ``CrmError`` names the stacks there are when there is none."""
    check_name(stack, folder)
    known = names(folder)
    if stack not in known:
        from difflib import get_close_matches

        close = get_close_matches(stack, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise refusal(stack, f"there is no such stack{hint} ({_there_are(folder)})")
    return folder / f"Pulumi.{stack}.yaml"


def check_name(stack: str, folder: Path | None = None) -> None:
    """A stack's name is printed into files and names what runs, so it is as strict as they are.

    Raises ``CrmError``, which names the stacks there are in ``folder`` where one is given.
    """
    if not _NAME.match(stack):
        known = f" ({_there_are(folder)})" if folder else ""
        raise refusal(
            stack,
            f"{stack!r} cannot be a stack's name; write lower-case letters, digits and dashes, "
            f"a letter first, no dash last, 31 at most, for example Pulumi.sales.yaml{known}",
        )


def refusal(stack: str, sentence: str) -> CrmError:
    """The error that says ``sentence`` of the file of ``stack``, on one line."""
    text = f"{stack_file_name(stack)}: {sentence}"
    return CrmError(text.replace("\r", "\\r").replace("\n", "\\n"))


def _listed(folder: Path) -> list[str]:
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml")
        for path in folder.glob("Pulumi.*.yaml")
    )


def _there_are(folder: Path) -> str:
    return f"there are: {', '.join(_listed(folder)) or 'none'}"
