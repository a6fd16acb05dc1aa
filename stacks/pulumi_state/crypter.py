"""Secrets at rest, as Pulumi's passphrase provider writes them.

PBKDF2-HMAC-SHA256 with 1,000,000 rounds makes an AES-256-GCM key of the passphrase and a salt; a
value is ``v1:<nonce>:<ciphertext>`` in base64 (sdk/go/common/resource/config/crypt.go), a salt
``v1:<salt>:<"pulumi" encrypted>``, which tells a wrong passphrase (pkg/secrets/passphrase).
"""

import json
import os
from base64 import b64decode, b64encode
from functools import cache
from hashlib import pbkdf2_hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stacks.errors import CrmError
from stacks.pulumi_state.values import HIDDEN, SIGNATURE, Properties, hide, map_secrets, reveal

ROUNDS = 1_000_000


class Crypter:
    """Encrypts and decrypts with one passphrase and one salt, a new one where none is given.

    Raises ``CrmError``, naming ``where``, for a passphrase that the salt was not made with.
    """

    def __init__(self, passphrase: str, salt: str | None, where: str) -> None:
        self._where = where
        raw = b64decode(salt.split(":")[1]) if salt else os.urandom(8)
        self._key = _key(passphrase, raw)
        self.salt = salt or f"v1:{b64encode(raw).decode()}:{self.encrypt('pulumi')}"
        self.decrypt(self.salt.split(":", 2)[2])

    def encrypt(self, text: str) -> str:
        """``text`` as ``v1:<nonce>:<ciphertext>``."""
        nonce = os.urandom(12)
        sealed = AESGCM(self._key).encrypt(nonce, text.encode(), None)
        return f"v1:{b64encode(nonce).decode()}:{b64encode(sealed).decode()}"

    def decrypt(self, sealed: str) -> str:
        """The text of a ``v1:<nonce>:<ciphertext>``."""
        nonce, ciphertext = map(b64decode, sealed.split(":")[1:])
        try:
            return AESGCM(self._key).decrypt(nonce, ciphertext, None).decode()
        except InvalidTag:
            hint = "set the right one in PULUMI_CONFIG_PASSPHRASE"
            raise CrmError(f"{self._where}: encrypted with another passphrase; {hint}") from None

    def seal(self, value: Any) -> Any:
        """``value`` as a checkpoint holds it: each secret as its ciphertext."""

        def sealed(secret: Properties) -> Properties:
            text = json.dumps(reveal(secret), separators=(",", ":"))
            return {SIGNATURE: HIDDEN, "ciphertext": self.encrypt(text)}

        return map_secrets(value, sealed)

    def open(self, value: Any) -> Any:
        """``value`` from a checkpoint: each ciphertext as the secret it holds."""
        return map_secrets(value, lambda kept: hide(json.loads(self.decrypt(kept["ciphertext"]))))

    def open_config(self, value: Any) -> Any:
        """``value`` from a stack file: each ``secure:`` as the text it holds."""
        if isinstance(value, dict) and value.keys() == {"secure"}:
            return self.decrypt(value["secure"])
        if isinstance(value, dict):
            return {key: self.open_config(item) for key, item in value.items()}
        return [self.open_config(item) for item in value] if isinstance(value, list) else value


@cache
def _key(passphrase: str, salt: bytes) -> bytes:
    return pbkdf2_hmac("sha256", passphrase.encode(), salt, ROUNDS, dklen=32)
