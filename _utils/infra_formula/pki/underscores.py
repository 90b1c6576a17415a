"""Certificates for names with an underscore, which Salt's x509 does not issue.

No host name has one, but nginx and dnsmasq serve such names, and programs accept the certificate.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra_formula.pki import certificates

_USAGES = {
    "serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH,
}


def needed(spec: dict[str, Any]) -> bool:
    """Whether a certificate has a name that Salt's x509 refuses.

    spec
        What pki/authority.py makes of a certificate.
    """
    return any("_" in name for name in spec["names"])


def issue(spec: dict[str, Any], key: str, start: datetime.datetime, days: int) -> str:
    """Issue a certificate; the same as Salt's x509 does for other names.

    spec
        What pki/authority.py makes of a certificate.
    key
        File of its private key.
    start, days
        When it becomes valid, and for how many days from now.

    Returns it as PEM.
    """
    ca = x509.load_pem_x509_certificate(Path(spec["signing_cert"]).read_bytes())
    ca_key = certificates.load_key(Path(spec["signing_private_key"]).read_bytes())
    public = certificates.load_key(Path(key).read_bytes()).public_key()
    subject = [
        (NameOID.ORGANIZATION_NAME, spec["organization"]),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, spec["unit"]),
        (NameOID.COMMON_NAME, spec["common_name"]),
    ]
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in spec["names"]]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in spec["addresses"]]
    usage = {
        **dict.fromkeys(
            ("content_commitment", "data_encipherment", "key_agreement", "key_cert_sign",
             "crl_sign", "encipher_only", "decipher_only"), False,
        ),
        "digital_signature": True,
        "key_encipherment": True,
    }  # fmt: skip
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(**usage), True),
        (x509.ExtendedKeyUsage([_USAGES[word] for word in spec["usages"]]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (_authority(ca), False),
    ]
    builder = x509.CertificateBuilder(
        issuer_name=ca.subject,
        subject_name=x509.Name([x509.NameAttribute(oid, text) for oid, text in subject]),
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=datetime.datetime.now(datetime.timezone.utc)
        + datetime.timedelta(days=days),
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    signed = builder.sign(ca_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def _authority(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The identifier of the CA's key, as the CA itself says it."""
    try:
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)
