"""Checkov, a hardening checker of others, in an environment of its own.

It pins some eighty packages, so it shares none with this project. Made where it is first asked
for, in the user's cache, by version: a fresh clone finds it there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

VERSION = "3.3.30"
_INSTALL_SECONDS, _RUN_SECONDS = 900, 300


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
            *(_environment() / "bin" / "python", "-m", "checkov.main"),
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


def _environment() -> Path:
    """The folder it is installed in. A kill in the middle leaves nothing half made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crm-platform"
    folder = cache / f"checkov-{VERSION}-python{sys.version_info[0]}.{sys.version_info[1]}"
    if folder.exists():
        return folder
    print(f"Installing checkov {VERSION} from your package index into {folder}", file=sys.stderr)
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        venv.create(new, with_pip=True)
        done = subprocess.run(
            [new / "bin" / "python", "-m", "pip", "install", "--quiet", f"checkov=={VERSION}"],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"checkov {VERSION} cannot be installed: {done.stderr}"
        # Run as a module of its Python, it does not mind being moved.
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder
