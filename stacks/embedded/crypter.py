"""Secrets at rest, as Pulumi's passphrase provider writes them.

PBKDF2-HMAC-SHA256 with 1,000,000 rounds makes an AES-256-GCM key from the passphrase and a salt;
a value is ``v1:<nonce>:<ciphertext>`` in base64 (sdk/go/common/resource/config/crypt.go), a salt
``v1:<salt>:<"pulumi" encrypted>``, so that a wrong passphrase is noticed
(pkg/secrets/passphrase/manager.go).
"""

import json
import os
from base64 import b64decode, b64encode
from functools import cache
from hashlib import pbkdf2_hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stacks.embedded.values import HIDDEN, SIGNATURE, replace_secrets, reveal
from stacks.errors import CrmError

ROUNDS = 1_000_000
_PROOF = "pulumi"


class Crypter:
    """Encrypts and decrypts with one passphrase and one salt.

    Without a salt a new one is made. Raises ``CrmError`` when the passphrase is not the one the
    salt was made with.
    """

    def __init__(self, passphrase: str, salt: str | None, where: str = "the state") -> None:
        self._where = where
        if salt is None:
            raw = os.urandom(8)
            self._key = _key(passphrase, raw)
            self.salt = f"v1:{b64encode(raw).decode()}:{self.encrypt(_PROOF)}"
            return
        version, raw_text, proof = salt.split(":", 2)
        if version != "v1":
            raise CrmError(f"{where}: salt version {version!r} is not known, only v1 is")
        self._key = _key(passphrase, b64decode(raw_text))
        self.salt = salt
        self.decrypt(proof)

    def encrypt(self, text: str) -> str:
        """``text`` as ``v1:<nonce>:<ciphertext>``."""
        nonce = os.urandom(12)
        sealed = AESGCM(self._key).encrypt(nonce, text.encode(), None)
        return f"v1:{b64encode(nonce).decode()}:{b64encode(sealed).decode()}"

    def decrypt(self, sealed: str) -> str:
        """The text of a ``v1:<nonce>:<ciphertext>``."""
        _version, nonce, ciphertext = sealed.split(":")
        try:
            plain = AESGCM(self._key).decrypt(b64decode(nonce), b64decode(ciphertext), None)
        except InvalidTag:
            raise CrmError(
                f"{self._where}: encrypted with another passphrase; set the right one in"
                " PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE"
            ) from None
        return plain.decode()

    def seal(self, value: Any) -> Any:
        """``value`` as a checkpoint holds it: each secret as its ciphertext."""
        return replace_secrets(value, self._seal_one)

    def open(self, value: Any) -> Any:
        """``value`` from a checkpoint: each ciphertext as the secret it holds."""
        return replace_secrets(value, self._open_one)

    def _seal_one(self, secret: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(reveal(secret), separators=(",", ":"))
        return {SIGNATURE: HIDDEN, "ciphertext": self.encrypt(text)}

    def _open_one(self, secret: dict[str, Any]) -> dict[str, Any]:
        return {SIGNATURE: HIDDEN, "value": json.loads(self.decrypt(secret["ciphertext"]))}


@cache
def _key(passphrase: str, salt: bytes) -> bytes:
    return pbkdf2_hmac("sha256", passphrase.encode(), salt, ROUNDS, dklen=32)
