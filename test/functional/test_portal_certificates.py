"""Certificates that the pillar gives by name: what nginx shows, and where their keys are."""

import json
import ssl
import stat

import pem
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.fileset import contents
from infra_formula.portal import applied, entries, named_certificates
from nginx_server import Server
from portal_samples import settings

CA = pem.pair("a CA", ca=True)
SHOP = pem.pair("shop.pigsty", issuer=CA)
OTHER = pem.pair("shop.pigsty")


def given_chain():
    return {"shop": {"crt": SHOP.crt + CA.crt, "key": SHOP.key}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    portal = {
        "shop": {"domain": "shop.pigsty", "path": "/www/shop", "cert": "shop"},
        "plain": {"domain": "plain.pigsty", "path": "/www/plain"},
    }
    found = Server(tmp_path_factory.mktemp("nginx"), portal, certificates=given_chain())
    yield found
    found.close()


def test_nginx_shows_the_certificate_with_its_chain_for_its_site_alone(server, tmp_path):
    trusted = tmp_path / "ca.crt"
    trusted.write_text(CA.crt)
    context = ssl.create_default_context(cafile=str(trusted))
    assert server.certificate("shop.pigsty", context) == SHOP.crt
    assert server.certificate("plain.pigsty") not in (SHOP.crt, CA.crt)


def test_root_alone_may_read_the_files():
    for file in named_certificates.files(given_chain()).values():
        assert (contents.mode(file), contents.owner(file)) == (0o600, ("root", "root"))
        assert SHOP.key not in contents.difference(None, file)


def test_the_settings_that_are_recorded_hold_no_key(tmp_path, monkeypatch):
    monkeypatch.setattr(applied, "record_path", lambda: tmp_path / "record.json")
    given = settings(nginx_certificates=named_certificates.digests(given_chain()))
    applied.record({"shop": {"domain": "s.p", "path": "/s", "cert": "shop"}}, given)
    text = (tmp_path / "record.json").read_text()
    assert stat.S_IMODE((tmp_path / "record.json").stat().st_mode) == 0o600
    assert json.loads(text)["settings"]["nginx_certificates"].keys() == {"shop"}
    assert not any(line in text for line in SHOP.key.splitlines()[1:-1])


ENCRYPTED = (
    serialization.load_pem_private_key(SHOP.key.encode(), None)
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    .decode()
)


@pytest.mark.parametrize(
    ("crt", "key", "fault"),
    [
        (SHOP.crt, SHOP.key, None),
        (SHOP.crt + CA.crt, SHOP.key.replace("\n", "\r\n"), None),
        ("Subject: a note of openssl\n" + SHOP.crt, "\n" + SHOP.key, None),
        ("", SHOP.key, "crt: expected a PEM certificate"),
        (SHOP.key, SHOP.key, "crt: expected a PEM certificate"),
        (SHOP.crt + SHOP.crt.replace("MII", "MIX"), SHOP.key, "crt: expected PEM certificates; n"),
        (SHOP.crt, "", "key: expected a PEM private key"),
        (SHOP.crt, SHOP.crt, "key: expected a PEM private key"),
        (SHOP.crt, ENCRYPTED, "key: expected a PEM private key without a passphrase"),
        (SHOP.crt, OTHER.key, "key: expected the private key of crt, this is another's"),
        (CA.crt + SHOP.crt, SHOP.key, "crt: expected the certificate of the key before those"),
    ],
)
def test_what_cannot_be_served_is_named(crt, key, fault):
    found = named_certificates.problems({"shop": {"crt": crt, "key": key}})
    if fault is None:
        assert found == []
    else:
        assert found[0].startswith(f"nginx_certificates.shop.{fault}")
        assert not any(line and line in found[0] for line in key.splitlines())


@pytest.mark.parametrize("name", ["a b", "", "../x", "/x", "a/b", "é", "-x", "x" * 101])
def test_a_name_that_is_no_name_of_a_file_is_refused(name):
    found = named_certificates.problems({name: SHOP.as_pillar()})
    assert len(found) == 1
    assert "expected a name of letters" in found[0]


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_refused_by_its_key_path(crt, key):
    found = named_certificates.problems({"a": {"crt": crt, "key": key}})
    assert found[0].startswith(("nginx_certificates.a.crt: ", "nginx_certificates.a.key: "))


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"cert": "shop"}, None),
        ({"cert": "shpo"}, "cert: expected an absolute path, or one of shop (the names of"),
        ({"cert": "shop", "key": "/k"}, "key: expected none: nginx_certificates has the key"),
        ({"cert": "/c"}, "key: expected beside cert"),
        ({"key": "/k"}, "cert: expected beside key"),
    ],
)
def test_an_entry_refers_to_one_that_is_there(entry, expected):
    names = named_certificates.digests(given_chain())
    portal = {"web": {"domain": "web.pigsty", "path": "/web", **entry}}
    found = entries.problems(portal, settings(nginx_certificates=names))
    assert [e.startswith(f"infra_portal.web.{expected}") for e in found] == [True] * bool(expected)
    without = {k: v for k, v in settings().items() if k != "nginx_certificates"}
    if entry == {"cert": "shop"}:
        assert "nginx_certificates is empty" in entries.problems(portal, without)[0]


def test_one_that_is_not_valid_now_is_a_warning():
    old, coming = pem.pair("a.p", days=(-9, -1)), pem.pair("b.p", days=(1, 9))
    given = {"a": old.as_pillar(), "b": coming.as_pillar(), "c": SHOP.as_pillar()}
    assert named_certificates.problems(given) == []
    ended, early = named_certificates.warnings(given)
    assert ended.startswith("nginx_certificates.a.crt: the certificate ended at ")
    assert early.startswith("nginx_certificates.b.crt: the certificate is valid only from ")
