"""HTTPS at the edge, behind either proxy: judged from outside, with certificates of both kinds."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from stacks import certificates
from tests.live import places, reloads
from tests.live.client import Answer, call
from tests.live.logged import logged
from tests.live.ports import free_port
from tests.live.scanner import scan
from tests.live.stack import Stack, prepare
from tests.live.traffic import load

pytestmark = pytest.mark.live

HOSTS = ("localhost", "crm.test")
HSTS = 31_536_000
BODY_KIB = 8
PATHS = ["/api/v1/customers?limit=5", "/static/crm.css", "/"]
CLAIMED = "203.0.113.7"
PRIVATE_KEY = re.compile(rb"PRIVATE KEY-----(\\+n|\s)[A-Za-z0-9+/]{16}")


@dataclass(frozen=True)
class Secure:
    """A ``dev`` stack that speaks HTTPS on ``port``."""

    stack: Stack
    port: int

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """Who trusts the stack's own authority and no other."""
        return trusting(self.stack.run("outputs")["ca_certificate"])

    def call(self, path: str, **options: Any) -> Answer:
        return call(self.url + path, trust=self.trust(), **options)

    def serial(self, trust: ssl.SSLContext) -> int:
        """The number of the certificate that is served; it must be one that ``trust`` takes."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=15) as plain,
            trust.wrap_socket(plain, server_hostname=HOSTS[0]) as secure,
        ):
            shown = secure.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number


def trusting(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    assert context.verify_mode == ssl.CERT_REQUIRED
    return context


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Deployed once for this file, behind nginx at first."""
    stack = prepare(tmp_path_factory.mktemp("tls") / "project", "dev")
    secure = Secure(stack, free_port())
    stack.edit(
        f"    port: {stack.port}\n",
        f"    port: {stack.port}\n"
        f"    limits:\n      body_kib: {BODY_KIB}\n"
        f"    tls:\n      port: {secure.port}\n      hsts_seconds: {HSTS}\n"
        f"      hosts: [{', '.join(HOSTS)}]\n",
    )
    try:
        assert stack.crm("check").code == 0
        stack.up()
        yield secure
    finally:
        stack.crm("destroy", "--yes", "--delete-data")
    left = stack.objects()
    assert left == {"containers": [], "networks": [], "volumes": []}


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def tls(request: pytest.FixtureRequest, deployed: Secure) -> Secure:
    """That stack behind each proxy in turn."""
    other = {"nginx": "haproxy", "haproxy": "nginx"}[request.param]
    file = deployed.stack.project.stack_file(deployed.stack.name)
    if f"proxy: {other}" in file.read_text(encoding="utf-8"):
        deployed.stack.edit(f"proxy: {other}", f"proxy: {request.param}")
        deployed.stack.up()
    return deployed


# --- What the world sees -------------------------------------------------------------------------


def test_https_answers_with_a_certificate_of_the_stacks_authority(tls: Secure) -> None:
    assert tls.stack.run("outputs")["url"] == f"https://localhost:{tls.port}"
    assert tls.call("/readyz").status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        call(f"{tls.url}/readyz", trust=ssl.create_default_context())


def test_http2_is_offered(tls: Secure) -> None:
    context = tls.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", tls.port), timeout=15) as plain,
        context.wrap_socket(plain, server_hostname=HOSTS[1]) as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"


def test_scanner_finds_nothing_below_tls_1_2_and_mozillas_profile_kept(tls: Secure) -> None:
    found = scan("127.0.0.1", tls.port)
    assert found.versions == {"tls_1_2", "tls_1_3"}
    # It knows public authorities alone; that the certificate is right is tested above.
    assert found.complaints == {"certificate_path_validation"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [("evil.example", HOSTS[0]), ("crm.test", "crm.test"), ("CRM.test:1", "crm.test")],
)
def test_plain_http_leads_to_a_name_of_ours(tls: Secure, asked: str, told: str) -> None:
    answer = call(f"{tls.stack.url}/customers?q=a%20b", headers={"Host": asked})
    assert answer.status == 308
    assert answer.headers["location"] == f"https://{told}:{tls.port}/customers?q=a%20b"
    posted = call(f"{tls.stack.url}/api/v1/customers", "POST", {"name": "x"})
    assert posted.status == 308


