"""Certificates for tests, with keys of an elliptic curve, which are made in no time."""

from __future__ import annotations

import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    crt: str
    key: str

    def as_pillar(self) -> dict[str, str]:
        return {"crt": self.crt, "key": self.key}


def pair(
    name: str, issuer: Pair | None = None, days: tuple[int, int] = (-1, 30), ca: bool = False
) -> Pair:
    """A certificate for a DNS name, by an issuer or by itself.

    days
        From when until when it is valid, from now on.
    ca
        Whether it may sign others.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, by = key, subject
    if issuer is not None:
        signer = serialization.load_pem_private_key(issuer.key.encode(), None)
        by = x509.load_pem_x509_certificate(issuer.crt.encode()).subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    crt = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Pair(crt.decode(), text.decode())
