"""Checkov, a hardening checker of others, in an environment of its own.

It pins some eighty packages, so it shares none with this project.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import environment

VERSION = "3.3.30"
_RUN_SECONDS = 300


@dataclass(frozen=True)
class Verdict:
    """What it found: ``failed`` are (check, the file's path below the folder, the object)."""

    passed: int
    failed: frozenset[tuple[str, str, str]]
    unread: int


def judge(folder: Path) -> Verdict:
    """Let it judge every manifest below ``folder``."""
    done = subprocess.run(
        [
            *(environment.python("checkov", VERSION), "-m", "checkov.main"),
            *("--directory", folder, "--framework", "kubernetes", "--output", "json"),
            # Nothing is asked of its maker's servers.
            "--skip-download",
        ],
        env={**os.environ, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    failed = {
        (check["check_id"], check["file_path"].lstrip("/"), check["resource"])
        for check in report["results"]["failed_checks"]
    }
    summary = report["summary"]
    return Verdict(summary["passed"], frozenset(failed), summary["parsing_errors"])
