"""A copy of the project's tree that a test may change, and the real ``crm`` command in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stacks.paths import ROOT


@cache
def tree() -> tuple[str, ...]:
    """The paths that belong to the project: tracked, or new and not ignored; sorted."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(sorted(path for path in set(listed.split("\0")) if (ROOT / path).is_file()))


@dataclass(frozen=True)
class Run:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Project:
    """A checkout in a folder of its own."""

    root: Path

    def crm(self, *arguments: str, seconds: int = 120, **environment: str) -> Run:
        """Run ``python -m stacks.cli`` here, as people run ``crm``, for ``seconds`` at most."""
        return self.python("-m", "stacks.cli", *arguments, environment=environment, seconds=seconds)

    def python(
        self,
        *arguments: str,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: int = 120,
    ) -> Run:
        """Run Python with this copy's code."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def stack_file(self, stack: str) -> Path:
        return self.root / "stacks" / "config" / f"Pulumi.{stack}.yaml"

    def write_stack(self, stack: str, text: str) -> None:
        self.stack_file(stack).write_text(text, encoding="utf-8")

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace ``old``, which must be there, in the file at ``path``."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert old in text, f"{path} does not hold {old!r}"
        file.write_text(text.replace(old, new), encoding="utf-8")


RUN_FROM = ("stacks/", "policies/", "templates/", "app/")
"""What ``crm`` runs from."""


def copy(target: Path, *, under: tuple[str, ...] = RUN_FROM) -> Project:
    """Copy the files of the project ``under`` these folders into ``target``."""
    for path in tree():
        if path.startswith(under):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target / path)
    return Project(target)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file under ``folder`` and what it holds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
