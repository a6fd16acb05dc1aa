"""Keys, certificates and kubeconfigs of one cluster: made anew each time, valid for a year."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster import place

VALID = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return _pem(self.key)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def authority(name: str) -> Pair:
    """A certificate authority that signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _builder(subject, subject, key.public_key(), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def issue(signer: Pair, name: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Pair:
    """A certificate for a client called ``name`` in ``groups``, and for a server at ``hosts``."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder(subject, signer.certificate.subject, key.public_key(), signer.key)
    if hosts:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    )
    return Pair(builder.sign(signer.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    # Begun an hour ago: a clock that is set back a little must not refuse it.
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + VALID)
        # Python 3.13 trusts no certificate without these two.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def kubeconfig(server: str, trusted: Pair, client: Pair) -> str:
    """A kubeconfig with everything in it; JSON, which is YAML too."""

    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "crm-tests",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": data(trusted.certificate_pem),
                },
            }
        ],
        "users": [
            {
                "name": "client",
                "user": {
                    "client-certificate-data": data(client.certificate_pem),
                    "client-key-data": data(client.key_pem),
                },
            }
        ],
        "contexts": [{"name": "crm-tests", "context": {"cluster": "crm-tests", "user": "client"}}],
        "current-context": "crm-tests",
    }
    return json.dumps(config, indent=1) + "\n"


CLIENTS = {
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
    "proxy": ("system:kube-proxy", ()),
    "addons": ("cluster-addons", ()),
    "kubelet": (f"system:node:{place.NODE}", ("system:nodes",)),
}
"""Program → user and groups, as RBAC's built-in roles know them."""


def write_all(folder: Path, address: str, admin: Path) -> None:
    """Everything the programs read under ``folder``, and the administrator's kubeconfig."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root, front = authority("kubernetes"), authority("front-proxy")
    servers = (
        *("kubernetes", "kubernetes.default", "kubernetes.default.svc"),
        *("kubernetes.default.svc.cluster.local", "localhost"),
        *("127.0.0.1", place.API_SERVICE, address),
    )
    issued = {
        "apiserver": issue(root, "kube-apiserver", hosts=servers),
        # The API server speaks to the kubelet as an administrator, as kubeadm has it.
        "apiserver-kubelet": issue(root, "kube-apiserver-kubelet", ("system:masters",)),
        "front-proxy-client": issue(front, "front-proxy-client"),
        "kubelet-server": issue(root, place.NODE, hosts=(place.NODE, address)),
    }
    for name, pair in issued.items():
        _write(folder / f"{name}.crt", pair.certificate_pem)
        _write(folder / f"{name}.key", pair.key_pem)
    _write(folder / "ca.crt", root.certificate_pem)
    _write(folder / "ca.key", root.key_pem)
    _write(folder / "front-proxy-ca.crt", front.certificate_pem)
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write(folder / "service-accounts.key", _pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write(folder / "service-accounts.pub", public)
    server = f"https://{address}:6443"
    for program, (user, groups) in CLIENTS.items():
        text = kubeconfig(server, root, issue(root, user, groups))
        _write(folder / f"{program}.kubeconfig", text.encode())
    administrator = issue(root, "cluster-admin", ("system:masters",))
    _write(admin, kubeconfig(server, root, administrator).encode())


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
