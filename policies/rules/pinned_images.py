"""Images are pinned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from policies.model import Problem, Resource, Rule
from policies.reading import RUNNING, containers, is_docker
from stacks.spec_policies import Policies

_VERSION = re.compile(r"v?\d+\.\d+[\w.-]*")
"""Not 8 alone, nor a name that a system's version follows: alpine3.22 is whatever is newest."""
_HASH = re.compile(r"(?=[0-9]*[a-f])[0-9a-f]{7,64}|[0-9]{12,64}")
"""Of what is in it, as our own images have it, or of a commit."""
_DAY = re.compile(r"(19|20)\d\d-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])([.-].*)?")
"""When it was built."""


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
    return bool(colon) and any(kind.fullmatch(tag) for kind in (_VERSION, _HASH, _DAY))


RULE = Rule(
    name="pinned_images",
    reason="What was tested is what runs; a tag that moves changes a stack that nobody changed.",
    fix="name a version of at least two numbers, such as nginx:1.30.0, a day, a commit or a digest",
    reads=(*RUNNING, "Image"),
    find=_find,
)
