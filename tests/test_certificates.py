"""Which certificates the edge takes, what is said of the others, and those it makes itself."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from stacks import certificates
from stacks.certificates import SelfMade
from stacks.errors import CrmError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT = "crm:edge.tls.certificate: the file site.pem"
KEY_AT = "crm:edge.tls.key: the file site.key"
HOSTS = ("crm.example.com", "www.example.com")


def made(*hosts: str, now: datetime = NOW, authority: SelfMade | None = None) -> SelfMade:
    kept = (authority.authority_certificate, authority.authority_key) if authority else None
    return certificates.self_made(hosts or HOSTS, "127.0.0.1", kept, now)


def judge(certificate: str, key: str, hosts: tuple[str, ...] = HOSTS, now: datetime = NOW) -> None:
    certificates.check(certificate, key, hosts, AT, KEY_AT, now)


def leaf(one: SelfMade) -> x509.Certificate:
    return x509.load_pem_x509_certificate(one.certificate.encode())


def own(key: Any, *names: str) -> str:
    """A certificate that signs itself, as `openssl req -x509` makes them."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crm.example.com")])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 1, NOW, NOW + timedelta(9)
    ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if names:
        found = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(found, critical=False)
    return builder.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def pem(key: Any, passphrase: bytes = b"", *, old_form: bool = False) -> str:
    form = serialization.PrivateFormat
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if old_form else form.PKCS8,
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption(),
    )
    return encoded.decode()


# --- What is taken -------------------------------------------------------------------------------


def test_self_made_one_is_accepted() -> None:
    one = made()
    judge(one.certificate, one.key)


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())]
)
@pytest.mark.parametrize("old_form", [True, False])
def test_one_that_signs_itself_is_accepted(key: Any, old_form: bool) -> None:
    judge(own(key, *HOSTS), pem(key, old_form=old_form))


def test_chain_after_its_leaf_is_accepted() -> None:
    one = made()
    judge(one.certificate + one.authority_certificate, one.key)


@pytest.mark.parametrize(
    ("name", "host", "covered"),
    [
        ("*.example.com", "crm.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.crm.example.com", False),
        ("*.example.com", "crm.example.org", False),
        ("CRM.example.com", "crm.example.com", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_wildcards_and_addresses_cover_what_they_do(name: str, host: str, covered: bool) -> None:
    one = made(name)
    if covered:
        judge(one.certificate, one.key, (host,))
        return
    with pytest.raises(CrmError, match=f"and not for {host} of crm:edge.tls.hosts"):
        judge(one.certificate, one.key, (host,))


# --- What is refused -----------------------------------------------------------------------------

ONE, OTHER = made(), made()
SECRET = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("", ONE.key, f"{AT}: holds no certificate in PEM; put the whole text there"),
        (ONE.key, ONE.key, f"{AT}: holds no certificate in PEM"),
        (ONE.certificate[:200], ONE.key, f"{AT}: holds a certificate that cannot be read"),
        (
            ONE.certificate.replace("MII", "MIX", 1),
            ONE.key,
            f"{AT}: holds a certificate that cannot be read",
        ),
        (ONE.certificate, "", f"{KEY_AT}: holds no private key in PEM that can be read"),
        (ONE.certificate, ONE.certificate, f"{KEY_AT}: holds no private key in PEM"),
        (
            own(SECRET, *HOSTS),
            pem(SECRET, b"sesame"),
            f"{KEY_AT}: the key has a passphrase, .*without: openssl pkey",
        ),
        (
            own(SECRET, *HOSTS),
            pem(SECRET, b"sesame", old_form=True),
            f"{KEY_AT}: the key has a passphrase",
        ),
        (
            ONE.certificate,
            OTHER.key,
            f"{KEY_AT}: the key does not belong to the certificate, which was read from the file "
            r"site\.pem; give the one",
        ),
        (
            ONE.authority_certificate + ONE.certificate,
            ONE.key,
            f"{AT}: begins with the certificate of .*; put the site's own certificate first",
        ),
        (
            own(SECRET),
            pem(SECRET),
            f"{AT}: the certificate is for no name, and not for crm.example",
        ),
    ],
    ids=[
        *("nothing", "a key alone", "half of one", "spoiled", "no key", "certificate as its key"),
        *("passphrase", "passphrase in the old form", "key of another", "authority first"),
        "for no name",
    ],
)
def test_what_could_not_serve_is_refused_in_one_sentence(
    certificate: str, key: str, said: str
) -> None:
    with pytest.raises(CrmError, match=f"^{said}") as refused:
        judge(certificate, key)
    text = str(refused.value)
    assert "\n" not in text
    assert not any(line in text for line in key.splitlines() if len(line) > 40)


def test_certificate_is_refused_before_its_time_and_after_it() -> None:
    judge(ONE.certificate, ONE.key, now=NOW + timedelta(364))
    with pytest.raises(CrmError, match=f"^{AT}: the certificate expired on 2027-03-01 12:00 UTC; "):
        judge(ONE.certificate, ONE.key, now=NOW + timedelta(365))
    early = f"^{AT}: the certificate is not valid before 2026-03-01 11:00 UTC; "
    with pytest.raises(CrmError, match=early):
        judge(ONE.certificate, ONE.key, now=NOW - timedelta(1))


def test_host_that_is_not_covered_is_named_with_those_that_are() -> None:
    one = made("crm.example.com")
    said = r"for crm\.example\.com, 127\.0\.0\.1, and not for www\.example\.com of crm:edge\.tls"
    with pytest.raises(CrmError, match=said):
        judge(one.certificate, one.key)


# --- What is made here ---------------------------------------------------------------------------


def test_self_made_one_is_for_the_hosts_and_this_machine_alone() -> None:
    one = certificates.self_made(HOSTS, "192.0.2.7", None, NOW)
    judge(one.certificate, one.key, (*HOSTS, "127.0.0.1", "192.0.2.7"))
    everywhere = certificates.self_made(HOSTS, "0.0.0.0", None, NOW)
    with pytest.raises(CrmError, match=r"for crm\.example\.com, www\.example\.com, 127\.0\.0\.1, "):
        judge(everywhere.certificate, everywhere.key, ("0.0.0.0",))


def test_life_is_what_browsers_take() -> None:
    one = leaf(made())
    assert one.not_valid_after_utc - one.not_valid_before_utc <= timedelta(days=366)


def test_authority_is_kept_when_a_certificate_is_made_anew() -> None:
    first = made()
    second = made("new.example.com", authority=first)
    assert second.authority_certificate == first.authority_certificate
    assert second.authority_key == first.authority_key
    assert second.key != first.key
    assert leaf(second).serial_number != leaf(first).serial_number
    authority = x509.load_pem_x509_certificate(first.authority_certificate.encode())
    leaf(second).verify_directly_issued_by(authority)
    # Clients take it as an authority.
    ssl.create_default_context(cadata=first.authority_certificate)
    assert made().authority_certificate != first.authority_certificate


def test_it_is_time_for_another_in_the_last_thirty_days() -> None:
    one = made()
    assert not certificates.is_ending(one.certificate, NOW + timedelta(days=335))
    assert certificates.is_ending(one.certificate, NOW + timedelta(days=336))
