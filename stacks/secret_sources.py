"""Secrets a stack takes from elsewhere: the environment, a file, or Pulumi's own config."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pulumi
from msgspec import UNSET

from stacks import certificates, database_tls, offsite
from stacks.balancing import CERTIFICATE_SECRETS, TlsPlan
from stacks.errors import CrmError
from stacks.manifests import PULL_SECRET
from stacks.paths import ROOT
from stacks.plan import Plan
from stacks.spec_edge import SecretReference
from stacks.stack_file import NAMESPACE

_LONGEST = 255  # MySQL's caching_sha2_password reads no more.


def of(plan: Plan) -> dict[str, pulumi.Output[str]]:
    """Every secret that ``plan`` takes from elsewhere, by name.

    Raises ``CrmError`` when one is not there, or holds what it cannot be used for.
    """
    found = {
        name: resolve(name, reference)
        for name, reference in plan.secrets.items()
        if reference is not None
    }
    if plan.target == "kubernetes" and plan.kubernetes.pull_secret is not None:
        found[PULL_SECRET] = _registries(plan.kubernetes.pull_secret)
    backup = plan.database.backup
    bucket = backup.offsite.authority if backup and backup.offsite else None
    return {
        **found,
        **_certificate(plan.edge.tls),
        **_authority(
            database_tls.AUTHORITY, "database.external.ca_certificate", plan.database.tls.authority
        ),
        **_authority(offsite.AUTHORITY, "database.backup.s3.ca_certificate", bucket),
    }


def resolve(name: str, reference: SecretReference) -> pulumi.Output[str]:
    """The secret called ``name``, read from where ``reference`` says.

    Raises ``CrmError`` when it is not there, or holds what a service could not be given.
    """
    text, where = _read(name, reference)
    # Clients disagree on how other characters are sent, so the two ends would hash other bytes.
    if not 0 < len(text) <= _LONGEST or not (text.isascii() and text.isprintable()):
        raise CrmError(
            f"{where}: the secret {name} is read from it; write one line of {_LONGEST} characters "
            "at most there: letters without accents, digits, spaces and ASCII punctuation"
        )
    return pulumi.Output.secret(text)


def _registries(reference: SecretReference) -> pulumi.Output[str]:
    """Credentials of registries, as ``docker login`` writes them."""
    text, where = _read("images.pull_secret", reference)
    try:
        entries = json.loads(text)["auths"]
    except (ValueError, KeyError, TypeError):
        entries = None
    if not isinstance(entries, dict) or not entries:
        raise CrmError(
            f"{where}: images.pull_secret is read from it; put the content of the "
            'config.json there that `docker login` wrote: {"auths": {"<registry>": …}}'
        )
    return pulumi.Output.secret(text)


def _certificate(tls: TlsPlan | None) -> dict[str, pulumi.Output[str]]:
    """The edge's certificate and its key, once they are known to serve; none where the stack names
    none."""
    if tls is None or tls.certificate is None or tls.key is None:
        return {}
    keys = ("edge.tls.certificate", "edge.tls.key")
    read = [_read(key, of) for key, of in zip(keys, (tls.certificate, tls.key), strict=True)]
    (certificate, its_place), (key, place) = read
    its_place, place = f"crm:{keys[0]}: {its_place}", f"crm:{keys[1]}: {place}"
    certificates.check(certificate, key, tls.hosts, its_place, place, datetime.now(UTC))
    return {
        name: pulumi.Output.secret(f"{text.strip()}\n")
        for name, (text, _) in zip(CERTIFICATE_SECRETS, read, strict=True)
    }


def _authority(
    name: str, key: str, reference: SecretReference | None
) -> dict[str, pulumi.Output[str]]:
    """The authority of what is not the stack's, as the secret ``name``, once it is known to be
    one."""
    if reference is None:
        return {}
    text, place = _read(key, reference)
    certificates.check_authority(text, f"crm:{key}: {place}", datetime.now(UTC))
    return {name: pulumi.Output.secret(f"{text.strip()}\n")}


def _read(name: str, reference: SecretReference) -> tuple[str, str]:
    """What ``reference`` leads to, and that place in words."""
    if reference.config is not UNSET:
        where = f"crm:{reference.config}"
        text = pulumi.runtime.get_config(f"{NAMESPACE}:{reference.config}")
        if text is None:
            raise CrmError(
                f"{where}: the secret {name} is read from it, but it is not set; "
                f"run: pulumi config set --secret {NAMESPACE}:{reference.config}"
            )
        return text, where
    if reference.env is not UNSET:
        return os.environ.get(reference.env, ""), f"the environment's {reference.env}"
    # Whichever folder the program is run in.
    path = ROOT / Path(str(reference.file)).expanduser()
    where = f"the file {path}"
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n"), where
    except OSError as error:
        raise CrmError(
            f"{where}: the secret {name} cannot be read from it: {error.strerror}"
        ) from None
