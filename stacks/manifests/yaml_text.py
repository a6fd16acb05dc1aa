"""Kubernetes objects as YAML files for review: sorted, block style, the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stacks.manifests.common import Manifest

FOLDER = "kubernetes"
_HEAD = "# Rendered; change the stack file or the template. Secrets have no values here.\n"


def documents(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Path → text: one file for each workload, and one, which comes first, for what they share."""
    files: dict[str, list[str]] = {}
    for manifest in manifests:
        path = f"{FOLDER}/{manifest.workload or '00-namespace'}.yaml"
        files.setdefault(path, [_HEAD]).append(_text(manifest.object))
    return {path: "---\n".join(texts) for path, texts in sorted(files.items())}


def _text(value: dict[str, Any]) -> str:
    import yaml

    class Dumper(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: Any, data: str) -> Any:
        return dumper.represent_scalar(
            "tag:yaml.org,2002:str", data, style="|" if "\n" in data else None
        )

    Dumper.add_representer(str, text)
    return str(yaml.dump(value, Dumper=Dumper, width=10_000, allow_unicode=True))