# --- Headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/v1/customers?limit=1", "/nowhere"])
def test_headers_that_protect_come_once_and_no_version_does(tls: Secure, path: str) -> None:
    answer = tls.call(path)
    names = [name for name, _ in answer.sent]
    expected = {
        "strict-transport-security": f"max-age={HSTS}",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
    }
    for name, value in expected.items():
        assert (names.count(name), answer.headers[name]) == (1, value)
    assert names.count("content-security-policy") == 1
    assert names.count("x-request-id") == 1
    assert not re.search(r"\d", answer.headers.get("server", ""))


def test_nobody_is_believed_about_who_they_are(tls: Secure) -> None:
    claims = {
        "X-Forwarded-For": CLAIMED,
        "X-Real-IP": CLAIMED,
        "Forwarded": f"for={CLAIMED};host=evil.example",
        "X-Request-ID": "claimed-0123456789",
    }
    answer = tls.call("/api/v1/customers?limit=1", headers=claims)
    assert answer.status == 200
    request = answer.headers["x-request-id"]
    assert request != claims["X-Request-ID"]
    (told,) = [line for line in logged(tls.stack.container("app-1"), request) if "client" in line]
    (own,) = logged(tls.stack.container("edge"), request)
    assert told["request_id"] == own["request_id"] == request
    assert told["client"] == own["client"] != CLAIMED
    assert (own["method"], own["status"]) == ("GET", 200)
    assert own["path"].startswith("/api/v1/customers")
    for instance in ("edge", "app-1"):
        said = tls.stack.container(instance).logs().decode()
        assert CLAIMED not in said
        assert claims["X-Request-ID"] not in said


def test_body_over_the_limit_is_refused(tls: Secure) -> None:
    small = {"name": "Fits", "email": "fits@example.org"}
    assert tls.call("/api/v1/customers", method="POST", body=small).status == 201
    large = {**small, "name": "x" * 1024 * (BODY_KIB + 1)}
    answer = tls.call("/api/v1/customers", method="POST", body=large)
    assert (answer.status, answer.json["status"]) == (413, 413)


# --- Certificates --------------------------------------------------------------------------------


def test_private_keys_are_nowhere_to_be_read(tls: Secure) -> None:
    stack = tls.stack
    key = stack.execute("edge", "cat", "/etc/crm/secrets/edge_tls_key")
    assert PRIVATE_KEY.search(key.encode())
    assert PRIVATE_KEY.search(json.dumps({"in JSON": json.dumps(key)}).encode())
    # What is secret of it is in its first line; the rest is in the certificate as well.
    cores = {"key": key.splitlines()[1][12:50]}
    printed: list[tuple[str, bytes]] = []
    for verb in ("render", "check", "preview", "up", "refresh", "outputs"):
        done = stack.crm(verb, *(["--yes"] if verb in ("up", "refresh") else []))
        assert done.code == 0, done.err
        printed.append((verb, (done.out + done.err).encode()))
    searched = [*printed, *places.files(stack.project.root), *places.docker_says(stack.name)]
    assert any(b"ciphertext" in content for _, content in searched)
    assert places.found(searched, cores) == []
    # The authority's is in the state alone, and there it is encrypted.
    assert [place for place, content in searched if PRIVATE_KEY.search(content)] == []


def test_second_up_changes_nothing(tls: Secure) -> None:
    changes = tls.stack.up()
    assert (changes["create"], changes["update"], changes["replace"], changes["delete"]) == (0,) * 4


def test_another_host_is_served_by_the_same_authority(tls: Secure) -> None:
    trust, edge = tls.trust(), tls.stack.container("edge").id
    before = tls.serial(trust)
    tls.stack.edit("hosts: [localhost, crm.test]", "hosts: [localhost, crm.test, new.test]")
    try:
        with load(tls.url, PATHS, clients=2, trust=trust) as seen:
            changes = reloads.up(tls.stack)
        assert (changes["update"], changes["replace"]) == (2, 0)  # it and the proxy's files
        assert seen.failures == []
        assert tls.serial(trust) != before
        assert tls.stack.container("edge").id == edge
        answer = call(f"{tls.stack.url}/", headers={"Host": "new.test"})
        assert answer.headers["location"] == f"https://new.test:{tls.port}/"
    finally:
        tls.stack.edit("hosts: [localhost, crm.test, new.test]", "hosts: [localhost, crm.test]")
        reloads.up(tls.stack)


