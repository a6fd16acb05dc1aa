"""The embedded engine: runs the Pulumi program where the Pulumi CLI cannot be had."""

from stacks.embedded.engine import EmbeddedEngine

__all__ = ["EmbeddedEngine"]
