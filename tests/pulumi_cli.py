"""The real Pulumi CLI: which there is, and the marks of a test that needs it."""

import subprocess

import pytest


def version() -> str | None:
    """The version of the ``pulumi`` on PATH, or ``None`` when there is none."""
    try:
        done = subprocess.run(["pulumi", "version"], capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


NEEDED = [
    pytest.mark.cli,
    pytest.mark.skipif(version() is None, reason="there is no Pulumi CLI on PATH"),
]
