"""Finds secrets that are written out: by what they look like, or by the name they are given.

Pure text: no finding holds the secret itself. What only says where a secret is (a path, a variable,
a command that reads it) is none. How tokens look is what their issuers write, as collected in
https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from posixpath import basename

from msgspec import Struct


class Hit(Struct, frozen=True):
    """What is written out, and in which line of the text, from 1."""

    line: int
    what: str


# --- Names ---------------------------------------------------------------------------------------

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ANYWHERE = {"password", "passwd", "passphrase", "secret", "token", "credential", "credentials"}
_AT_THE_END = {"pass", "pwd", "auth"}
_GLUED = re.compile(
    r".+(password|passwd|passphrase|(api|secret|access|private)key|(auth|access|client)(token|secret))"
    r"|(api|secret|access|private)key"
    r"|(db|root|user|require|master|admin|app|redis|mysql|my|pg)(pass|pwd|auth|secret|token)"
)
_KEYS = {"api", "secret", "private", "access", "encryption", "signing", "account", "master"}
"""Before the word ``key``."""
_ABOUT = {
    *("file", "path", "dir", "directory", "name", "id", "url", "uri", "endpoint", "host", "type"),
    *("kind", "algorithm", "policy", "plugin", "length", "size", "count", "limit", "lifetime"),
    *("ttl", "expiry", "expires", "seconds", "minutes", "days", "age", "interval", "history"),
    *("rounds", "header", "field", "prefix", "version", "mount", "ref", "location", "encoding"),
    *("required", "enabled", "method", "provider"),
}
"""At the end of a name: it is about a secret, and holds none."""
_SUMS = {"checksum", "digest", "fingerprint", "sha"}


def tells(name: str) -> bool:
    """Whether what has this name is a secret: ``DB_PASS``, ``dbPassword``, ``crm.api-key``."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT or _SUMS & set(words):
        return False
    keys = any(a in _KEYS and b == "key" for a, b in pairwise(words))
    glued = any(_GLUED.fullmatch(word) for word in words)
    return keys or glued or words[-1] in _AT_THE_END or not _ANYWHERE.isdisjoint(words)


# --- Values --------------------------------------------------------------------------------------

_REFERENCE = re.compile(
    r"""\$ | .*\$[({] | [`{] | <[^>]*>\Z | [|>][+-]?\Z | \*+\Z | \?\Z | %[({]?\w
      | (?:env|file|secret|vault)[:+] | \w+:// | \.{0,2}/(?:[\w.@${}*-]+/?)*\Z""",
    re.VERBOSE,
)
"""A value that says where the secret is, that is to be put in, or that begins in the next line.
What is in a URL is found by its looks."""
_CODE = re.compile(r"\[|[A-Za-z_][\w.]*[(\[]")
"""The same of a program; in quotes it would be text."""
_NO_SECRET = {
    *("", "0", "1", "true", "false", "yes", "no", "on", "off", "none", "null", "nil"),
    *("required", "optional", "basic", "bearer", "plain", "ldap", "oauth2", "peer", "trust"),
    *("scram-sha-256", "sha256_password", "caching_sha2_password", "mysql_native_password"),
}


def is_plain(value: str) -> bool:
    """Whether it is the secret itself, given that its name tells of one."""
    bare = value.strip().strip("\"'")
    if bare.lower() in _NO_SECRET or _REFERENCE.match(bare):
        return False
    return bare != value.strip() or not _CODE.match(bare)


# --- Texts ---------------------------------------------------------------------------------------

