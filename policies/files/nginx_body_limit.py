"""nginx takes no request body that is larger than was agreed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_LARGEST_KIB = 1_048_576
_UNITS = {"": 1 / 1024, "k": 1, "m": 1024, "g": 1024 * 1024}


def _find(text: str) -> Iterator[Flaw]:
    found = [d for d in directives.nginx(text) if d.name == "client_max_body_size"]
    if not any(d.within == (("http",),) for d in found):
        yield Flaw(0, "client_max_body_size is not set for all of http")
    for one in found:
        size = re.fullmatch(r"(\d+)([kmg]?)", one.value.lower())
        if not size or not 0 < int(size[1]) * _UNITS[size[2]] <= _LARGEST_KIB:
            yield Flaw(one.line, f"client_max_body_size is {one.value}; 0 is no limit")


RULE = FileRule(
    name="nginx_body_limit",
    reason="One upload without an end fills memory and disk.",
    fix="write client_max_body_size in http, 1 GiB at most",
    reads=("nginx/nginx.conf",),
    find=_find,
)
