"""Certificates of this site: what is in them, whether they fit, and who uses which.

Issues by hand, renews what this machine's CA signed, and lists all there are. How something is
signed, and what is written down of it, is in the module ``authority``.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from infra_formula.errors import CommandFailed

_USAGES = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH,
           "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}  # fmt: skip
_PEM_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


# -- what certificates say -----------------------------------------------------------------------
def not_before(cert: x509.Certificate) -> datetime.datetime:
    """When a certificate becomes valid, in UTC."""
    # A target of salt-ssh has the distribution's cryptography, which may be older than 42.
    if hasattr(cert, "not_valid_before_utc"):
        return cert.not_valid_before_utc
    return cert.not_valid_before.replace(tzinfo=datetime.timezone.utc)


def not_after(cert: x509.Certificate) -> datetime.datetime:
    """When a certificate ends, in UTC."""
    if hasattr(cert, "not_valid_after_utc"):
        return cert.not_valid_after_utc
    return cert.not_valid_after.replace(tzinfo=datetime.timezone.utc)


def describe(path: str) -> dict[str, Any]:
    """What a PEM certificate says of itself (the first of a chain); see ``infra_cert.describe``."""
    cert = load(path)
    try:
        san = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = san.get_values_for_type(x509.DNSName)
        addresses = [str(a) for a in san.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        names, addresses = [], []
    try:
        usage = list(cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usage = []
    life = not_after(cert) - not_before(cert)
    left = not_after(cert) - datetime.datetime.now(datetime.timezone.utc)
    return {
        "subject": cert.subject.rfc4514_string(),
        "issuer": cert.issuer.rfc4514_string(),
        "names": names,
        "addresses": addresses,
        "not_after": not_after(cert).isoformat(),
        "days": round(life.total_seconds() / 86400, 2),
        "days_left": round(left.total_seconds() / 86400, 2),
        "usages": [word for word, oid in _USAGES.items() if oid in usage],
    }


def pair_fault(cert: str, key: str) -> str | None:
    """Why a certificate and a private key cannot be served together; None where they can.

    cert, key
        Absolute paths of PEM files.

    The answer begins with ``cert`` or ``key``, the attribute that is at fault.
    """
    for attribute, path in (("cert", cert), ("key", key)):
        if not Path(path).is_file():
            return f"{attribute}: expected a file, there is none at {path}"
    try:
        public = load(cert).public_key()
    except ValueError:
        return f"cert: expected a PEM certificate in {cert}"
    try:
        private = private_key(key)
    except TypeError:
        return f"key: expected a private key without a passphrase in {key}"
    except ValueError:
        return f"key: expected a PEM private key in {key}"
    if _spki(public) != _spki(private.public_key()):
        return f"key: expected the private key of {cert}, {key} is another's"
    return None


def fingerprint(pem: str) -> str:
    """SHA-256 fingerprint of a PEM certificate, as small digits; empty if it is not one."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return ""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_in_bundle(path: str, bundle: str) -> bool:
    """Whether a certificate (the first of a file) is in a bundle of them.

    path, bundle
        Absolute paths of PEM files.

    Raises CommandExecutionError for a file that is no certificate.
    """
    try:
        wanted = load(path).public_bytes(serialization.Encoding.PEM)
    except ValueError:
        raise CommandFailed(f"{path}: expected a PEM certificate") from None
    try:
        there = Path(bundle).read_bytes()
    except FileNotFoundError:
        return False
    return b"".join(wanted.split()) in b"".join(there.split())


def time_fault(path: str) -> str | None:
    """Why a certificate is not valid now, by this machine's clock; None where it is.

    path
        Absolute path of the file.
    """
    cert, now = load(path), datetime.datetime.now(datetime.timezone.utc)
    clock = f"the clock says {now:%Y-%m-%d %H:%M} UTC"
    if now < not_before(cert):
        return f"{path} is valid only from {not_before(cert).isoformat()}; {clock}"
    if now > not_after(cert):
        return f"{path} ended at {not_after(cert).isoformat()}; {clock}"
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


def file_fault(path: str) -> str | None:
    """Why a file is no PEM certificate; None where it is one, or begins with one."""
    if not Path(path).is_file():
        return f"expected a file, there is none at {path}"
    try:
        load(path)
    except ValueError:
        return f"expected a PEM certificate in {path}"
    return None


def chain_fault(crt: str, key: str) -> str | None:
    """Why PEM texts of a certificate, with its chain, and of a key cannot be served together.

    The answer begins with ``crt`` or ``key``, the one that is at fault. None where they can be.
    """
    blocks = _PEM_CERTIFICATE.findall(crt)
    if not blocks:
        return "crt: expected a PEM certificate, with those that its chain needs behind it"
    chain = []
    for number, block in enumerate(blocks, 1):
        try:
            chain.append(x509.load_pem_x509_certificate(block.encode()))
        except ValueError:
            return f"crt: expected PEM certificates; number {number} of {len(blocks)} is none"
    try:
        private = load_key(key.encode())
    except TypeError:
        return "key: expected a PEM private key without a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return "key: expected a PEM private key"
    own = _spki(private.public_key())
    if _spki(chain[0].public_key()) == own:
        return None
    for number, cert in enumerate(chain, 1):
        if _spki(cert.public_key()) == own:
            return (
                "crt: expected the certificate of the key before those of its chain; it is number "
                f"{number} of {len(chain)}"
            )
    return "key: expected the private key of crt, this is another's"


