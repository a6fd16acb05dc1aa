"""Secrets in plain text are found, and what only says where one is is none."""

from __future__ import annotations

import base64
import time

import pytest

from policies.secret_scan import in_text, in_words, is_plain, tells


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


@pytest.mark.parametrize(
    "name",
    [
        *("MYSQL_PWD", "DB_PASS", "DBPASS", "REDISCLI_AUTH", "DBPASSWORD", "dbPassword", "token"),
        *("aws_secret_access_key", "API_KEY", "apiKey", "APIKey", "crm.db-password", "masterauth"),
        *("CREDENTIALS", "client-secret", "PGPASSWORD", "password2", "PASSWORD_OLD", "authToken"),
        *("SECRET_KEY_BASE", "requirepass", "crm.dev/api-key"),
    ],
)
def test_name_tells_of_a_secret(name: str) -> None:
    assert tells(name)


@pytest.mark.parametrize(
    "name",
    [
        *("KEY", "DB_PASSWORD_FILE", "secret_path", "secretName", "server_tokens", "max_tokens"),
        *("AWS_ACCESS_KEY_ID", "TOKEN_URL", "password_lifetime", "bypass", "compass", "author"),
        *("checksum/secret", "secrets", "passenger", "pass_through", "auth_type", "", "_1"),
    ],
)
def test_name_tells_of_none(name: str) -> None:
    assert not tells(name)


@pytest.mark.parametrize("value", ["swordfish", "x", "12345", '"a b"', "pa$$word", "*starred*"])
def test_value_is_plain(value: str) -> None:
    assert is_plain(value)


@pytest.mark.parametrize(
    "value",
    [
        *("", '""', "false", "None", "0", "$PASSWORD", "${PASSWORD}", "$(cat /run/x)", "`cat x`"),
        *(
            "/run/secrets/x",
            "./secret",
            "../a/b",
            "{{ password }}",
            "<password>",
            "?",
            "%s",
            "****",
        ),
        *(
            "{",
            "|",
            ">-",
            "env:DB_PASSWORD",
            "https://vault.example.com/v1",
            "os.environ['X']",
            'getenv("X")',
            "Bearer ${TOKEN}",
        ),
        *("caching_sha2_password", "basic"),
    ],
)
def test_value_says_where_the_secret_is_or_is_none(value: str) -> None:
    assert not is_plain(value)