def test_tls_can_be_turned_off_and_on_again(tls: Secure) -> None:
    file = tls.stack.project.stack_file(tls.stack.name)
    with_tls = file.read_text(encoding="utf-8")
    authority = tls.stack.run("outputs")["ca_certificate"]
    file.write_text(re.sub(r"    tls:\n(      .*\n)+", "", with_tls), encoding="utf-8")
    try:
        changes = tls.stack.up()
        assert (changes["delete"], changes["replace"]) == (1, 1)  # the certificate; the edge
        assert "ca_certificate" not in tls.stack.run("outputs")
        answer = call(f"{tls.stack.url}/readyz")
        assert (answer.status, "strict-transport-security" in answer.headers) == (200, False)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", tls.port), timeout=15)
    finally:
        file.write_text(with_tls, encoding="utf-8")
        tls.stack.up()
    assert tls.call("/readyz").status == 200
    assert tls.stack.run("outputs")["ca_certificate"] != authority


def number(certificate: str) -> int:
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


@dataclass
class Given:
    """Files with a certificate and its key, as a person has them."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def lines(self) -> str:
        """What the stack file says of them."""
        return "".join(
            f"      {name}: {{file: {self.folder / name}.pem}}\n" for name in ("certificate", "key")
        )

    def write(self, made: certificates.SelfMade) -> int:
        """Put ``made`` there; its number."""
        for name in ("certificate", "key"):
            (self.folder / f"{name}.pem").write_text(getattr(made, name), encoding="utf-8")
        return number(made.certificate)


@pytest.fixture(scope="module")
def given(tls: Secure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Given]:
    """The stack serves a certificate that it is given, for the tests that ask for this."""
    files = Given(tmp_path_factory.mktemp("given"))
    files.write(certificates.self_made(HOSTS, "127.0.0.1", None, datetime.now(UTC)))
    place = f"      port: {tls.port}\n"
    edge = tls.stack.container("edge").id
    tls.stack.edit(place, place + files.lines)
    changes = reloads.up(tls.stack)
    # Nothing is left of the self-made one, and nothing but files is changed for it.
    assert (changes["update"], changes["delete"], changes["replace"]) == (1, 1, 0)
    assert tls.stack.container("edge").id == edge
    yield files
    tls.stack.edit(files.lines, "")
    reloads.up(tls.stack)


def test_renewed_certificate_is_served_and_no_request_is_lost(tls: Secure, given: Given) -> None:
    now = datetime.now(UTC)
    made = certificates.self_made(HOSTS, "127.0.0.1", None, now)
    authority = made.authority_certificate, made.authority_key
    trust = trusting(made.authority_certificate)
    first = given.write(made)
    reloads.up(tls.stack)
    assert tls.serial(trust) == first
    assert "ca_certificate" not in tls.stack.run("outputs")
    edge = tls.stack.container("edge")
    with load(tls.url, PATHS, clients=3, trust=trust) as seen:
        second = given.write(certificates.self_made(HOSTS, "127.0.0.1", authority, now))
        preview = tls.stack.run("preview")["changes"]
        assert (preview["update"], preview["replace"]) == (1, 0)
        assert reloads.up(tls.stack) == preview
        time.sleep(1)
    assert seen.failures == []
    assert first != tls.serial(trust) == second
    after = tls.stack.container("edge")
    assert after.id == edge.id
    assert after.attrs["State"]["StartedAt"] == edge.attrs["State"]["StartedAt"]


@pytest.mark.parametrize("verb", ["preview", "up"])
def test_certificate_that_could_not_serve_is_refused_first(
    tls: Secure, given: Given, verb: str
) -> None:
    now = datetime.now(UTC)
    right = certificates.self_made(HOSTS, "127.0.0.1", None, now)
    other = certificates.self_made(HOSTS, "127.0.0.1", None, now)
    old = certificates.self_made(HOSTS, "127.0.0.1", None, now - timedelta(days=700))
    kept = {path: path.read_bytes() for path in given.folder.iterdir()}
    before = tls.stack.objects(), tls.stack.container("edge").id
    place = f"the file {given.certificate}"
    try:
        for made, key, said in (
            (
                old,
                old.key,
                rf"crm:edge\.tls\.certificate: {place}: .* expired on ",
            ),
            (right, other.key, r"crm:edge\.tls\.key: the file .*: the key does not belong to"),
        ):
            given.write(made)
            (given.folder / "key.pem").write_text(key, encoding="utf-8")
            done = tls.stack.crm(verb, *(["--yes"] if verb == "up" else []))
            assert done.code == 1
            assert re.search(said, done.err), done.err
            assert "Traceback" not in done.err
            assert not PRIVATE_KEY.search((done.out + done.err).encode())
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert (tls.stack.objects(), tls.stack.container("edge").id) == before
    assert call(f"{tls.stack.url}/", headers={"Host": "localhost"}).status == 308
