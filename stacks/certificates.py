"""Certificates: those that people give are checked, others are made here.

Imports its libraries inside functions: rendering needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from secrets import token_hex
from typing import TYPE_CHECKING

from msgspec import Struct

from stacks.errors import CrmError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
    from cryptography.x509 import Certificate

RENEW_DAYS = 30
"""With fewer left, a self-made certificate is made anew."""

LIFE_DAYS = 365
"""Browsers take none for longer than 398 days, Mozilla advises 366 at most."""

_MAKER = "crm-platform"
_EARLIER = timedelta(hours=1)
"""Clocks differ."""


class SelfMade(Struct, frozen=True):
    """PEM: a certificate with its chain, its key, and the authority that people may trust."""

    certificate: str
    key: str
    authority_certificate: str
    authority_key: str


def check(
    certificate: str,
    key: str,
    hosts: Sequence[str],
    where_certificate: str,
    where_key: str,
    now: datetime,
) -> None:
    """Raise ``CrmError`` when the edge could not serve ``hosts`` with this certificate and key.

    Both are PEM; ``where_…`` say where each was read, ``now`` has a time zone.
    """
    chain = _chain(certificate, where_certificate)
    opener, leaf = _key(key, where_key), chain[0]
    public = _spki(opener.public_key())
    if _spki(leaf.public_key()) != public:
        if any(_spki(other.public_key()) == public for other in chain[1:]):
            raise CrmError(
                f"{where_certificate}: begins with the certificate of {_subject(leaf)}, which is "
                "not the one the key belongs to; put the site's own certificate first, then those "
                "between it and its authority"
            )
        raise CrmError(
            f"{where_key}: the key does not belong to the certificate, which was read from "
            f"{where_certificate.rpartition(': ')[2]}; give the one that it was made with"
        )
    if now >= leaf.not_valid_after_utc:
        raise CrmError(
            f"{where_certificate}: the certificate expired on {_day(leaf.not_valid_after_utc)}; "
            "renew it, and give the new one"
        )
    if now < leaf.not_valid_before_utc:
        raise CrmError(
            f"{where_certificate}: the certificate is not valid before "
            f"{_day(leaf.not_valid_before_utc)}; give one that is by now, or set the clock right"
        )
    names = _names(leaf)
    for host in hosts:
        if not any(_covers(name, host) for name in names):
            raise CrmError(
                f"{where_certificate}: the certificate is for {', '.join(names) or 'no name'}, and "
                f"not for {host} of crm:edge.tls.hosts; give one for every host, or take {host} "
                "out of crm:edge.tls.hosts"
            )


def self_made(
    hosts: Sequence[str],
    address: str,
    authority: tuple[str, str] | None,
    now: datetime,
    *,
    unit: str = "edge",
    days: int = LIFE_DAYS,
) -> SelfMade:
    """A certificate for ``hosts`` and for this machine by ``address``, valid for ``days``. ``unit``
    is the part of the stack that shows it.

    ``authority`` is the certificate and the key (PEM) of one made earlier, which people may trust
    by now; a new one is made without it.
    """
    import trustme

    if authority is None:
        # Two of one name would be taken for one another by those who trust both.
        name = f"self-made authority {token_hex(4)}"
        issuer = trustme.CA(path_length=0, organization_name=_MAKER, organization_unit_name=name)
    else:
        issuer = trustme.CA.from_pem(authority[0].encode(), authority[1].encode())
    addresses = [a for a in ("127.0.0.1", address) if not ip_address(a).is_unspecified]
    made = issuer.issue_cert(
        *dict.fromkeys((*hosts, *addresses)),
        organization_name=_MAKER,
        organization_unit_name=unit,
        not_before=now.astimezone(UTC) - _EARLIER,
        not_after=now.astimezone(UTC) + timedelta(days=days),
    )
    return SelfMade(
        certificate="".join(blob.bytes().decode() for blob in made.cert_chain_pems),
        key=made.private_key_pem.bytes().decode(),
        authority_certificate=issuer.cert_pem.bytes().decode(),
        authority_key=issuer.private_key_pem.bytes().decode(),
    )


def is_ending(certificate: str, now: datetime, days: int = RENEW_DAYS) -> bool:
    """Whether ``certificate`` (PEM) has fewer than so many ``days`` left."""
    left = _chain(certificate, "the certificate")[0].not_valid_after_utc - now
    return left < timedelta(days=days)


def check_authority(text: str, where: str, now: datetime) -> None:
    """Raise ``CrmError`` when nothing could be verified by ``text`` (PEM, one authority or more),
    which was read from ``where``."""
    last = max(each.not_valid_after_utc for each in _chain(text, where))
    if now >= last:
        raise CrmError(
            f"{where}: the authority's certificate expired on {_day(last)}; "
            "give the one that came after it"
        )


def _chain(text: str, where: str) -> list[Certificate]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        began = "-----BEGIN CERTIFICATE-----" in text
        problem = "a certificate that cannot be read" if began else "no certificate in PEM"
        raise CrmError(
            f"{where}: holds {problem}; put the whole text there, from "
            "-----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
        ) from None


def _key(text: str, where: str) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise CrmError(
            f"{where}: the key has a passphrase, which nobody could type when the edge starts; "
            "give it without: openssl pkey -in <file> -out <new file>"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CrmError(
            f"{where}: holds no private key in PEM that can be read; put the whole text there, "
            "from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
        ) from None


def _spki(key: PublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _names(certificate: Certificate) -> list[str]:
    """Who it is for. The subject's common name is not read: clients do not either."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _covers(name: str, host: str) -> bool:
    """As RFC 6125 has it: a wildcard stands for the whole first label."""
    first, _, rest = host.lower().partition(".")
    wanted = name.lower()
    return wanted == host.lower() or (wanted == f"*.{rest}" and "." in rest and bool(first))


def _subject(certificate: Certificate) -> str:
    return ", ".join(_names(certificate)[:3]) or certificate.subject.rfc4514_string() or "nobody"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
