"""Certificates made on the spot: an authority of the broker's own, and what it signs."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamproc.errors import ConfigurationError
from streamproc.transports.broker.folders import write_private
from streamproc.transports.broker.properties import NODE_NAME, Certificates

__all__ = ["make_certificates"]

_AUTHORITY_DAYS = 3650.0
_NODE_DAYS = 3650.0
_EARLIER = dt.timedelta(hours=1)
"""Certificates begin a little before now: clocks differ."""


def make_certificates(folder: Path, hosts: Iterable[str], days: float) -> Certificates:
    """Make what a broker needs in ``folder``; an authority that is there already signs again.

    Parameters
    ----------
    folder : Path
        Keys are written here, readable by the owner only.
    hosts : iterable of str
        Addresses and names that clients use.
    days : float
        How long clients may trust the server's certificate from now on (days); negative: one that has
        expired.

    Raises
    ------
    ConfigurationError
        The folder's authority cannot be read.
    """
    files = Certificates(folder / "ca.pem", folder / "server.pem", folder / "node.pem")
    folder.mkdir(parents=True, exist_ok=True)
    authority = _authority(files.authority, folder / "ca.key")
    names = list(dict.fromkeys(hosts))
    _issue(files.server, authority, "streamproc broker", names, days)
    _issue(files.node, authority, NODE_NAME, names, _NODE_DAYS)
    return files


def _authority(certificate: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if certificate.exists() and key.exists():
        try:
            kept = load_pem_private_key(key.read_bytes(), None)
            assert isinstance(kept, ec.EllipticCurvePrivateKey)
            return x509.load_pem_x509_certificate(certificate.read_bytes()), kept
        except (ValueError, AssertionError) as error:
            raise ConfigurationError(
                f"{key}: no authority of a broker ({error}); remove it and ca.pem"
            ) from error
    made = ec.generate_private_key(ec.SECP256R1())
    name = _name("streamproc broker authority")
    signed = (
        _builder(name, name, made, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .sign(made, SHA256())
    )
    write_private(key, _key_pem(made))
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    return signed, made


def _issue(
    path: Path,
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    common_name: str,
    hosts: Iterable[str],
    days: float,
) -> None:
    """Write key and certificate into one file, as Kafka's PEM key store has them."""
    issuer, signer = authority
    key = ec.generate_private_key(ec.SECP256R1())
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(_name(common_name), issuer.subject, key, days)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(signer, SHA256())
    )
    write_private(path, _key_pem(key) + certificate.public_bytes(Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    end = now + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _EARLIER)
        .not_valid_after(end)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
