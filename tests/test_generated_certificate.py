"""The self-made certificate as a resource: when it is made, and when anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from stacks import certificates
from stacks.targets import generated_certificate

PROVIDER = generated_certificate._CertificateProvider()
ASKED: dict[str, Any] = {
    **{"name": "edge-certificate", "hosts": ["localhost"], "address": "127.0.0.1"},
    **dict.fromkeys(("certificate", "key", "authority_certificate", "authority_key")),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    created = PROVIDER.create(ASKED)
    assert created.id == "edge-certificate"
    assert created.outs is not None
    return created.outs


def check(outs: dict[str, Any], *hosts: str) -> None:
    certificates.check(
        outs["certificate"], outs["key"], hosts, "crm:a: here", "crm:b: there", datetime.now(UTC)
    )


def changes(olds: dict[str, Any], **asked: Any) -> bool | None:
    found = PROVIDER.diff("edge-certificate", olds, {**ASKED, **asked})
    assert not found.replaces  # a replacement would be another authority
    return found.changes


def test_it_is_made_for_what_was_asked(made: dict[str, Any]) -> None:
    check(made, "localhost", "127.0.0.1")
    assert {name: made[name] for name in ("name", "hosts", "address")} == {
        **{"name": "edge-certificate", "hosts": ["localhost"], "address": "127.0.0.1"}
    }


def test_it_stays_while_it_is_good(made: dict[str, Any]) -> None:
    assert changes(made) is False


@pytest.mark.parametrize(
    "asked", [{"hosts": ["localhost", "crm.test"]}, {"hosts": ["crm.test"]}, {"address": "0.0.0.0"}]
)
def test_it_is_made_anew_for_other_names(made: dict[str, Any], asked: dict[str, Any]) -> None:
    assert changes(made, **asked) is True


@pytest.mark.parametrize(("days_left", "anew"), [(32, False), (29, True), (-3, True)])
def test_it_is_made_anew_in_its_last_thirty_days(
    made: dict[str, Any], days_left: int, anew: bool
) -> None:
    then = datetime.now(UTC) - timedelta(days=365 - days_left)
    old = certificates.self_made(["localhost"], "127.0.0.1", None, then)
    assert changes({**made, "certificate": old.certificate}) is anew


def test_other_than_the_edges_is_made_for_as_long_as_it_says() -> None:
    asked = {**ASKED, "unit": "database", "life_days": 1825.0, "renew_days": 365.0}
    outs = PROVIDER.create(asked).outs
    assert outs is not None
    leaf = x509.load_pem_x509_certificate(outs["certificate"].encode())
    assert "OU=database" in leaf.subject.rfc4514_string()
    now = datetime.now(UTC)
    assert timedelta(days=1824) < leaf.not_valid_after_utc - now <= timedelta(days=1825)
    found = PROVIDER.diff("it", outs, asked)
    assert (found.changes, found.replaces) == (False, None)
    for days_left, anew in ((366, False), (364, True)):
        then = now - timedelta(days=1825 - days_left)
        old = certificates.self_made(["localhost"], "127.0.0.1", None, then, days=1825)
        assert PROVIDER.diff("it", {**outs, "certificate": old.certificate}, asked).changes is anew


def test_next_one_is_of_the_same_authority(made: dict[str, Any]) -> None:
    updated = PROVIDER.update("edge-certificate", made, {**ASKED, "hosts": ["crm.test"]}).outs
    assert updated is not None
    check(updated, "crm.test")
    assert updated["key"] != made["key"]
    for name in ("authority_certificate", "authority_key"):
        assert updated[name] == made[name]
    authority = x509.load_pem_x509_certificate(made["authority_certificate"].encode())
    leaf = x509.load_pem_x509_certificate(updated["certificate"].encode())
    leaf.verify_directly_issued_by(authority)
