"""The stacks that live tests share: each is deployed once, and there is one at a time.

A stack that only waits takes a good part of a small machine all the same: a health check is a
process, every two seconds in each container. So tests are put in an order in which those of one
stack follow each other, and the stack goes after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

import pytest

ORDER = ("", "dev", "vertical", "horizontal", "three", "cluster", "kubernetes")
"""Of the tests: first those that share nothing, last those that need a cluster."""

T = TypeVar("T")


class Shared:
    """At most one stack, by name, until another one is asked for or it is closed."""

    def __init__(self) -> None:
        self._name = ""
        self._value: Any = None
        self._exit = ExitStack()

    def get(self, name: str, deploy: Callable[[], AbstractContextManager[T]]) -> T:
        """The stack ``name``, deployed if it is not the one there is."""
        if name != self._name:
            self.close()
            self._value = self._exit.enter_context(deploy())
            self._name = name
        value: T = self._value
        return value

    def close(self) -> None:
        """Destroy it, if there is one."""
        self._name = ""
        self._exit.close()


SHARED = Shared()


def needed_by(item: pytest.Item) -> str:
    """The last in ``ORDER`` of what a test needs."""
    if item.get_closest_marker("live") is None:
        return ""
    names = {str(name) for name in getattr(item, "fixturenames", ())}
    callspec = getattr(item, "callspec", None)
    # A stack may also be asked for by a parameter.
    names |= {str(value) for value in callspec.params.values()} if callspec else set()
    return max((name for name in ORDER if name in names), key=ORDER.index, default="")
