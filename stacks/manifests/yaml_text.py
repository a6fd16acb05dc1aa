"""Kubernetes objects as YAML files for review: sorted, block style, the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from stacks.manifests.common import Manifest

FOLDER = "kubernetes"
_HEAD = "# Rendered; change the stack file or the template. Secrets have no values here.\n"


def documents(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Path → text: one file for each workload, and one, which comes first, for what they share."""
    import yaml

    files: dict[str, list[dict[str, Any]]] = {}
    for manifest in manifests:
        path = f"{FOLDER}/{manifest.workload or '00-namespace'}.yaml"
        files.setdefault(path, []).append(manifest.object)
    options: Any = {
        "Dumper": _dumper(),
        "explicit_start": True,
        "width": 10_000,
        "allow_unicode": True,
    }
    return {path: _HEAD + yaml.dump_all(files[path], **options) for path in sorted(files)}


@cache
def _dumper() -> type:
    """The emitter in C: texts of several lines as they are, and no references between parts."""
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        style = "|" if "\n" in data else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Dumper.add_representer(str, text)
    return Dumper
