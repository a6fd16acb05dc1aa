"""Secrets a stack takes from elsewhere: the environment, a file, or Pulumi's own config."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi
from msgspec import UNSET

from stacks.errors import CrmError
from stacks.spec import SecretReference
from stacks.stack_file import NAMESPACE


def resolve(name: str, reference: SecretReference) -> pulumi.Output[str]:
    """The secret called ``name``, read from where ``reference`` says.

    Raises ``CrmError`` when it is not there or empty.
    """
    if reference.config is not UNSET:
        value = pulumi.Config(NAMESPACE).get_secret(reference.config)
        if value is None:
            raise CrmError(
                f"crm:{reference.config}: the secret {name} is read from it, but it is not set; "
                f"run: pulumi config set --secret {NAMESPACE}:{reference.config}"
            )
        return value
    if reference.env is not UNSET:
        text, where = os.environ.get(reference.env, ""), f"the environment's {reference.env}"
    else:
        path = Path(str(reference.file)).expanduser()
        where = f"the file {path}"
        try:
            text = path.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise CrmError(
                f"{where}: the secret {name} cannot be read from it: {error.strerror}"
            ) from None
    if not text or "\n" in text or "\0" in text:
        raise CrmError(f"{where}: the secret {name} is read from it; write one line there")
    return pulumi.Output.secret(text)
