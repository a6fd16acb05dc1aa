"""The embedded engine: runs the unmodified Pulumi program where the CLI cannot be had."""
