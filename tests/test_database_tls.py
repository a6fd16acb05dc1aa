"""Who MySQL's clients take for the server, and what is given to either of them."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pulumi
import pymysql
import pytest
from cryptography import x509

from crm import mysql, schema
from crm.errors import CrmError as JobError
from crm.settings import DatabaseSettings, Secrets, ShardSettings
from stacks import certificates, database_tls, plan, render, secret_sources, stack_file, tiers
from stacks.certificates import SelfMade
from stacks.errors import CrmError
from stacks.plan import Plan

SECRET = {"env": "CRM_TEST"}
EXTERNAL: dict[str, Any] = {"host": "db.example", "password": SECRET, "owner_password": SECRET}
NOW = datetime.now(UTC)
HOSTS = ("database-1", "localhost")


def planned(**external: Any) -> Plan:
    config = {"database": {"external": {**EXTERNAL, **external}}} if external else {}
    return plan.make("dev", stack_file.parse(config, "dev"))


def told(made: Plan, file: str = "app/app.json") -> tuple[str, str | None]:
    database = json.loads(render.Renderer().tree(made)[file])["database"]
    return database["ssl_mode"], database["ca"]


def given(made: Plan) -> dict[str, set[str]]:
    """What of it each workload gets."""
    workloads = tiers.workloads(made, render.Renderer().tree(made), "crm-app:0123456789ab")
    return {
        w.name: {s.removeprefix("database_tls_") for s in w.secrets if "_tls_" in s}
        for w in workloads
    }


# --- What is planned -----------------------------------------------------------------------------


def test_every_shard_is_named_and_everything_that_connects_verifies() -> None:
    config = {"database": {"shards": 2, "backup": {}, "orders": ORDERS}}
    made = plan.make("dev", stack_file.parse(config, "dev"))
    assert made.database.tls.hosts == ("database-1", "database-2", "localhost")
    for file in ("app/app.json", "app/job.json", "app/partitions.json"):
        assert told(made, file) == ("verify_identity", database_tls.AUTHORITY)
    everywhere = given(made)
    assert everywhere.pop("database") == {"certificate", "key", "ca"}
    assert {name for name, held in everywhere.items() if held == {"ca"}} == {
        *("schema", "app", "partitions", "backup")
    }
    script = render.Renderer().tree(made)["backup/backup.sh"]
    assert "ssl-mode=VERIFY_IDENTITY\nssl-ca=/etc/crm/secrets/database_tls_ca\n" in script


ORDERS = {
    **{"partition_by": "range", "column": "order_date", "interval": "month", "ahead": 3},
    **{"start": "2026-01", "count": 2},
}


def test_server_takes_nothing_in_plain_text() -> None:
    lines = render.Renderer().tree(planned())["mysql/database-1/my.cnf"].splitlines()
    found = dict(line.partition("  #")[0].split(" = ") for line in lines if " = " in line)
    assert found["require_secure_transport"] == "ON"
    assert found["tls_version"] == "TLSv1.2,TLSv1.3"
    for name, secret in (("ssl_ca", "ca"), ("ssl_cert", "certificate"), ("ssl_key", "key")):
        assert found[name] == f"/etc/crm/secrets/database_tls_{secret}"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"port": 3306}, ("verify_identity", None)),
        ({"ca_certificate": SECRET}, ("verify_identity", database_tls.AUTHORITY)),
        (
            {"ca_certificate": SECRET, "ssl_mode": "verify_ca"},
            ("verify_ca", database_tls.AUTHORITY),
        ),
        ({"ssl_mode": "required"}, ("required", None)),
    ],
)
def test_external_server_is_verified_as_asked(asked: Any, expected: Any) -> None:
    made = planned(**asked)
    assert told(made) == told(made, "app/job.json") == expected
    assert made.database.tls.hosts == ()
    held = {"ca"} if expected[1] else set()
    assert {name for name, found in given(made).items() if found == held} >= {"schema", "app"}


# --- An authority of somebody's own --------------------------------------------------------------


def read(monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, Any]:
    monkeypatch.setattr(pulumi.Output, "secret", lambda text: text)
    monkeypatch.setenv("CRM_TEST_CA", text)
    monkeypatch.setenv("CRM_TEST", "password")
    return secret_sources.of(planned(ca_certificate={"env": "CRM_TEST_CA"}))


def test_authority_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    text = made_for(*HOSTS).authority_certificate
    found = read(monkeypatch, f"{text}\n{made_for(*HOSTS).authority_certificate}\n")
    assert found[database_tls.AUTHORITY].startswith(text)
    assert found[database_tls.AUTHORITY].count("BEGIN CERTIFICATE") == 2


def test_what_is_no_authority_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = certificates.self_made(HOSTS, "127.0.0.1", None, NOW - timedelta(days=400))
    where = "^crm:database.external.ca_certificate: the environment's CRM_TEST_CA: "
    for text, said in (
        ("", "holds no certificate in PEM"),
        (made_for(*HOSTS).key, "holds no certificate in PEM"),
        (old.certificate, "the authority's certificate expired on 20"),
    ):
        with pytest.raises(CrmError, match=where + said):
            read(monkeypatch, text)


# --- Who is taken for the server -----------------------------------------------------------------


def made_for(*hosts: str) -> SelfMade:
    return certificates.self_made(hosts, "192.0.2.1", None, NOW)


@contextmanager
def listening(shown: SelfMade, folder: Path, *, tls: bool = True) -> Iterator[int]:
    """A port that greets as MySQL does, speaks TLS as ``shown``, and reads nothing more; without
    ``tls`` it says that it has none, and reads what it is sent all the same."""
    (folder / "server.pem").write_text(shown.certificate + shown.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    # Protocol 10, version, thread, salt, CLIENT_SSL and what goes with it, character set, status.
    greeting = (
        b"\x0a8.4.0\0" + b"\1\0\0\0" + b"saltsalt\0"
        b"\xff" + (b"\xff" if tls else b"\xf7") + b"\xff\2\0\xff\xdf\x15" + b"\0" * 10
    )
    greeting += b"saltsaltsalt\0caching_sha2_password\0"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            with server.accept()[0] as plain:
                plain.settimeout(10)
                plain.sendall(len(greeting).to_bytes(3, "little") + b"\0" + greeting)
                if not tls:
                    heard.append(plain.recv(1000))
                    return
                assert plain.recv(36, socket.MSG_WAITALL)[4:8] != b""
                try:
                    with context.wrap_socket(plain, server_side=True) as secure:
                        heard.append(secure.recv(1000))
                except OSError:
                    heard.append(b"")

        heard: list[bytes] = []
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            thread.join(10)
            (folder / "heard").write_bytes(heard[0])


def connect(port: int, folder: Path, ssl_mode: Any, authority: str) -> None:
    (folder / database_tls.AUTHORITY).write_text(authority)
    shard = ShardSettings("database-1", "localhost", port, 0, 63)
    database = DatabaseSettings(
        64, "0a1b2c3d", "crm", "crm_app", 1, (shard,), ssl_mode, database_tls.AUTHORITY
    )
    mysql.connect(shard, database, Secrets(folder), "canary")


OURS, OTHERS = made_for("localhost"), made_for("localhost")
ELSEWHERE = certificates.self_made(
    ["database-2"], "192.0.2.1", (OURS.authority_certificate, OURS.authority_key), NOW
)


@pytest.mark.parametrize(
    ("shown", "ssl_mode", "taken"),
    [
        (OURS, "verify_identity", True),
        (OTHERS, "verify_identity", False),
        (OTHERS, "verify_ca", False),
        (OTHERS, "required", True),
        (ELSEWHERE, "verify_identity", False),
        (ELSEWHERE, "verify_ca", True),
    ],
)
def test_server_of_another_authority_hears_no_password(
    shown: SelfMade, ssl_mode: str, taken: bool, tmp_path: Path
) -> None:
    with pytest.raises(pymysql.OperationalError) as lost, listening(shown, tmp_path) as port:
        connect(port, tmp_path, ssl_mode, OURS.authority_certificate)
    heard = (tmp_path / "heard").read_bytes()
    assert (b"crm_app" in heard) is taken
    assert mysql.is_distrusted(lost.value) is not taken
    if not taken:
        assert "certificate verify failed" in mysql.plain(lost.value)


def test_server_without_tls_hears_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(pymysql.OperationalError, match="SSL"),
        listening(OURS, tmp_path, tls=False) as port,
    ):
        connect(port, tmp_path, "required", OURS.authority_certificate)
    assert (tmp_path / "heard").read_bytes() == b""


def test_certificate_is_for_the_host_that_is_asked() -> None:
    strict = mysql.trust("verify_identity", OURS.authority_certificate)
    assert (strict.check_hostname, strict.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert strict.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(strict.get_ca_certs()) == 1
    lenient = mysql.trust("verify_ca", OURS.authority_certificate)
    assert (lenient.check_hostname, lenient.verify_mode) == (False, ssl.CERT_REQUIRED)
    public = mysql.trust("verify_identity", None)
    assert (public.check_hostname, public.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_job_says_what_to_write_where_the_server_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "DISTRUST_SECONDS", 0.0)
    (tmp_path / "database_owner_password").write_text("canary")
    (tmp_path / database_tls.AUTHORITY).write_text(OURS.authority_certificate)
    said = r"^database-1: .*certificate verify failed.*crm:database\.external\.ca_certificate names"
    with listening(OTHERS, tmp_path) as port:
        shard = ShardSettings("database-1", "127.0.0.1", port, 0, 63)
        database = DatabaseSettings(
            64, "0a1b2c3d", "crm", "crm_owner", 1, (shard,), ca=database_tls.AUTHORITY
        )
        with pytest.raises(JobError, match=said):
            schema.wait_for(shard, database, Secrets(tmp_path))


def test_certificate_of_the_stack_names_what_was_planned() -> None:
    made = certificates.self_made(planned().database.tls.hosts, "127.0.0.1", None, NOW)
    leaf = x509.load_pem_x509_certificate(made.certificate.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["database-1", "localhost"]
