"""Secrets at rest, against values that the Pulumi CLI wrote.

The vectors were written by the Pulumi CLI 3.260.0 (built from its sources of 2026-08-21) with the
throw-away passphrase ``throw-away``: ``pulumi config set --secret word …`` and ``pulumi up``.
"""

import pytest

from stacks.errors import CrmError
from stacks.pulumi_state import values
from stacks.pulumi_state.crypter import Crypter

PASSPHRASE = "throw-away"
SALT = "v1:81xFhoMrino=:v1:UIUxzYUooYyqkNl5:5f5BEtzBhyMZgrneHs4hx0b5q3rMXA=="
IN_CONFIG = "v1:SzMg9rLG31c6KLJy:G5IPI8Wgubl2FJPKP0MLV4BlHf/73j7YoH49jz22Wxc="
IN_STATE = (
    "v1:BdRLOekABbGsJZ3Q:xQlE9GVnirVg083nNCGubFW20FDWQy/Ulok35f71Nj2H8l//7w8317PjScsM60ZxYw=="
)
WORD = "naïve <&> café"


def test_values_written_by_the_cli_are_opened() -> None:
    crypter = Crypter(PASSPHRASE, SALT, "here")
    kept = {values.SIGNATURE: values.HIDDEN, "ciphertext": IN_STATE}
    assert crypter.open_config({"crm:word": {"secure": IN_CONFIG}}) == {"crm:word": WORD}
    assert crypter.open({"word": kept}) == {"word": values.hide(WORD)}
    assert crypter.salt == SALT


def test_sealed_values_open_again_and_never_look_alike() -> None:
    crypter = Crypter(PASSPHRASE, None, "here")
    secret = {"a": [values.hide({"b": values.hide(WORD)}), 1]}
    once, twice = crypter.seal(secret), crypter.seal(secret)
    assert once != twice
    assert "caf" not in str(once)
    opened = Crypter(PASSPHRASE, crypter.salt, "there").open(once)
    assert opened == {"a": [values.hide({"b": WORD}), 1]}


def test_wrong_passphrase_is_told_with_its_place() -> None:
    with pytest.raises(CrmError, match=r"^stack dev: encrypted with another passphrase; .*PULUMI"):
        Crypter("another", SALT, "stack dev")
