"""Keys and certificates that the library makes, beside those that Salt's x509 makes of the same."""

import datetime
import ipaddress
import subprocess
from pathlib import Path

import pytest
import salt.modules.x509_v2 as salt_x509
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from infra_formula.pki import certificates, signing

SITE = {"common_name": "site-ca", "organization": "pigsty", "unit": "ca"}
KEYS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.fixture
def salts(monkeypatch):
    for name in ("__opts__", "__salt__"):
        monkeypatch.setattr(salt_x509, name, {}, raising=False)
    return salt_x509.create_certificate


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def ca_of(folder, kind="rsa", **changes):
    """A CA of a kind of key; its certificate and its key."""
    pem = KEYS[kind]().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = write(folder / "ca.key", pem.decode())
    return write(folder / "ca.crt", signing.ca(key, SITE, 100, **changes)), key


def leaf_of(folder, crt, key, **changes):
    spec = {
        "signing_cert": crt, "signing_private_key": key, "common_name": "leaf",
        "organization": "pigsty", "unit": "infra", "names": ["a.p", "*.b.p"],
        "addresses": ["10.0.0.1", "::1"], "usages": ["serverAuth", "clientAuth"], **changes,
    }  # fmt: skip
    own = write(folder / "leaf.key", signing.new_key(2048))
    return write(folder / "leaf.crt", signing.leaf(spec, own, 50)), own


def said(pem):
    """All that a certificate says, but for its serial number and the second of its issue."""
    cert = x509.load_pem_x509_certificate(pem.encode())
    return (
        cert.version, cert.subject, cert.issuer, cert.public_key().public_numbers(),
        cert.signature_algorithm_oid, sorted(cert.extensions, key=lambda e: e.oid.dotted_string),
    ), [certificates.not_before(cert), certificates.not_after(cert)]  # fmt: skip


def same(ours, theirs):
    (one, ends), (other, other_ends) = said(ours), said(theirs)
    assert one == other
    for end, other_end in zip(ends, other_ends, strict=True):
        assert abs(end - other_end) < datetime.timedelta(hours=1)


def test_a_certificate_says_what_salts_would(tmp_path, salts):
    crt, key = ca_of(tmp_path)
    ours, own = leaf_of(tmp_path, crt, key)
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
    theirs = salts(
        signing_cert=crt, signing_private_key=key, private_key=own,
        CN="leaf", O="pigsty", OU="infra",
        subjectAltName=["DNS:a.p", "DNS:*.b.p", "IP:10.0.0.1", "IP:::1"],
        basicConstraints="critical, CA:FALSE",
        keyUsage="critical, digitalSignature, keyEncipherment",
        extendedKeyUsage="serverAuth, clientAuth", subjectKeyIdentifier="hash",
        authorityKeyIdentifier="keyid:always",
        not_before=start.strftime("%Y-%m-%d %H:%M:%S"), days_valid=50,
    )  # fmt: skip
    same(Path(ours).read_text(encoding="utf-8"), theirs)


@pytest.mark.parametrize("limited", [False, True])
def test_a_ca_says_what_salts_would(tmp_path, salts, limited):
    permitted = [x509.DNSName("pigsty"), x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))]
    ours, key = ca_of(tmp_path, permitted=permitted if limited else None)
    names = {"critical": True, "permitted": ["DNS:pigsty", "IP:10.0.0.0/8"]}
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
    theirs = salts(
        signing_private_key=key, private_key=key, CN="site-ca", O="pigsty", OU="ca",
        basicConstraints="critical, CA:TRUE, pathlen:0",
        keyUsage="critical, keyCertSign, cRLSign, digitalSignature", subjectKeyIdentifier="hash",
        not_before=start.strftime("%Y-%m-%d %H:%M:%S"), days_valid=100,
        **({"nameConstraints": names} if limited else {}),
    )  # fmt: skip
    same(Path(ours).read_text(encoding="utf-8"), theirs)


@pytest.mark.parametrize("kind", KEYS)
def test_openssl_takes_what_a_ca_of_any_kind_of_key_signs_before_and_after_its_renewal(
    tmp_path, kind
):
    crt, key = ca_of(tmp_path, kind)
    leaf, _ = leaf_of(tmp_path, crt, key)
    renewed = write(tmp_path / "renewed.crt", signing.renewed_ca(crt, key, 400))
    for ca in (crt, renewed):
        subprocess.run(["openssl", "verify", "-CAfile", ca, leaf], check=True, capture_output=True)
        assert certificates.pair_fault(ca, key) is None


def test_a_part_of_the_subject_that_is_empty_is_left_out(tmp_path):
    crt, key = ca_of(tmp_path)
    leaf, _ = leaf_of(tmp_path, crt, key, organization="", unit="")
    assert certificates.load(leaf).subject.rfc4514_string() == "CN=leaf"


def test_no_two_certificates_have_the_same_serial_number(tmp_path):
    crt, key = ca_of(tmp_path)
    numbers = {certificates.load(leaf_of(tmp_path, crt, key)[0]).serial_number for _ in range(5)}
    assert len(numbers) == 5
