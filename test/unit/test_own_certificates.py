"""An own certificate of an entry that is for other names: served all the same, with a warning."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from infra_formula.portal import own_certificates
from support.portal_samples import settings

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def certificate(names):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=1))
    )  # fmt: skip
    if names is not None:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = made.add_extension(alternative, critical=False)
    return made.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("names", "lacks"),
    [
        (["a.x", "b.x"], []),
        (["A.X", "*.x"], []),
        (["a.x"], ["b.x"]),
        (["*.y"], ["a.x", "b.x"]),
        (["x"], ["a.x", "b.x"]),
        (None, ["a.x", "b.x"]),
    ],
)
def test_names_that_it_is_not_for(names, lacks):
    assert own_certificates.uncovered(certificate(names), ["a.x", "b.x"]) == lacks


def test_a_wildcard_is_for_one_label():
    assert own_certificates.uncovered(certificate(["*.x"]), ["a.b.x", "x"]) == ["a.b.x", "x"]


@pytest.mark.parametrize("by", ["path", "name"])
def test_the_entry_and_the_names_are_told(tmp_path, by):
    pem = certificate(["a.x"]).public_bytes(serialization.Encoding.PEM).decode()
    (tmp_path / "own.crt").write_text(pem)
    cert = f"{tmp_path}/own.crt" if by == "path" else "own"
    key = {"key": f"{tmp_path}/own.key"} if by == "path" else {}
    portal = {
        "app": {
            "domain": "a.x",
            "domains": ["b.x"],
            "endpoint": "10.0.0.1:80",
            "cert": cert,
            **key,
        },
        "other": {"domain": "c.x", "endpoint": "10.0.0.1:80"},
    }
    given = {"own": {"crt": pem, "key": ""}} if by == "name" else {}
    (said,) = own_certificates.warnings(portal, settings(), given)
    assert said.startswith("infra_portal.app.cert: the certificate is not for b.x;")


def test_a_certificate_that_cannot_be_read_is_an_error_of_its_own(tmp_path):
    portal = {"app": {"domain": "a.x", "endpoint": "10.0.0.1:80", "cert": "/no.crt", "key": "/no"}}
    assert list(own_certificates.warnings(portal, settings(), {})) == []
