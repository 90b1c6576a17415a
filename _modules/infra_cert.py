"""Certificates as files: what is in them, and whether they fit together.

Certificates are made by Salt's own ``x509`` states (see the state module ``infra_cert``); this
module only looks at them.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization


def describe(path: str) -> dict[str, Any]:
    """What a PEM certificate says of itself (the first of a chain).

    path
        Absolute path of the file.

    Returns ``subject``, ``issuer`` (RFC 4514), ``names`` (DNS), ``addresses``, ``not_after`` (ISO
    8601, UTC), ``days`` (its whole life) and ``days_left`` (floats, days).

    Raises ValueError for a file that is no certificate, OSError for one that cannot be read.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.describe /etc/nginx/conf.d/cert/pigsty.crt
    """
    cert = _load(path)
    try:
        san = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = san.get_values_for_type(x509.DNSName)
        addresses = [str(a) for a in san.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        names, addresses = [], []
    life = cert.not_valid_after_utc - cert.not_valid_before_utc
    left = cert.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
    return {
        "subject": cert.subject.rfc4514_string(),
        "issuer": cert.issuer.rfc4514_string(),
        "names": names,
        "addresses": addresses,
        "not_after": cert.not_valid_after_utc.isoformat(),
        "days": round(life.total_seconds() / 86400, 2),
        "days_left": round(left.total_seconds() / 86400, 2),
    }


def pair_fault(cert: str, key: str) -> str | None:
    """Why a certificate and a private key cannot be served together; None where they can.

    cert, key
        Absolute paths of PEM files.

    The answer begins with ``cert`` or ``key``, the attribute that is at fault.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.pair_fault /etc/cert/site.crt /etc/cert/site.key
    """
    for attribute, path in (("cert", cert), ("key", key)):
        if not Path(path).is_file():
            return f"{attribute}: expected a file, there is none at {path}"
    try:
        public = _load(cert).public_key()
    except ValueError:
        return f"cert: expected a PEM certificate in {cert}"
    try:
        private = _private_key(key)
    except TypeError:
        return f"key: expected a private key without a passphrase in {key}"
    except ValueError:
        return f"key: expected a PEM private key in {key}"
    if _spki(public) != _spki(private.public_key()):
        return f"key: expected the private key of {cert}, {key} is another's"
    return None


def time_fault(path: str) -> str | None:
    """Why a certificate is not valid now, by this machine's clock; None where it is.

    path
        Absolute path of the file.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.time_fault /etc/pki/ca.crt
    """
    cert, now = _load(path), datetime.datetime.now(datetime.timezone.utc)
    clock = f"the clock says {now:%Y-%m-%d %H:%M} UTC"
    if now < cert.not_valid_before_utc:
        return f"{path} is valid only from {cert.not_valid_before_utc.isoformat()}; {clock}"
    if now > cert.not_valid_after_utc:
        return f"{path} ended at {cert.not_valid_after_utc.isoformat()}; {clock}"
    return None


def text_fault(cert: str, key: str) -> str | None:
    """:func:`pair_fault` of PEM texts, as pillar gives them (``ca_crt``, ``ca_key``)."""
    try:
        public = x509.load_pem_x509_certificate(cert.encode()).public_key()
    except ValueError:
        return "ca_crt: expected a PEM certificate"
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (TypeError, ValueError):
        return "ca_key: expected a PEM private key without a passphrase"
    if _spki(public) != _spki(private.public_key()):
        return "ca_key: expected the private key of ca_crt, this is another's"
    return None


def leaf_fault(
    cert: str, key: str, ca: str, names: list[str], addresses: list[str], renew_days: int
) -> str | None:
    """Why a certificate has to be issued anew; None where it is as it should be.

    cert, key, ca
        Absolute paths of the certificate, its key, and the certificate of the CA.
    names, addresses
        DNS names and IP addresses that it has to be for, no more and no less.
    renew_days
        It is due when fewer days are left.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_cert.leaf_fault /etc/pki/infra.crt /etc/pki/infra.key /etc/pki/ca.crt \
            '[localhost]' '[127.0.0.1]' 30
    """
    fault = pair_fault(cert, key)
    if fault:
        return fault
    told = describe(cert)
    if sorted(told["names"]) != sorted(names) or sorted(told["addresses"]) != sorted(addresses):
        return "its names changed"
    if told["days_left"] < renew_days:
        return f"it ends in {told['days_left']} days"
    if fault := time_fault(cert):
        return fault
    try:
        _load(cert).verify_directly_issued_by(_load(ca))
    except (ValueError, TypeError, InvalidSignature, OSError):
        return f"it is not of the CA {ca}"
    return None


def _private_key(path: str) -> Any:
    # Checking that a key's primes are primes takes 0.2 s, and whoever writes keys here is root.
    return serialization.load_pem_private_key(
        Path(path).read_bytes(), password=None, unsafe_skip_rsa_key_validation=True
    )


def _load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def _spki(public: Any) -> bytes:
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
