"""By what strings are compared, as far as it is certain: ASCII, and letters with accents."""

from __future__ import annotations

import unicodedata

from stacks.sql_lint.constants import UnknownError

_SIGNS = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"
"""ASCII's signs in the order of utf8mb4_0900_ai_ci, as MySQL 9.7.4 sorts them; then digits, then
letters."""
_ORDER = {sign: chr(place) for place, sign in enumerate(_SIGNS)}


def key(text: str, collation: str, pads: bool) -> str:
    """What ``text`` sorts by; ``pads``: spaces at its end do not count (CHAR). "" as a collation is
    the server's own, utf8mb4_0900_ai_ci. Raises ``UnknownError``."""
    if pads or (collation.endswith("_bin") and collation != "utf8mb4_0900_bin"):
        text = text.rstrip(" ")
    if collation in ("", "utf8mb4", "utf8mb4_0900_ai_ci"):
        plain = "".join(c for c in unicodedata.normalize("NFD", text) if not _is_accent(c))
        if plain.isascii() and plain.isprintable():
            return "".join(_ORDER.get(c, c) for c in plain.casefold())
    elif not text.isascii():
        raise UnknownError
    elif collation.endswith("_bin") or collation == "binary":
        return text
    elif text.isalnum():
        # Signs and accents have an order of their own in each collation.
        return text if collation.endswith("_cs") else text.casefold()
    raise UnknownError


def _is_accent(sign: str) -> bool:
    return "\u0300" <= sign <= "\u036f"
