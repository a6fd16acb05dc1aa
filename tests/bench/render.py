"""What rendering costs, against a Python that only imports what it needs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stacks import plan, render, review, stack_file
from tests import project
from tests.bench.measure import Command, pair
from tests.bench.table import Row

WARM, COLD, FURTHER_MS = 1.9, 4.0, 25.0
FURTHER_STACKS = 12
BARE = "python -c 'import jinja2, yaml'"


def largest() -> str:
    """The stack with the most rendered text."""
    renderer = render.Renderer()
    sizes = {
        name: sum(map(len, review.tree(renderer, plan.make(name, stack_file.load(name))).values()))
        for name in stack_file.names()
    }
    return max(sizes, key=lambda name: sizes[name])


@dataclass(frozen=True)
class Bench:
    """A copy of the project with caches of its own, so that they can be emptied."""

    checkout: project.Project
    bytecode: Path
    out: Path

    def python(self, *words: str | Path) -> Command:
        """Python on this copy's code."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.checkout.root),
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        return Command((sys.executable, *words), self.checkout.root, environment)

    def bare(self) -> Command:
        return self.python("-c", "import jinja2, yaml")

    def crm(self, *words: str | Path) -> Command:
        return self.python("-m", "stacks.cli", *words, "-o", self.out)

    def forget_own(self) -> None:
        """As in a fresh clone: nothing of the project's own is compiled."""
        root = self.checkout.root
        shutil.rmtree(self.bytecode / root.relative_to(root.anchor), ignore_errors=True)
        shutil.rmtree(root / ".crm", ignore_errors=True)

    def forget_all(self) -> None:
        """As on a machine that never ran Python: not even its standard library is compiled."""
        self.forget_own()
        shutil.rmtree(self.bytecode, ignore_errors=True)


@contextmanager
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        root = Path(folder).resolve()
        yield Bench(project.copy(root / "project"), root / "bytecode", root / "out")


def rows(times: int) -> Iterator[Row]:
    """Each comparison of rendering. Raises ``CannotRunError``."""
    stack = largest()
    with bench() as here:
        module = here.crm("render", stack)
        script = here.python(Path(sys.executable).with_name("crm"), "render", stack, "-o", here.out)
        for what, command in (
            (f"python -m stacks.cli render {stack}", module),
            (f"crm render {stack}", script),
        ):
            measured = pair(command, here.bare(), times)
            yield Row(f"{what}, warm", BARE, measured, measured.ratio, "×", WARM)

        # Both sides as they are after the first command of a fresh clone: what is installed is
        # compiled, what is cloned is not.
        cold = Command(module.words, module.folder, module.environment, here.forget_own)
        measured = pair(cold, here.bare(), times)
        yield Row(f"crm render {stack}, fresh clone", BARE, measured, measured.ratio, "×", COLD)

        bare = here.bare()
        measured = pair(
            Command(module.words, module.folder, module.environment, here.forget_all),
            Command(bare.words, bare.folder, bare.environment, here.forget_all),
            times,
        )
        yield Row(
            f"crm render {stack}, nothing compiled",
            f"{BARE}, nothing compiled",
            measured,
            measured.ratio,
            "×",
            COLD,
        )

        file = here.checkout.stack_file(stack).read_text(encoding="utf-8")
        for name in stack_file.names():
            here.checkout.stack_file(name).unlink()
        here.checkout.write_stack(stack, file)
        one = here.crm("render", "--all")
        alone = pair(one, here.bare(), times)
        for number in range(FURTHER_STACKS):
            here.checkout.write_stack(f"more-{number}", file)
        many = pair(here.crm("render", "--all"), here.bare(), times)
        further = (many.one.cpu - alone.one.cpu) / FURTHER_STACKS * 1000
        yield Row(
            f"crm render --all, {FURTHER_STACKS + 1} × {stack}",
            f"the same of 1: {alone.one.cpu * 1000:.0f} ms",
            many,
            further,
            "ms per further stack",
            FURTHER_MS,
        )