TOKENS = [
    *(f"ghp_{'a1B2' * 9}", f"github_pat_{'a1B2' * 9}", f"glpat-{'a1B2' * 5}"),
    *(f"AKIA{'A1B2' * 4}", f"xoxb-{'1' * 12}-abc", f"sk_live_{'a1B2' * 6}", f"AIza{'a1B2' * 9}"),
    *(f"npm_{'a1B2' * 9}", f"hvs.{'a1B2' * 6}", f"pul-{'a1b2' * 10}", f"sk-proj-{'a1B2' * 6}"),
    f"eyJ{'a1B2' * 5}.eyJ{'a1B2' * 5}.{'a1B2' * 5}",
    f"https://hooks.slack.com/services/T{'A1' * 4}/B{'A1' * 4}/{'a1B2' * 6}",
]
DER_KEYS = [
    bytes.fromhex("308204bd020100300d06092a864886f70d0101010500048204a7"),  # PKCS #8, RSA
    bytes.fromhex("302e020100300506032b657004220420") + bytes(32),  # PKCS #8, Ed25519
    bytes.fromhex("308204a30201000282010100") + bytes(32),  # PKCS #1
    bytes.fromhex("30770201010420") + bytes(32),  # SEC 1
    b"openssh-key-v1\0" + bytes(32),
]
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQ\n"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        *((text, 1, "a token") for text in TOKENS),
        ("-----BEGIN PRIVATE KEY-----", 1, "a private key"),
        ("a\n-----BEGIN ENCRYPTED PRIVATE KEY-----", 2, "a private key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----", 1, "a private key"),
        ("mysql://crm:hunter2@db/crm", 1, "a password in a URL"),
        ("redis://:hunter2@cache:6379", 1, "a password in a URL"),
        ("crm:hunter2@tcp(db:3306)/crm", 1, "a password in a URL"),
        ("Authorization: Bearer hunter2", 1, "credentials in a header"),
        ('proxy_set_header Authorization "Basic Y3Jt";', 1, "credentials in a header"),
        ("ALTER USER a IDENTIFIED BY 'hunter2';", 1, "an account's password"),
        ('CREATE USER a IDENTIFIED WITH x BY "hunter2";', 1, "an account's password"),
        ("SET PASSWORD FOR 'a'@'%' = 'hunter2';", 1, "an account's password"),
        ("user admin insecure-password hunter2", 1, "an account's password"),
        ("stats auth admin:hunter2", 1, "an account's password"),
        ("machine db login crm password hunter2", 1, "an account's password"),
        ("port 1\nuser app on ~* +@all >hunter2", 2, "an account's password"),
        ("aws_secret_access_key = abc", 1, "aws_secret_access_key"),
        ("export DB_PASSWORD='hunter2'", 1, "DB_PASSWORD"),
        ("db: {user: a, password: hunter2}", 1, "password"),
        ("db:\n  db_password: hunter2  # old", 2, "db_password"),
        ('{"a": 1, "password":"hunter2"}', 1, "password"),
        ("[a]\r\npassword: hunter2\r\n", 2, "password"),
        ("token = abc", 1, "token"),
        ("_password = 'hunter2'", 1, "_password"),
        ("requirepass hunter2", 1, "requirepass"),
        ("  primary_password hunter2;", 1, "primary_password"),
        ("x=${DB_PASSWORD:-hunter2}", 1, "DB_PASSWORD"),
        ("- name: DB_PASSWORD\n  value: hunter2", 1, "DB_PASSWORD"),
        ("<dbPassword>hunter2</dbPassword>", 1, "dbPassword"),
        ("jdbc:mysql://db/crm?user=crm&password=hunter2", 1, "password"),
        ("a\n" + encoded(PEM), 2, "a private key in Base64"),
        (encoded(encoded(PEM)), 1, "a private key in Base64 in Base64"),
        (encoded("db_password: hunter2\n"), 1, "db_password in Base64"),
        *((encoded(key), 1, "a private key in Base64") for key in DER_KEYS),
    ],
)
def test_secret_is_found_in_a_text(text: str, line: int, what: str) -> None:
    assert [(hit.line, hit.what) for hit in in_text(text)] == [(line, what)]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2ZmZmZmZmZm\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        encoded("-----BEGIN CERTIFICATE-----\nMIIBszCC\n"),
        encoded(bytes(range(200))),
        "nginx@sha256:" + "a1" * 32,
        "https://crm.example.com:8443/a@b",
        "mysql://crm@db/crm",
        "mysql://crm:${PASSWORD}@db/crm",
        "IDENTIFIED BY $(secret app) REQUIRE SSL;",
        "ALTER USER a IDENTIFIED BY '$PASSWORD'",
        "REDISCLI_AUTH=$(cat /etc/crm/secrets/cache_password)",
        'password="$(sed -e s/a/b/ /etc/crm/secrets/root)"',
        "echo error: app_password: is empty or missing; run crm up again",
        "# requirepass, made from the secret at the start:",
        "ssl_key = /etc/crm/secrets/database_tls_key  # clients verify",
        "server_tokens off;\nproxy_pass http://app;",
        "proxy_pass: http://app",
        "authentication_policy = caching_sha2_password",
        "default_password_lifetime = 0",
        "[[ $password == hunter2 ]]",
        "image: registry.example.com/crm-secret:1.2",
        "password = password\ntoken=settings.token",
        "password: |\n  of several lines",
        '{"password": {"file": "/run/secrets/x"}, "tokens": [1]}',
    ],
)
def test_no_secret_is_found_where_none_is(text: str) -> None:
    assert in_text(text) == ()


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["mysql", "-pswordfish"], "-p"),
        (["crm", "-phunter2"], "-p"),
        (["sh", "-c", "exec /usr/bin/mysqldump -u root -pswordfish crm"], "-p"),
        (["sshpass", "-p", "swordfish", "ssh", "db"], "-p"),
        (["redis-cli", "-a", "swordfish", "PING"], "-a"),
        (["crm", "-a", "hunter2"], "-a"),
        (["curl", "-u", "crm:swordfish", "https://a"], "-u"),
        (["crm", "--password", "swordfish"], "--password"),
        (["crm", "--aws-secret-key=abc"], "--aws-secret-key"),
        (["redis-server", "--requirepass swordfish"], "--requirepass"),
        (["crm", "--token", "--db-pass=x y"], "--db-pass"),
        (["sh", "-c", "it's mysql -pswordfish"], "-p"),
    ],
)
def test_secret_is_found_on_a_command_line(words: list[str], option: str) -> None:
    assert in_words(words) == (option,)


@pytest.mark.parametrize(
    "words",
    [
        ["mysql", "-p"],
        ["mysql", "-P3306", "-p$(cat /run/secrets/x)"],
        ["ssh", "-p2222", "-p", "22"],
        ["mkdir", "-p", "/run/a1"],
        ["find", "/srv", "-print0", "-prune", "-path", "a1"],
        ["redis-cli", "-p", "6379", "-a", "$PASSWORD"],
        ["grep", "-a", "needle", "/a1"],
        ["curl", "-u", "crm", "https://a:1/"],
        ["curl", "-u", "crm:$PASSWORD"],
        ["crm", "--password-file=/run/secrets/x", "--token"],
        ["crm", "--password", "--verbose"],
        ["sh", "-c", "REDISCLI_AUTH=$(cat /x) && export REDISCLI_AUTH && redis-cli PING"],
    ],
)
def test_no_secret_is_found_on_a_command_line_where_none_is(words: list[str]) -> None:
    assert in_words(words) == ()


@pytest.mark.parametrize("piece", ["a", "password ", "a=", "<a>", "x:", "a.", "eyJabc-", "k=$X\n"])
def test_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    began = time.monotonic()
    in_text(piece * (100_000 // len(piece)))
    assert time.monotonic() - began < 5