_LOOKS = (
    (
        "a private key",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|\bPuTTY-User-Key-File-"
            r"|\bAGE-SECRET-KEY-1"
        ),
    ),
    (
        "a password in a URL",
        re.compile(
            r"\b[a-z][a-z0-9+.-]{0,30}://[^\s/@:\"']*:(?P<value>[^\s/@\"']+)@"
            r"|\b\w+:(?P<other>[^\s@:\"']+)@(?:tcp|unix)\(",
            re.IGNORECASE,
        ),
    ),
    (
        "a token",
        re.compile(
            r"\b(?:gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|gl(?:pat|ptt|dt|rt|cbt)-[\w-]{16,}"
            r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}|[rs]k_live_\w{8,}"
            r"|AIza[\w-]{30,}|ya29\.[\w-]{16,}|SG\.[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{16,}"
            r"|dckr_pat_[\w-]{16,}|hv[sb]\.[\w-]{16,}|pul-[0-9a-f]{40}|sk-[\w-]{20,}"
            r"|(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)"
            r"|\bhooks\.slack\.com/services/T\w+/B\w+/\w+"
        ),
    ),
    (
        "credentials in a header",
        re.compile(
            r"\bauthorization[\"']?\s*[:=]?\s*[\"']?(?:bearer|basic|token)\s+(?P<value>[^\s\"']+)",
            re.IGNORECASE,
        ),
    ),
    (
        "an account's password",
        re.compile(
            r"\bIDENTIFIED\s+(?:WITH\s+\S+\s+)?BY\s+(?P<value>'[^'\n]*'|\"[^\"\n]*\")"
            r"|\bSET\s+PASSWORD\b[^;\n]*=\s*(?P<other>'[^'\n]*')"
            r"|\binsecure-password\s+(?P<proxy>\S+)|\bstats\s+auth\s+[^\s:]+:(?P<stats>\S+)"
            r"|\blogin\s+\S+\s+password\s+(?P<netrc>\S+)|^[ \t]*user\s+\S+\s.*?>(?P<redis>\S+)",
            re.IGNORECASE | re.MULTILINE,
        ),
    ),
)
_NAME = r"(?<![\w$])(?<!\$\{)[\"']?(?P<name>[A-Za-z_][\w.-]{0,99})"
_VALUE = r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s\"',;&}\])]+)"
_END = r"(?=[ \t]*(?:\r?$|[,}\]]|\#))"
_SETTINGS = (
    # name = value, anywhere.
    re.compile(rf"{_NAME}[\"']?[ \t]*=(?!=)>?[ \t]*{_VALUE}"),
    # "name": value, or name: value to the end of the line, so that a sentence is none.
    re.compile(rf"{_NAME}(?:[\"'][ \t]*:[ \t]*|[ \t]*:[ \t]+){_VALUE}{_END}", re.MULTILINE),
    # A variable's default.
    re.compile(r"\$\{(?P<name>\w+):?[-=](?P<value>[^}]+)\}"),
    # An entry of a list: name: NAME, then value: VALUE.
    re.compile(
        rf"\bname[\"']?[ \t]*[:=][ \t]*[\"']?(?P<name>[\w.-]+)[\"']?,?\s*"
        rf"[\"']?value[\"']?[ \t]*[:=][ \t]*{_VALUE}"
    ),
    # XML.
    re.compile(r"<(?P<name>[A-Za-z][\w.-]*)>\s*(?P<value>[^<\s][^<]*)</"),
)
_DIRECTIVE = re.compile(
    rf"^[ \t]*(?P<name>requirepass|masterauth|(?:\w+[_-])?(?:password|passwd|passphrase"
    rf"|(?:secret|api|access)_?key))[ \t]+{_VALUE}[ \t]*;?[ \t]*(?:\#.*)?\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_BASE64 = re.compile(r"(?<![\w+/-])[\w+/-]{24,}={0,2}", re.ASCII)
_DER_KEY = re.compile(
    rb"0(?:\x82..|\x81.|[\x00-\x7f])\x02\x01(?:\x00[\x30\x02]|\x01[\x04\x30]|\x03\x30)"
    rb"|openssh-key-v1\0",
    re.DOTALL,
)
"""How PKCS #8, PKCS #1, SEC 1 and PKCS #12 (RFC 5208, 8017, 5915, 7292) and OpenSSH's own begin."""
_DEEPEST = 2


@lru_cache(maxsize=4096)
def in_text(text: str, deep: int = 0) -> tuple[Hit, ...]:
    """What is written out in ``text``, what is encoded in Base64 too; each once a line."""
    found = [*_by_looks(text), *_by_names(text)]
    if deep < _DEEPEST:
        found += _encoded(text, deep)
    return tuple(sorted(set(found), key=lambda hit: (hit.line, hit.what)))


def _by_looks(text: str) -> Iterator[Hit]:
    for what, pattern in _LOOKS:
        for match in pattern.finditer(text):
            values = [value for value in match.groupdict().values() if value is not None]
            if all(map(is_plain, values)):
                yield Hit(_line(text, match.start()), what)


def _by_names(text: str) -> Iterator[Hit]:
    for pattern in (*_SETTINGS, _DIRECTIVE):
        for match in pattern.finditer(text):
            name, value = match["name"], match["value"]
            # In a program, ``password = password`` is a variable.
            if tells(name) and is_plain(value) and value.rpartition(".")[2] != name:
                yield Hit(_line(text, match.start("name")), name)


def _encoded(text: str, deep: int) -> Iterator[Hit]:
    for match in _BASE64.finditer(text):
        bare = match[0].rstrip("=").replace("-", "+").replace("_", "/")
        line = _line(text, match.start())
        try:
            decoded = base64.b64decode(bare[: len(bare) // 4 * 4])
        except binascii.Error:
            continue
        if _DER_KEY.match(decoded):
            yield Hit(line, "a private key in Base64")
        # The last bytes may be cut off; what is no text has nothing else to be found in it.
        inner = decoded.decode("utf-8", "ignore")
        if inner.isprintable() or "\n" in inner:
            yield from (Hit(line, f"{hit.what} in Base64") for hit in in_text(inner, deep + 1))


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


# --- Command lines -------------------------------------------------------------------------------

_MYSQL = {
    *("mysql", "mysqladmin", "mysqlbinlog", "mysqlcheck", "mysqldump", "mysqlimport", "mysqlsh"),
    *("mysqlslap", "mariadb", "mariadb-dump", "sshpass"),
}
_REDIS = {"redis-cli", "redis-benchmark", "valkey-cli", "valkey-benchmark"}
_HTTP = {"curl", "wget"}
_OPTION = re.compile(r"--?(?P<name>[A-Za-z][\w.-]+)(?:=(?P<value>.*))?", re.DOTALL)
_MADE_UP = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w!@#%^&+~-]+")


def in_words(words: Sequence[str]) -> tuple[str, ...]:
    """The options among a command's words that are followed by a secret."""
    words = [each for word in words for each in _split(word)]
    programs = {basename(word) for word in words}
    found: dict[str, None] = {}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if name := _option(word, after, programs):
            found[name] = None
    return tuple(found)


def _option(word: str, after: str, programs: set[str]) -> str:
    """The option that ``word`` is, if a secret is its value; else nothing."""
    given = "" if after.startswith("-") else after
    if word.startswith("-p") and len(word) > 2 and _is_short(word[2:], bool(programs & _MYSQL)):
        return "-p"
    if word == "-p" and "sshpass" in programs and is_plain(given):
        return "-p"
    if word == "-a" and _is_short(given, bool(programs & _REDIS)):
        return "-a"
    if word in ("-u", "--user") and programs & _HTTP:
        _, _, password = given.partition(":")
        return word if password and is_plain(password) else ""
    option = _OPTION.fullmatch(word)
    if option is None or not tells(option["name"]):
        return ""
    value = given if option["value"] is None else option["value"]
    return f"--{option['name']}" if is_plain(value) else ""


def _is_short(value: str, is_client: bool) -> bool:
    """Whether ``-p`` or ``-a`` has a password as its value. Of a program other than a client of
    MySQL's or Redis', only where it is no word, number, address or path."""
    if not is_plain(value):
        return False
    return bool(is_client or (_MADE_UP.fullmatch(value) and value != "rint0"))


def _split(word: str) -> list[str]:
    """A shell's line as its words; any other word as it is."""
    if not re.search(r"\s", word):
        return [word]
    try:
        return shlex.split(word)
    except ValueError:
        return word.split()