def load_text(pem: str) -> x509.Certificate:
    """The first certificate of a PEM text."""
    return x509.load_pem_x509_certificate(pem.encode())


def leaf_fault(name: str, spec: dict[str, Any]) -> str | None:
    """Why a certificate has to be issued again; None if it is up to date.

    name
        Absolute path of the certificate.
    spec
        Its specification (see the module authority).
    """
    fault = pair_fault(name, spec["private_key"])
    if fault:
        return fault
    description = describe(name)
    wanted = (sorted(spec["names"]), sorted(spec["addresses"]))
    if (sorted(description["names"]), sorted(description["addresses"])) != wanted:
        return "its names changed"
    if description["usages"] and not set(spec["usages"]) <= set(description["usages"]):
        return f"it is not for {' and '.join(spec['usages'])}"
    if description["days_left"] < spec["renew_days"] and _can_be_longer(
        description["days_left"], spec["signing_cert"]
    ):
        return f"it ends in {description['days_left']} days"
    early = time_fault(name)
    if early:
        return early
    try:
        verify_issued_by(load(name), load(spec["signing_cert"]))
    except (ValueError, TypeError, InvalidSignature, OSError):
        return f"it is not of the CA {spec['signing_cert']}"
    return None


def constraint_fault(ca: str, spec: dict[str, Any]) -> str | None:
    """Why a CA may not sign for the names of a specification; None where it may.

    ca
        Absolute path of its certificate.

    Programs refuse a certificate with any name outside of the name constraints of its CA.
    """
    try:
        value = load(ca).extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
    permitted = value.permitted_subtrees or []
    domains = [n.value.lstrip(".").lower() for n in permitted if isinstance(n, x509.DNSName)]
    networks = [
        ipaddress.ip_network(str(n.value)) for n in permitted if isinstance(n, x509.IPAddress)
    ]
    # Without a DNS name, programs take the common name for one.
    names = spec["names"] or [spec["common_name"]]
    outside = [
        name
        for name in names
        if domains and not any(name.lower() == d or name.lower().endswith(f".{d}") for d in domains)
    ]
    outside += [
        address
        for address in spec["addresses"]
        if networks and not any(ipaddress.ip_address(address) in network for network in networks)
    ]
    if not outside:
        return None
    allowed = ", ".join([*domains, *map(str, networks)])
    return f"{', '.join(outside)}: outside of the name constraints of {ca} ({allowed})"


def is_renewal(former: str, pem: str) -> bool:
    """Whether a certificate is another one renewed: the same name and key, and a later start.

    former, pem
        PEM texts.
    """
    try:
        one, other = (x509.load_pem_x509_certificate(text.encode()) for text in (former, pem))
    except ValueError:
        return False
    return (
        one.subject == other.subject
        and _spki(one.public_key()) == _spki(other.public_key())
        and not_before(one) < not_before(other)
    )


def whole_days_left(path: str) -> int:
    """Whole days until a certificate ends; negative afterwards."""
    return (not_after(load(path)) - datetime.datetime.now(datetime.timezone.utc)).days


def _can_be_longer(days_left: float, ca: str) -> bool:
    """Whether a new certificate would be valid longer than one that ends in some days."""
    try:
        return days_left <= 0 or whole_days_left(ca) > days_left
    except (OSError, ValueError):
        return True


# -- reading -------------------------------------------------------------------------------------
def private_key(path: str) -> Any:
    """The private key of a file; see load_key."""
    return load_key(Path(path).read_bytes())


def load_key(pem: bytes) -> Any:
    """A private key without a passphrase, of a file that only root writes."""
    try:
        # Checking that a key's primes are primes takes 0.2 s.
        return serialization.load_pem_private_key(
            pem, password=None, unsafe_skip_rsa_key_validation=True
        )
    except TypeError:  # it has a passphrase, or cryptography is older than 39
        return serialization.load_pem_private_key(pem, password=None)


def verify_issued_by(cert: x509.Certificate, ca: x509.Certificate) -> None:
    """Raise ValueError or InvalidSignature if a certificate is not signed by a CA."""
    if hasattr(cert, "verify_directly_issued_by"):
        cert.verify_directly_issued_by(ca)
        return
    # cryptography is older than 40.
    if cert.issuer != ca.subject:
        raise ValueError("the issuer is another")
    key, algorithm = ca.public_key(), cert.signature_hash_algorithm
    signed = cert.signature, cert.tbs_certificate_bytes
    if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
        key.verify(*signed, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
        key.verify(*signed, ec.ECDSA(algorithm))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(*signed)
    else:
        raise ValueError("the kind of key is not supported")


def load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def _spki(public: Any) -> bytes:
    encoding = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(public.public_bytes(*encoding))
