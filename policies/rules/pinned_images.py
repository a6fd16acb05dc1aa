"""Images are pinned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, containers, is_docker
from stacks.spec_policies import Policies

_MOVING = ("latest", "stable", "edge", "main", "master", "nightly")


def _find(resources: Sequence[Resource], asked: Policies) -> Iterator[Problem]:
    used = [(c.name, c.given.get("image")) for c in containers(resources)]
    used += [(r.name, r.inputs.get("reference")) for r in resources if is_docker(r, "Image")]
    for name, image in used:
        if not _is_pinned(str(image or "")):
            yield Problem(name, f"the image {image or '(none)'} names no version that stays")


def _is_pinned(reference: str) -> bool:
    name, _, digest = reference.partition("@")
    if digest:
        return digest.startswith("sha256:") and len(digest) == 71
    # A colon before a slash is that of a registry's port.
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return bool(colon and tag) and tag not in _MOVING


RULE = Rule(
    name="pinned_images",
    reason="What was tested is what runs; a tag that moves changes a stack that nobody changed.",
    fix="name a version or a digest, such as nginx:1.30.0",
    reads=(*RUNNING, "Image"),
    find=_find,
)
