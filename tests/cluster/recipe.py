"""What is built, from which modules, and where the result is kept.

Standard library only: the bootstrap asks, with the system's Python, whether it is there.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

KUBERNETES = "v1.36.3"
PACKAGES = (
    "./cmd/addons",
    "./cmd/coredns",
    "./cmd/pause",
    "sigs.k8s.io/metrics-server/cmd/metrics-server",
    *(
        f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            *("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
            *("kubelet", "kube-proxy", "kubectl"),
        )
    ),
)
IMAGES = {"pause": "pause:1", "coredns": "coredns:1", "metrics-server": "metrics-server:1"}
"""Program → the image that holds it and nothing else, under ``localhost/``."""

SOURCES = Path(__file__).resolve().parent


def cache_folder() -> Path:
    """Where built programs are kept for every checkout of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "crm-platform" / "cluster"


def build_key() -> str:
    """16 hex digits that change when another build is needed."""
    digest = hashlib.sha256()
    files = [Path(__file__), SOURCES / "go.mod", SOURCES / "go.sum"]
    files += sorted((SOURCES / "cmd").rglob("*.go"))
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def programs_folder() -> Path:
    """The programs of this version of the sources; complete once ``is_built``."""
    return cache_folder() / build_key()


def is_built() -> bool:
    """Whether the programs are there: the folder gets its name when it is complete."""
    return programs_folder().is_dir()
