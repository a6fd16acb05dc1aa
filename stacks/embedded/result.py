"""What a run of the embedded engine tells its caller."""

from collections.abc import Callable
from dataclasses import dataclass, field

CHANGES = ("create", "update", "replace", "delete", "same")


@dataclass(frozen=True)
class Event:
    """One resource, one moment. ``seconds`` since the step began; ``detail`` names properties."""

    urn: str
    type: str
    name: str
    op: str
    """One of CHANGES, or ``refresh``."""
    status: str
    """``begin``, ``done`` or ``failed``."""
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """How a run ended. Providers are not counted in ``changes``, everything else is."""

    result: str
    """``succeeded`` or ``failed``."""
    changes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANGES, 0))
    outputs: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""
    """Why it failed, in one or a few sentences; empty when it succeeded."""
    drift: tuple[str, ...] = ()
    """What ``refresh`` found to differ, one sentence each."""


OnEvent = Callable[[Event], None]
