"""Encryption between MySQL and everything that connects to it. Pure: no I/O.

Servers of the stack get a certificate of an authority of the stack's own; whoever connects is
given that authority and takes no other. A server that is not the stack's is verified as the stack
file says.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from stacks.spec import ExternalDatabase
from stacks.spec_edge import SecretReference

CERTIFICATE, KEY, AUTHORITY = "database_tls_certificate", "database_tls_key", "database_tls_ca"
"""What servers (all three) and those that connect to them (the last) are given: PEM."""

LIFE_DAYS, RENEW_DAYS = 5 * 365, 365
"""For how long a certificate is made, and with how many days left an ``up`` makes another one. No
browser reads it, so that it may live as long as a stack that nobody touches."""


class DatabaseTlsPlan(Struct, frozen=True):
    """How servers are verified: ``ssl_mode`` has the words of MySQL's own clients.

    ``hosts`` are those that a certificate is made for, none where the servers are not the stack's;
    their ``authority`` is then where it is read from, ``None`` for those that systems trust.
    """

    ssl_mode: str
    hosts: tuple[str, ...]
    authority: SecretReference | None

    @property
    def client_secrets(self) -> tuple[str, ...]:
        """The secrets, by name, that those who connect are given for it."""
        return (AUTHORITY,) if self.hosts or self.authority else ()


def work_out(external: ExternalDatabase | None, hosts: Sequence[str]) -> DatabaseTlsPlan:
    """What it is for the servers at ``hosts``, which are the stack's own if not ``external``."""
    if external is None:
        # By the last one a person in the container comes in.
        return DatabaseTlsPlan("verify_identity", (*hosts, "localhost"), None)
    return DatabaseTlsPlan(external.ssl_mode, (), external.ca_certificate)
