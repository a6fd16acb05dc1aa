"""MySQL has written down what it acknowledged, in its binary log too."""

from __future__ import annotations

from collections.abc import Iterator

from policies import directives
from policies.model import FileRule, Flaw

_WANTED = {
    "innodb_flush_log_at_trx_commit": ("1",),
    "sync_binlog": ("1",),
    "innodb_doublewrite": ("on", "1", "true", "detect_and_recover"),
}
_NO_BINARY_LOG = ("skip_log_bin", "disable_log_bin")


def _find(text: str) -> Iterator[Flaw]:
    given = directives.mysql(text)
    for name, wanted in _WANTED.items():
        found = directives.last(given, name)
        if found is None:
            yield Flaw(0, f"{name} is not set")
        elif found.value.lower() not in wanted:
            yield Flaw(found.line, f"{name} is {found.value}")
    for found in given:
        off = found.name == "log_bin" and found.value.lower() in ("0", "off", "false")
        if off or found.name in _NO_BINARY_LOG:
            yield Flaw(found.line, "there is no binary log to restore from")
        if found.name in ("skip_innodb_doublewrite", "innodb_read_only"):
            yield Flaw(found.line, f"{found.name} is set")


RULE = FileRule(
    name="mysql_durable",
    reason="Anything else loses acknowledged writes in a crash.",
    fix="1 for both, the double write ON, the binary log left on",
    reads=("mysql/*/my.cnf",),
    find=_find,
)
