"""A CA whose key lies elsewhere on the machine, as Pigsty's does on its controller."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from _states import infra_cert as state


def authority(folder):
    """Make a CA as ca.crt and ca.key of a directory."""
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pigsty-ca")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Its /etc/pki has the certificate alone; the pair lies with the controller."""
    source = authority(tmp_path / "pigsty/files/pki/ca")
    (tmp_path / "pki/ca").mkdir(parents=True)
    (tmp_path / "pki/ca.crt").write_text((source / "ca.crt").read_text())

    for name in ("__salt__", "__grains__", "__context__"):
        monkeypatch.setattr(state, name, {}, raising=False)
    monkeypatch.setattr(state, "__opts__", {"test": False}, raising=False)
    return tmp_path


def ask(machine, source="", **given):
    crt, key = machine / "pki/ca.crt", machine / "pki/ca/ca.key"
    place = str(machine / source) if source else ""
    return state.authority(str(crt), str(key), "ca", 100, source=place, **given)


def test_without_a_key_it_says_where_one_is_taken_from(machine):
    ret = ask(machine)
    assert ret["result"] is False
    assert "ca_crt and ca_key" in ret["comment"]
    assert "ca_source" in ret["comment"]


@pytest.mark.parametrize("test", [True, False])
def test_the_key_is_taken_and_the_certificate_stays(machine, monkeypatch, test):
    monkeypatch.setattr(state, "__opts__", {"test": test})
    before = (machine / "pki/ca.crt").read_text()
    ret = ask(machine, "pigsty/files/pki/ca")
    assert ret["result"] is (None if test else True)
    assert ret["changes"]
    key = machine / "pki/ca/ca.key"
    assert key.exists() is not test
    assert (machine / "pki/ca.crt").read_text() == before
    if not test:
        assert key.stat().st_mode & 0o777 == 0o600
        assert ask(machine, "pigsty/files/pki/ca")["changes"] == {}


@pytest.mark.parametrize("file", ["ca.crt", "ca.key"])
@pytest.mark.parametrize("test", [True, False])
def test_a_ca_that_another_user_can_write_is_not_taken(machine, monkeypatch, file, test):
    monkeypatch.setattr(state, "__opts__", {"test": test})
    path = machine / "pigsty/files/pki/ca" / file
    path.chmod(0o666)
    ret = ask(machine, "pigsty/files/pki/ca")
    assert (ret["result"], ret["changes"]) == (False, {})
    assert ret["comment"].startswith(f"ca_source: {path} is not trusted: others can write to it")
    assert not (machine / "pki/ca/ca.key").exists()


def test_pillar_may_give_the_key_as_well(machine):
    source = machine / "pigsty/files/pki/ca"
    pair = {"certificate": (source / "ca.crt").read_text(), "key": (source / "ca.key").read_text()}
    assert ask(machine, **pair)["result"] is True


def test_another_ca_or_no_pair_there_is_an_error(machine):
    authority(machine / "other")
    ret = ask(machine, "other")
    assert ret["result"] is False
    assert "is another CA than the one in ca_crt or ca_source" in ret["comment"]
    ret = ask(machine, "nowhere")
    assert ret["result"] is False
    assert "ca_source: expected" in ret["comment"]
    assert not (machine / "pki/ca/ca.key").exists()
