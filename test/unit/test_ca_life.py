"""The life of a CA: what it may sign, its end, its renewal and roll-over, as openssl sees it."""

import datetime
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.pki import authority, certificates, issuing, signing

from _states import infra_cert as cert_state

from .test_infra_cert_sign import Site

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime.now(datetime.timezone.utc)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A machine whose CA the formula made."""
    found = Site(tmp_path, monkeypatch)
    for file in ("ca.crt", "ca/ca.key"):
        (found.pki / file).unlink()
    return found


def create(site, days=7300, **changes):
    crt, key = str(site.pki / "ca.crt"), str(site.pki / "ca/ca.key")
    return cert_state.authority(crt, key, "site-ca", days, **changes)


def make(site, name, **changes):
    crt, spec = str(site.pki / f"{name}.crt"), site.spec(name, **changes)
    authority.issue(crt, spec)
    authority.record(crt, spec)
    return crt


def openssl(ca, *files):
    """Why openssl refuses a chain; empty if it is valid."""
    *chain, leaf = map(str, files)
    extra = [argument for file in chain for argument in ("-untrusted", file)]
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", str(ca), *extra, leaf],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def forge(site, name, subject, is_ca=False, names=(), signer=None):
    """A certificate that somebody signs who has the key of the CA."""
    ca, ca_key = signer or (site.pki / "ca.crt", site.pki / "ca/ca.key")
    issuer = certificates.load(str(ca))
    key = ec.generate_private_key(ec.SECP256R1())
    built = (
        x509.CertificateBuilder(
            issuer.subject,
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
            key.public_key(),
            x509.random_serial_number(),
        )
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if names:
        san = x509.SubjectAlternativeName([x509.DNSName(n) for n in names])
        built = built.add_extension(san, critical=False)
    private = serialization.load_pem_private_key(Path(ca_key).read_bytes(), None)
    pem = built.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    crt = site.pki / f"{name}.crt"
    crt.write_bytes(pem)
    out = site.pki / f"{name}.key"
    out.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, out


def test_a_ca_lives_20_years_unless_the_pillar_says_otherwise():
    defaults = yaml.safe_load((ROOT / "infra/defaults.yaml").read_text(encoding="utf-8"))
    assert defaults["ca_days"] == 7300
    assert defaults["ca_name_constraints"] == []


def test_a_ca_signs_no_further_ca(site):
    create(site)
    leaf = site.make()
    assert openssl(site.pki / "ca.crt", leaf) == ""
    below, below_key = forge(site, "below", "evil-ca", is_ca=True)
    evil, _ = forge(site, "evil", "evil", names=["a.p"], signer=(below, below_key))
    assert "path length constraint exceeded" in openssl(site.pki / "ca.crt", below, evil)


def test_a_ca_that_is_there_stays_as_it_is(site):
    create(site)
    before = (site.pki / "ca.crt").read_bytes()
    done = create(site, days=9, name_constraints=["pigsty"])
    assert (done["result"], done["changes"]) == (True, {})
    assert (site.pki / "ca.crt").read_bytes() == before


# -- name constraints ----------------------------------------------------------------------------

CONSTRAINTS = ["pigsty", "*.example.com", "10.10.10.0/24"]


def test_a_constrained_ca_signs_for_its_domains_and_networks_alone(site):
    create(site, name_constraints=CONSTRAINTS)
    ca = site.pki / "ca.crt"
    leaf = site.make(
        names=["pigsty", "i.pigsty", "*.apps.pigsty", "a.example.com", "localhost"],
        addresses=["10.10.10.10", "127.0.0.1", "::1"],
    )
    assert openssl(ca, leaf) == ""
    for changes, named in (
        ({"names": ["i.pigsty", "www.bank.com"]}, "www.bank.com"),
        ({"names": ["notpigsty"]}, "notpigsty"),
        ({"names": ["a.p"], "addresses": []}, "a.p"),
        ({"names": [], "common_name": "bank.com", "addresses": []}, "bank.com"),
        ({"names": ["i.pigsty"], "addresses": ["10.10.11.1"]}, "10.10.11.1"),
    ):
        with pytest.raises(CommandFailed, match=f"{named}.*: outside of the name constraints"):
            site.make("other", **changes)
        assert not (site.pki / "other.crt").exists()
    forged, _ = forge(site, "forged", "bank", names=["www.bank.com"])
    assert "permitted subtree violation" in openssl(ca, forged)


def test_domains_alone_leave_every_address():
    def permitted(*constraints):
        return [str(name.value) for name in authority.permitted_names(list(constraints))]

    assert permitted("pigsty") == ["pigsty", "localhost"]
    assert permitted("10.0.0.0/8") == ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]
    assert permitted("*.a.b", ".c", "fd00::/8", "a.b") == [
        "a.b", "c", "localhost", "fd00::/8", "127.0.0.0/8", "::1/128",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["a b", "x;y", "10.10.10.10/24", "-a", "", "https://a"])
def test_a_name_constraint_is_a_domain_or_a_network(value):
    (error,) = authority.problems({"ca_name_constraints": ["pigsty", ".a.b", "10.0.0.0/8", value]})
    assert error.startswith("ca_name_constraints[3]: expected a domain or a network")


def test_a_ca_has_a_name_that_x509_can_hold():
    (error,) = authority.problems({"ca_cn": "a" * 65})
    assert error.startswith("ca_cn: expected a name of up to 64 characters")
    assert authority.problems({"ca_cn": "a" * 64}) == []


# -- the end of a CA -----------------------------------------------------------------------------


def test_nothing_is_valid_longer_than_the_ca(site):
    create(site, days=50)
    leaf = site.make(days=397, renew_days=30)
    end = certificates.load(leaf).not_valid_after_utc
    assert end <= certificates.load(str(site.pki / "ca.crt")).not_valid_after_utc
    assert 48 < certificates.describe(leaf)["days_left"] <= 50


def test_a_certificate_is_not_issued_each_day_because_the_ca_ends(site):
    create(site, days=20)
    leaf = site.make(days=397, renew_days=30)
    assert certificates.leaf_fault(leaf, site.spec()) is None
    assert issuing.renew(site.minion)[leaf].startswith("good for")


# -- renewal -------------------------------------------------------------------------------------


def test_a_renewed_ca_and_the_former_one_vouch_for_the_same_certificates(site):
    create(site, days=20, name_constraints=CONSTRAINTS)
    ca = site.pki / "ca.crt"
    names = {"names": ["i.pigsty"], "addresses": ["10.10.10.10"]}
    old_leaf = make(site, "old", **names)
    told = authority.renew_ca(7300)
    assert 7299 < told["days_left"] <= 7300
    assert told["fingerprint"] == certificates.fingerprint(ca.read_text())
    former = Path(told["before"])
    assert certificates.describe(str(former))["days_left"] <= 20
    new_leaf = make(site, "new", **names)
    for leaf in (old_leaf, new_leaf):
        assert openssl(ca, leaf) == ""
        assert openssl(former, leaf) == ""
    assert certificates.leaf_fault(new_leaf, site.spec("new", **names)) is None
    # What was cut to the end of the former CA is issued for longer now.
    assert "renewed: it ends in" in issuing.renew(site.minion)[old_leaf]
    loaded = certificates.load(str(ca))
    assert loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert loaded.extensions.get_extension_for_class(x509.NameConstraints).critical


@pytest.mark.parametrize("days", [0, -1, "7300", 40000, True])
def test_a_ca_is_renewed_for_days(site, days):
    create(site)
    with pytest.raises(InvalidInput, match="days: expected"):
        authority.renew_ca(days)
    assert not list(site.pki.glob("ca.crt.before-*"))


def test_without_a_ca_nothing_is_renewed(site):
    with pytest.raises(CommandFailed, match="cannot be renewed"):
        authority.renew_ca(7300)


def test_a_renewed_ca_in_the_pillar_replaces_the_former_one_and_no_other_does(site):
    create(site)
    ca, key = site.pki / "ca.crt", (site.pki / "ca/ca.key").read_text()
    before = ca.read_text()
    renewed = signing.renewed_ca(str(ca), str(site.pki / "ca/ca.key"), 7300)
    done = create(site, certificate=renewed, key=key)
    assert (done["result"], done["changes"]) == (True, {str(ca): "renewed"})
    assert ca.read_text() == renewed
    assert create(site, certificate=renewed, key=key)["changes"] == {}
    # Neither the former one nor another one of that name is taken.
    assert create(site, certificate=before, key=key)["result"] is False
    other, other_key = forge(site, "other", "site-ca", is_ca=True)
    done = create(site, certificate=other.read_text(), key=other_key.read_text())
    assert (done["result"], ca.read_text()) == (False, renewed)


# -- roll-over -----------------------------------------------------------------------------------


def test_a_new_ca_issues_everything_again(site):
    create(site)
    old = certificates.fingerprint((site.pki / "ca.crt").read_text())
    leaf = site.make()
    (site.pki / "ca.crt").rename(site.pki / "ca.crt.old")
    (site.pki / "ca/ca.key").rename(site.pki / "ca/ca.key.old")
    assert create(site)["changes"] == {str(site.pki / "ca.crt"): "created"}
    assert certificates.fingerprint((site.pki / "ca.crt").read_text()) != old
    assert openssl(site.pki / "ca.crt", leaf) != ""
    key = Path(site.spec()["private_key"]).read_bytes()
    assert site.managed()["changes"] == {leaf: "issued"}
    assert openssl(site.pki / "ca.crt", leaf) == ""
    assert openssl(site.pki / "ca.crt.old", leaf) != ""
    assert Path(site.spec()["private_key"]).read_bytes() == key
