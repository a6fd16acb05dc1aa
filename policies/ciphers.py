"""Which ciphers of TLS 1.2 keep what was recorded secret, also once a key is lost."""

from __future__ import annotations

import re

_STRONG = re.compile(r"ECDHE-(ECDSA|RSA)-(AES(128-GCM-SHA256|256-GCM-SHA384)|CHACHA20-POLY1305)")


def weak(listed: str) -> list[str]:
    """Those of an OpenSSL list, separated by colons, that are not of Mozilla's profiles."""
    return [name for name in listed.split(":") if not _STRONG.fullmatch(name)]
