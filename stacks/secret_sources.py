"""Secrets a stack takes from elsewhere: the environment, a file, or Pulumi's own config."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi
from msgspec import UNSET

from stacks.errors import CrmError
from stacks.spec import SecretReference
from stacks.stack_file import NAMESPACE

_LONGEST = 255  # MySQL's caching_sha2_password reads no more.


def resolve(name: str, reference: SecretReference) -> pulumi.Output[str]:
    """The secret called ``name``, read from where ``reference`` says.

    Raises ``CrmError`` when it is not there, or holds what a service could not be given.
    """
    if reference.config is not UNSET:
        where = f"crm:{reference.config}"
        text = pulumi.runtime.get_config(f"{NAMESPACE}:{reference.config}")
        if text is None:
            raise CrmError(
                f"{where}: the secret {name} is read from it, but it is not set; "
                f"run: pulumi config set --secret {NAMESPACE}:{reference.config}"
            )
    elif reference.env is not UNSET:
        text, where = os.environ.get(reference.env, ""), f"the environment's {reference.env}"
    else:
        path = Path(str(reference.file)).expanduser()
        where = f"the file {path}"
        try:
            text = path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
        except OSError as error:
            raise CrmError(
                f"{where}: the secret {name} cannot be read from it: {error.strerror}"
            ) from None
    # Clients disagree on how other characters are sent, so the two ends would hash other bytes.
    if not 0 < len(text) <= _LONGEST or not (text.isascii() and text.isprintable()):
        raise CrmError(
            f"{where}: the secret {name} is read from it; write one line of {_LONGEST} characters "
            "at most there: letters without accents, digits, spaces and ASCII punctuation"
        )
    return pulumi.Output.secret(text)
