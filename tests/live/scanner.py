"""sslyze, a TLS scanner of others, in an environment of its own: it wants an older `cryptography`
than this project's."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import environment

VERSION = "6.3.1"
_RUN_SECONDS = 300
_VERSIONS = {
    **{"ssl_2_0": "sslv2", "ssl_3_0": "sslv3"},
    **{"tls_1_0": "tlsv1", "tls_1_1": "tlsv1_1", "tls_1_2": "tlsv1_2", "tls_1_3": "tlsv1_3"},
}
"""As its results call them → as its options do."""


@dataclass(frozen=True)
class Scan:
    """The protocol versions that are spoken, such as ``tls_1_2``, and what is not as Mozilla's
    profile has it, by sslyze's own names."""

    versions: frozenset[str]
    complaints: frozenset[str]


def scan(host: str, port: int, profile: str = "intermediate") -> Scan:
    """Let it try every protocol version, cipher and curve it knows."""
    tool: list[str | Path] = [environment.python("sslyze", VERSION), "-m", "sslyze"]
    where = f"{host}:{port}"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # Few connections at once, each of which may take its time.
            [*tool, "--slow_connection", *options, where],
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
        )

    done = run("--mozilla_config=disable", "--json_out=-", *(f"--{v}" for v in _VERSIONS.values()))
    (server,) = json.loads(done.stdout)["server_scan_results"]
    found = {name: server["scan_result"][f"{name}_cipher_suites"]["result"] for name in _VERSIONS}
    accepted = {name for name, result in found.items() if result["accepted_cipher_suites"]}
    judged = run(f"--mozilla_config={profile}")
    complaints = re.findall(
        r"^ +\* (\w+): ", judged.stdout.partition("COMPLIANCE")[2], re.MULTILINE
    )
    assert (judged.returncode == 0) == (not complaints), judged.stdout + judged.stderr
    return Scan(frozenset(accepted), frozenset(complaints))
