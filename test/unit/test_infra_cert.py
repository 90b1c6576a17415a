"""What certificates say, and whether they fit."""

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from infra_formula.pki import certificates as infra_cert
from infra_formula.pki import inventory


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.path, self.key_path = self.write(
            "ca", self.issue("ca", self.key, [], [], 10000), self.key
        )

    def issue(self, name, key, names, addresses, days):
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=days))
        )
        san = [x509.DNSName(n) for n in names]
        san += [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
        if san:
            built = built.add_extension(x509.SubjectAlternativeName(san), critical=False)
        return built.sign(self.key, hashes.SHA256())

    def write(self, stem, cert, key):
        crt, out = self.folder / f"{stem}.crt", self.folder / f"{stem}.key"
        crt.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        out.write_bytes(pem(key))
        return str(crt), str(out)

    def leaf(self, stem="leaf", names=("a.p",), addresses=("10.0.0.1",), days=90):
        key = ec.generate_private_key(ec.SECP256R1())
        return self.write(stem, self.issue(stem, key, names, addresses, days), key)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def test_what_a_certificate_says(authority):
    told = infra_cert.describe(authority.leaf()[0])
    assert told["subject"] == "CN=leaf"
    assert told["issuer"] == "CN=ca"
    assert told["names"] == ["a.p"]
    assert told["addresses"] == ["10.0.0.1"]
    assert 89 < told["days_left"] <= 90
    assert infra_cert.describe(authority.path)["names"] == []


def test_a_pair_that_fits(authority):
    assert infra_cert.pair_fault(*authority.leaf()) is None


@pytest.mark.parametrize(
    ("cert", "key", "expected"),
    [
        ("none", "leaf.key", "cert: expected a file"),
        ("leaf.crt", "none", "key: expected a file"),
        ("text", "leaf.key", "cert: expected a PEM certificate"),
        ("leaf.crt", "text", "key: expected a PEM private key"),
        ("leaf.crt", "leaf.crt", "key: expected a PEM private key"),
        ("leaf.crt", "locked", "key: expected a private key without a passphrase"),
        ("leaf.crt", "ca.key", "key: expected the private key of"),
    ],
)
def test_a_pair_that_does_not(authority, tmp_path, cert, key, expected):
    authority.leaf()
    (tmp_path / "text").write_text("no certificate")
    (tmp_path / "locked").write_bytes(
        authority.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    fault = infra_cert.pair_fault(str(tmp_path / cert), str(tmp_path / key))
    assert fault.startswith(expected)


def test_when_a_leaf_is_due(authority, tmp_path):
    crt, key = authority.leaf(names=["b.p", "a.p"], addresses=["::1"])
    spec = {
        "private_key": key,
        "signing_cert": authority.path,
        "names": ["a.p", "b.p"],
        "addresses": ["::1"],
        "usages": ["serverAuth"],
        "renew_days": 30,
    }
    fault = infra_cert.leaf_fault
    assert fault(crt, spec) is None
    assert fault(crt, {**spec, "names": ["a.p"]}) == "its names changed"
    assert fault(crt, {**spec, "addresses": []}) == "its names changed"
    assert "it ends in" in fault(crt, {**spec, "renew_days": 91})
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    assert "not of the CA" in fault(crt, {**spec, "signing_cert": other.path})
    assert fault(str(tmp_path / "none"), spec).startswith("cert: expected a file")


def test_whom_nginx_serves_a_certificate_for(tmp_path):
    conf = tmp_path / "conf.d"
    (conf / "cert").mkdir(parents=True)
    (conf / "cert" / "pigsty.crt").write_text("x")
    (conf / "cert" / "a.crt").symlink_to("pigsty.crt")
    (conf / "a.conf").write_text("server {\n    ssl_certificate conf.d/cert/a.crt;\n}\n" * 2)
    (conf / "own.conf").write_text(
        "    # ssl_certificate /no;\n    ssl_certificate_key /k;\n    ssl_certificate /etc/o.crt;\n"
    )
    assert inventory.served_by_nginx(tmp_path) == {
        str(conf / "cert" / "pigsty.crt"): ["a"],
        "/etc/o.crt": ["own"],
    }


class OldCertificate:
    """A certificate as cryptography 38 has it, which Debian 12 ships."""

    def __init__(self, cert):
        self.issuer, self.signature = cert.issuer, cert.signature
        self.tbs_certificate_bytes = cert.tbs_certificate_bytes
        self.signature_hash_algorithm = cert.signature_hash_algorithm
        self.not_valid_before = cert.not_valid_before_utc.replace(tzinfo=None)
        self.not_valid_after = cert.not_valid_after_utc.replace(tzinfo=None)


@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_certificates_are_verified_with_a_cryptography_of_a_distribution(kind):
    keys = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    digest = None if kind == "ed25519" else hashes.SHA256()
    key, other = keys[kind](), keys[kind]()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    end = begin + datetime.timedelta(days=9)
    signed, foreign = (
        x509.CertificateBuilder(name, name, each.public_key(), 1, begin, end).sign(each, digest)
        for each in (key, other)
    )
    old = OldCertificate(signed)
    infra_cert.verify_issued_by(old, signed)
    with pytest.raises(InvalidSignature):
        infra_cert.verify_issued_by(old, foreign)
    assert (infra_cert.not_before(old), infra_cert.not_after(old)) == (begin, end)
