"""What previewing and a no-op ``up`` cost for each resource of a stack that is deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stacks import engines, stack_file
from stacks.paths import ROOT
from tests.bench.measure import CannotRunError, Command, pair
from tests.bench.table import Row

BARE = "python -c 'import pulumi'"
CRM = Path(sys.executable).with_name("crm")


def resources_of(stack: str) -> int:
    """How many resources ``stack`` has when a preview finds nothing to change, else 0.

    Raises ``CannotRunError`` when the preview fails.
    """
    done = subprocess.run(
        [CRM, "preview", stack, "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CannotRunError(f"crm preview {stack}: {last}")
    changes = json.loads(done.stdout)["changes"]
    pending = sum(count for kind, count in changes.items() if kind != "same")
    return 0 if pending else int(changes["same"])


def rows(times: int) -> Iterator[Row | str]:
    """Rows for each stack that is deployed; a sentence where that is not to be measured."""
    deployed = [stack for stack in stack_file.names() if engines.maker_of(stack) is not None]
    measured_any = False
    for stack in deployed:
        count = resources_of(stack)
        if not count:
            yield f"crm preview {stack}: it has pending changes, so it is not measured."
            continue
        measured_any = True
        bare = Command((sys.executable, "-c", "import pulumi"), ROOT, os.environ)
        for words in (("preview", stack), ("up", stack, "--yes")):
            command = Command((CRM, *words), ROOT, os.environ)
            measured = pair(command, bare, times)
            each = (measured.one.cpu - measured.other.cpu) / count * 1000
            what = f"crm {words[0]} {stack}, {count} resources, no change"
            yield Row(what, BARE, measured, each, "ms per resource")
    if not measured_any:
        yield "crm preview, crm up: no stack is deployed here; `make up`, then `make bench`."
