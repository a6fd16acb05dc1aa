"""The embedded engine: runs the Pulumi program where the Pulumi CLI cannot be had."""

from stacks.embedded.engine import EmbeddedEngine
from stacks.embedded.result import Event, Result

__all__ = ["EmbeddedEngine", "Event", "Result"]
