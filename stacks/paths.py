"""Where things live in a checkout. Every path the project reads or writes is named here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STACK_FILES = ROOT / "stacks" / "config"
TEMPLATES = ROOT / "templates"
APP = ROOT / "app"
PRICES = ROOT / "stacks" / "prices.yaml"
GOLDEN = ROOT / "tests" / "golden"

LOCAL = ROOT / ".crm"
"""Everything that belongs to this checkout alone (state, passphrase, caches); git ignores it."""
STATE = LOCAL / "state"
PASSPHRASE = LOCAL / "passphrase"
CACHE = LOCAL / "cache"


def stack_file_name(stack: str) -> str:
    """The file of ``stack`` as messages name it: from the project's root, on one line."""
    return f"stacks/config/Pulumi.{stack}.yaml".replace("\r", "\\r").replace("\n", "\\n")
