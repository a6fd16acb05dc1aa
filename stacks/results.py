"""What a run of either engine tells its caller."""

from collections.abc import Callable
from dataclasses import dataclass, field

CHANGES = ("create", "update", "replace", "delete", "same")


@dataclass(frozen=True)
class Event:
    """A resource at one moment. ``op`` is one of CHANGES or ``refresh``; ``status`` is ``begin``,
    ``waiting``, ``done`` or ``failed``; ``seconds`` count from the begin; ``detail`` names
    properties, or says what is waited for."""

    urn: str
    type: str
    name: str
    op: str
    status: str
    seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """How a run ended: ``succeeded``, or ``failed`` and ``message`` says why. ``changes`` count
    every resource but providers; ``drift`` is what ``refresh`` found, one sentence each."""

    result: str
    changes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANGES, 0))
    outputs: dict[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""
    drift: tuple[str, ...] = ()


OnEvent = Callable[[Event], None]
