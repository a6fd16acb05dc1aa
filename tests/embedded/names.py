"""Names of this run alone: another run of the same tests must not take its objects for its own."""

import secrets

STACK = f"t{secrets.token_hex(4)}"
PREFIX = f"crm-embedded-{STACK}"
