"""The other side of a review: the project's files at a git ref, described by their own code."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import msgspec

from stacks import stack_file
from stacks.errors import CrmError
from stacks.paths import ROOT
from stacks.reviews import side
from stacks.reviews.side import Side

OLDER = (
    "the project's code there cannot describe a stack for this page: it is older, or too "
    "different. So its stack file was read with the code and the templates of this change, and "
    "what changes in those does not show here."
)


def commit(ref: str) -> str:
    """The commit that ``ref`` names. Raises ``CrmError`` where git knows none."""
    if _git("rev-parse", "--is-inside-work-tree").returncode:
        raise CrmError(
            f"{ROOT}: is no git checkout, so there is nothing to compare with; "
            "clone the repository, and run crm review there"
        )
    spelled = f"{ref}^{{commit}}"
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", spelled)
    if found.returncode:
        raise CrmError(
            f"--against {ref}: git knows no such commit; write a branch, a tag or a commit, such "
            "as origin/main, and where the checkout is shallow, fetch it first: "
            "git fetch origin main"
        )
    return found.stdout.decode().strip()


def describe(stack: str, commit: str, day: date) -> tuple[Side | None, str]:
    """``stack`` as the files of ``commit`` have it, ``None`` where they have no such stack, and
    what has to be known of that."""
    with _files(commit) as root:
        folder = root / "stacks" / "config"
        if not (folder / f"Pulumi.{stack}.yaml").is_file():
            return None, ""
        if not (root / "stacks" / "reviews" / "side.py").is_file():
            return _by_this_code(stack, commit, day, folder)
        written = root / "side.json"
        run = subprocess.run(
            [sys.executable, "-m", "stacks.reviews.side", stack, day.isoformat(), str(written)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            check=False,
        )
        if run.returncode == side.REFUSED:
            raise CrmError(f"at {commit[:12]}: {run.stderr.decode(errors='replace').strip()}")
        try:
            return msgspec.json.decode(written.read_bytes(), type=Side), ""
        except (OSError, msgspec.DecodeError):
            # Other packages than are installed now, or other words for what it is.
            return _by_this_code(stack, commit, day, folder)


def _by_this_code(stack: str, commit: str, day: date, folder: Path) -> tuple[Side, str]:
    try:
        return side.describe(stack, day, folder)[0], OLDER
    except CrmError as error:
        raise CrmError(f"at {commit[:12]}, read by this side's code: {error}") from None


def is_here(stack: str) -> bool:
    """Whether this checkout has the stack."""
    return stack in stack_file.names()


@contextmanager
def _files(commit: str) -> Iterator[Path]:
    """The project's files at ``commit``, in a folder of their own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crm-review-") as folder:
        packed, root = Path(folder) / "files.zip", Path(folder) / "files"
        made = _git("archive", "--format=zip", "-0", f"--output={packed}", commit)
        if made.returncode:
            raise CrmError(f"git archive {commit[:12]}: {made.stderr.decode().strip()}")
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(root)
        yield root


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        raise CrmError("git is missing; install it: crm review compares with what it has") from None
