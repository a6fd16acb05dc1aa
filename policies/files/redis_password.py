"""Redis lets nobody in without the password that is made from its secret."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_MADE = "/run/crm/auth.conf"
"""Written at the start, by templates/redis/start.sh.j2."""


def _find(text: str) -> Iterator[Flaw]:
    given = directives.redis(text)
    if not any(d.words == ("include", _MADE) for d in given):
        yield Flaw(0, f"{_MADE}, with the password, is not included")
    for found in given:
        if found.name == "include" and found.value != _MADE:
            yield Flaw(found.line, f"{found.value} is included, which cannot be judged here")
        elif found.name == "requirepass":
            yield Flaw(found.line, "a password is set here, in the place of the secret's")
        elif found.name in ("user", "aclfile"):
            yield Flaw(found.line, "accounts beside the one with the password")
        elif found.name == "protected-mode" and found.value.lower() != "yes":
            yield Flaw(found.line, f"protected-mode is {found.value}")


RULE = FileRule(
    name="redis_password",
    reason="Whoever gets onto the network would read customers' data, and change it.",
    fix="include /run/crm/auth.conf and name no other password or account",
    reads=("redis/*/redis.conf",),
    find=_find,
)
