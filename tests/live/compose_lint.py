"""compose-lint, a hardening checker of others by OWASP's cheat sheet and CIS' Docker benchmark, in
an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests import environment
from tests.live import as_compose

VERSION = "0.36.2"
_RUN_SECONDS = 120


def judge(containers: Sequence[as_compose.Inspected], folder: Path) -> set[tuple[str, str]]:
    """Its findings, of any severity: (rule, the container's name). ``folder`` takes the file that
    it reads."""
    file = folder / "compose.yaml"
    text = yaml.safe_dump(as_compose.compose(containers))
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            *(environment.python("compose-lint", VERSION), "-m", "compose_lint", "check"),
            *("--format", "json", "--fail-on", "low", file),
        ],
        # No settings of whoever runs this.
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert (report["tool"]["version"], report["errors"]) == (VERSION, [])
    found = {(one["rule_id"], one["service"]) for one in report["findings"]}
    assert bool(found) == (done.returncode == 1), done.stdout
    return found
