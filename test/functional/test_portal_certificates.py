"""Certificates that the pillar gives by name: what nginx shows, and where their keys are."""

import json
import os
import ssl
import stat
import subprocess

import pem
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths
from infra_formula.errors import CommandFailed
from infra_formula.fileset import contents
from infra_formula.portal import (
    applied,
    entries,
    named_certificates,
    own_certificates,
    rendering,
)
from infra_formula.status import health
from nginx_server import NGINX, Server
from portal_samples import LOADER, facts, settings

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


# -- own certificates in files, which are gone


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A portal with two own certificates that was applied; one is the entry's to break."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    (tmp_path / "state/manifest").mkdir(parents=True)
    portal = {}
    for key, pair in (("shop", SHOP), ("team", pem.pair("team.pigsty"))):
        for part in ("crt", "key"):
            (tmp_path / f"{key}.{part}").write_text(getattr(pair, part))
        portal[key] = {"domain": f"{key}.pigsty", "path": f"/www/{key}",
                       "cert": f"{tmp_path}/{key}.crt", "key": f"{tmp_path}/{key}.key"}  # fmt: skip
    portal["plain"] = {"domain": "plain.pigsty", "path": "/www/plain"}
    applied.record(portal, settings())
    return portal


BREAKS = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_text(path.read_text()[:200]),
    "another's": lambda path: path.write_text(getattr(OTHER, path.suffix[1:])),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("part", ["crt", "key"])
@pytest.mark.parametrize("way", BREAKS)
def test_an_own_certificate_that_breaks_costs_its_own_entry_only(own, tmp_path, way, part):
    BREAKS[way](tmp_path / f"shop.{part}")
    assert rendering.problems(own, settings()) == []
    broken = own_certificates.broken(own, settings())
    assert list(broken) == ["shop"]
    (warning,) = own_certificates.broken_warnings(own, settings())
    assert warning.startswith("infra_portal.shop.")
    assert warning.endswith("; the portal's own certificate is served in its place")
    (tmp_path / "nginx").mkdir()
    server = Server(tmp_path / "nginx", own, broken_certificates=["shop"])
    try:
        portals_own = (server.root / "etc/conf.d/cert/pigsty.crt").read_text()
        assert server.certificate("shop.pigsty") == portals_own
        assert server.certificate("team.pigsty") == (tmp_path / "team.crt").read_text()
    finally:
        server.close()


def test_a_certificate_that_was_never_served_is_an_error(own, tmp_path):
    own["shop"]["cert"] = f"{tmp_path}/none.crt"
    (error,) = rendering.problems(own, settings())
    assert error.startswith("infra_portal.shop.cert: expected a file, there is none")


@pytest.mark.parametrize("part", ["crt", "key"])
@pytest.mark.parametrize("way", BREAKS)
def test_nginx_starts_again_although_an_own_certificate_broke(own, tmp_path, way, part):
    """As by systemd: nginx fails, infra-after-stop runs, and the next start succeeds."""
    (tmp_path / "nginx").mkdir()
    server = Server(tmp_path / "nginx", own)
    assert server.certificate("shop.pigsty") == SHOP.crt
    server.close()
    BREAKS[way](tmp_path / f"shop.{part}")
    etc = server.root / "etc"
    test = [NGINX, "-t", "-q", "-p", server.root, "-c", etc / "nginx.conf"]
    before = (etc / "conf.d/shop.conf").read_text()
    assert subprocess.run(test, capture_output=True, check=False).returncode
    script = ["sh", etc / "infra-after-stop", etc, tmp_path / "saved"]
    subprocess.run(script, check=True, env={**os.environ, "SERVICE_RESULT": "success"})
    assert (etc / "conf.d/shop.conf").read_text() == before
    done = subprocess.run(
        script, check=True, env={**os.environ, "SERVICE_RESULT": "exit-code"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("infra_portal.shop.cert: ")
    assert subprocess.run(test, capture_output=True, check=False).returncode == 0
    # The next apply writes the same, so that it changes nothing.
    given = {**settings(), "nginx_port": server.port, "nginx_ssl_port": server.tls_port}
    files = rendering.files(own, given, facts(broken_certificates=["shop"]), LOADER)
    lines = [x for x in files["conf.d/shop.conf"]["text"].splitlines() if "ssl_cert" in x]
    after = (etc / "conf.d/shop.conf").read_text()
    assert lines == [x for x in after.splitlines() if "ssl_cert" in x]
    assert "pigsty.crt" not in (etc / "conf.d/team.conf").read_text()


def test_the_health_of_nginx_names_a_broken_certificate(own, tmp_path):
    pairs = {f"infra_portal.{key}": [e["cert"], e["key"]] for key, e in own.items() if "cert" in e}
    health._check_certificates(pairs)
    (tmp_path / "shop.key").unlink()
    with pytest.raises(CommandFailed, match=r"infra_portal\.shop\.key: expected a file"):
        health._check_certificates(pairs)
