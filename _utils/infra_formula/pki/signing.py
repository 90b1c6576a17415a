"""Private keys and certificates, made with the cryptography library.

Not by Salt's x509: Salt 3006 and 3007 load it only where ``features`` of the minion's
configuration have ``x509_v2``; from 3006.29 and 3007.16 on it needs a newer cryptography than
Debian 12 has, which is what salt-ssh finds on a target; and no release issues for names with an
underscore, which nginx and dnsmasq serve and programs accept.
"""

from __future__ import annotations

import datetime
import ipaddress
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra_formula.pki import certificates

_EXPONENT = 65537
_TOLERANCE = datetime.timedelta(days=2)
"""How far a certificate's start lies in the past, for clocks that are behind."""
_USAGES = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}


def new_key(bits: int) -> str:
    """Make an RSA key.

    bits
        Its size.

    Returns it as PEM (PKCS #8), without a passphrase.
    """
    return (
        rsa.generate_private_key(public_exponent=_EXPONENT, key_size=bits)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def leaf(spec: dict[str, Any], key: str, days: int) -> str:
    """Issue a certificate.

    spec
        Its specification; see pki/authority.py.
    key
        File of its private key.
    days
        For how many days from now it is valid.

    Returns it as PEM.
    """
    ca = certificates.load(spec["signing_cert"])
    public = certificates.private_key(key).public_key()
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in spec["names"]]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in spec["addresses"]]
    usages = [_USAGES[word] for word in spec["usages"]]
    return _signed(
        _builder(ca.subject, _subject(spec), public, days)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature", "key_encipherment"), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority(ca), critical=False),
        certificates.private_key(spec["signing_private_key"]),
    )


def ca(
    key: str, subject: dict[str, str], days: int, permitted: list[x509.GeneralName] | None = None
) -> str:
    """Make the certificate of a CA that signs certificates of servers and clients, and no CA.

    key
        File of its private key.
    subject
        ``common_name``, ``organization`` and ``unit``.
    days
        For how many days from now it is valid.
    permitted
        Names and networks for which alone its certificates are valid; none for any.

    Returns it as PEM.
    """
    private, name = certificates.private_key(key), _subject(subject)
    public = private.public_key()
    builder = (
        _builder(name, name, public, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign", "digital_signature"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if permitted:
        limits = x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)
        builder = builder.add_extension(limits, critical=True)
    return _signed(builder, private)


def renewed_ca(ca: str, key: str, days: int) -> str:
    """A CA certificate with the same key, name and name constraints, and a new life, as PEM.

    ca, key
        Absolute paths.
    days
        Its life from now on.

    What the former certificate signed is valid with this one as well.
    """
    former, private = certificates.load(ca), certificates.private_key(key)
    now = datetime.datetime.now(datetime.timezone.utc)
    # Early enough for clocks that are behind, and later than the former one: see is_renewal.
    start = max(
        now - _TOLERANCE,
        certificates.not_before(former) + datetime.timedelta(seconds=1),
    )
    builder = (
        x509.CertificateBuilder(former.issuer, former.subject, former.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    for extension in former.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            value = x509.BasicConstraints(ca=True, path_length=0)
        builder = builder.add_extension(value, extension.critical)
    return _signed(builder, private)


def _subject(of: dict[str, Any]) -> x509.Name:
    parts = (
        (NameOID.ORGANIZATION_NAME, of["organization"]),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, of["unit"]),
        (NameOID.COMMON_NAME, of["common_name"]),
    )
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts if text])


def _usage(*granted: str) -> x509.KeyUsage:
    """Uses of a key: all of X.509's are said, and only some are granted."""
    every = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{use: use in granted for use in every})


def _builder(
    issuer: x509.Name, subject: x509.Name, public: Any, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _TOLERANCE,
        not_valid_after=now + datetime.timedelta(days=days),
    )


def _signed(builder: x509.CertificateBuilder, key: Any) -> str:
    # These two kinds of keys have their digest in themselves (RFC 8032).
    with_own = (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
    done = builder.sign(key, None if isinstance(key, with_own) else hashes.SHA256())
    return done.public_bytes(serialization.Encoding.PEM).decode()


def _authority(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The identifier of the CA's key, as the CA itself says it."""
    try:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)
