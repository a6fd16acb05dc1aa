"""Nothing reaches MySQL in plain text, and nobody tells another server their password."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from stacks import certificates
from tests.live import own
from tests.live.client import call
from tests.live.stack import Stack
from tests.live.traffic import Request, load
from tests.live.waiting import wait_until

pytestmark = pytest.mark.live

OURS = "/etc/crm/secrets/database_tls_ca"
FOLLOWED_SECONDS = 30
"""The server looks every ten."""

APP = """\
import os
from crm import mysql, settings
told = settings.load(os.environ)
for shard in told.file.database.shards:
    password = told.secrets.read("database_app_password")
    connection = mysql.connect(shard, told.file.database, told.secrets, password)
    with connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_%'")
        found = dict(cursor.fetchall())
    print(found["Ssl_version"], found["Ssl_cipher"])
"""
"""A connection as the app opens it, from where the app is."""


def client(stack: Stack, host: str, *options: str) -> tuple[int, str]:
    """What the server says to a client of its own kind who comes in as the app does."""
    script = (
        "MYSQL_PWD=$(cat /etc/crm/secrets/database_app_password) exec mysql --protocol=TCP "
        '-h"$0" -ucrm_app -NBe "SHOW STATUS LIKE \'Ssl_cipher\'" "$@"'
    )
    return own.ask(stack.container("database-1"), "sh", "-c", script, host, *options)


def other_authority() -> str:
    made = certificates.self_made(["database-1"], "127.0.0.1", None, datetime.now(UTC))
    return made.authority_certificate


def test_plain_text_is_refused(dev: Stack) -> None:
    code, said = client(dev, "database-1", "--ssl-mode=DISABLED")
    assert code == 1
    assert "ERROR 1045" in said, said  # the account itself asks for TLS
    # So does the server, of an account that does not.
    unlogged = "SET SESSION sql_log_bin = 0; "
    dev.sql("database-1", f"{unlogged}CREATE USER plain@'%' IDENTIFIED BY 'canary'")
    try:
        # The client would rather not show its password to a server it has no key of.
        plain = ("mysql", "-hdatabase-1", "-uplain", "--get-server-public-key", "-e", "SELECT 1")
        for mode, expected in (("DISABLED", (1, "ERROR 3159")), ("REQUIRED", (0, "1"))):
            command = (*plain, f"--ssl-mode={mode}")
            code, said = own.ask(dev.container("database-1"), *command, MYSQL_PWD="canary")
            assert (code, expected[1] in said) == (expected[0], True), said
    finally:
        dev.sql("database-1", f"{unlogged}DROP USER plain@'%'")


def test_server_is_who_its_certificate_says(dev: Stack) -> None:
    verified = ("--ssl-mode=VERIFY_IDENTITY", f"--ssl-ca={OURS}")
    for host in ("database-1", "localhost", "127.0.0.1"):
        code, said = client(dev, host, *verified)
        assert code == 0, said
        assert re.fullmatch(r"Ssl_cipher\t\S+\n", said)
    # The same server by an address that the certificate does not name.
    address = dev.execute("database-1", "hostname", "-i").split()[0]
    code, said = client(dev, address, *verified)
    assert code == 1
    assert "ERROR 2026" in said, said
    script = 'printf %s "$0" >/tmp/other.pem'
    dev.execute("database-1", "sh", "-c", script, other_authority())
    code, said = client(dev, "database-1", "--ssl-mode=VERIFY_CA", "--ssl-ca=/tmp/other.pem")
    assert code == 1
    assert "ERROR 2026" in said, said


def test_app_is_encrypted_and_takes_no_other_authority(dev: Stack) -> None:
    assert call(f"{dev.url}/readyz").status == 200
    said = dev.execute("app-1", "python3", "-c", APP).splitlines()
    assert said
    assert all(re.fullmatch(r"TLSv1\.[23] \S+", line) for line in said), said
    script = (
        "mkdir /tmp/other && cp /etc/crm/secrets/* /tmp/other && cd /tmp/other && "
        "rm -f database_tls_ca && "
        'printf %s "$0" >database_tls_ca && CRM_SECRETS=/tmp/other exec python3 -c "$1"'
    )
    code, text = dev.attempt("app-1", "sh", "-c", script, other_authority(), APP)
    dev.execute("app-1", "rm", "-rf", "/tmp/other")
    assert code == 1
    assert "certificate verify failed" in text, text


def test_renewed_certificate_is_taken_up_as_the_server_runs(dev: Stack) -> None:
    def ends() -> str:
        return dev.sql("database-1", "SHOW STATUS LIKE 'Ssl_server_not_after'")[0][1]

    def as_it_is() -> dict[str, str]:
        found = {name: one.attrs["State"]["StartedAt"] for name, one in dev.containers().items()}
        assert set(found) == {"edge", "app-1", "database-1", "cache-1"}
        return found

    before, started = ends(), as_it_is()
    body = {"name": "Renewed", "email": "renewed@example.org"}
    # As if it were in its last year, without another number in the state.
    file, now = "stacks/targets/generated_certificate.py", ("=differs or ends)", "=True)")
    dev.project.edit(file, *now)
    try:
        with load(dev.url, lambda _: Request("/api/v1/customers", "POST", body), clients=2) as seen:
            changes = dev.up()
            wait_until(lambda: ends() != before, "the new one is shown", FOLLOWED_SECONDS)
        # The certificate, and the file that it is in.
        assert (changes["update"], changes["replace"]) == (2, 0)
        assert seen.failures == []
        assert seen.sent > 20
    finally:
        dev.project.edit(file, *reversed(now))
    assert as_it_is() == started
    # The app's next connections trust it as they did the other one.
    assert re.match(r"TLSv1\.[23] ", dev.execute("app-1", "python3", "-c", APP))
    again = dev.up()
    assert (again["create"], again["update"], again["replace"], again["delete"]) == (0,) * 4
