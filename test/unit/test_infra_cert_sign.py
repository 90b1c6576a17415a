"""What the CA signs, what is written down of it, and how it is renewed."""

import datetime
import grp
import ipaddress
import os
import stat
import time
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import salt.modules.systemd_service as salt_service
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths, process
from infra_formula.minion import Minion
from infra_formula.pki import authority as infra_cert_sign
from infra_formula.pki import ca_backup as infra_cert_backup
from infra_formula.pki import certificates as infra_cert
from infra_formula.pki import inventory, issuing
from salt.exceptions import CommandExecutionError, SaltInvocationError
from support import portal_samples

from _states import infra_cert as cert_state
from _states import infra_portal as portal_state
from _states import infra_scrape as scrape_state

from .test_infra_cert import Authority

GROUP = grp.getgrgid(os.getgid()).gr_name


class Site:
    """A machine with a CA, below a folder of the test's own."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.pki = folder, folder / "etc/pki"
        (self.pki / "ca").mkdir(parents=True)
        self.authority = Authority(self.pki)
        (self.pki / "ca.key").rename(self.pki / "ca/ca.key")
        self.running = create_autospec(salt_service.status, return_value=True)
        self.reload = create_autospec(salt_service.reload_, return_value=True)
        answer = {"retcode": 0, "stdout": "", "stderr": ""}
        self.run = create_autospec(process.run, return_value=answer)
        monkeypatch.setattr(process, "run", self.run)
        salt = {
            "service.status": self.running,
            "service.reload": self.reload,
        }
        self.minion = Minion(salt)
        states = {"infra_cert.managed": cert_state.managed}
        for module in (cert_state, scrape_state):
            monkeypatch.setattr(module, "__states__", states, raising=False)
        self.opts = {"test": False}
        monkeypatch.setattr(cert_state, "__opts__", self.opts, raising=False)
        monkeypatch.setattr(paths, "PKI", self.pki)
        monkeypatch.setattr(paths, "NGINX", folder / "nginx")
        monkeypatch.setattr(paths, "LETSENCRYPT", folder / "letsencrypt")
        monkeypatch.setattr(paths, "STATE_DIR", folder)

    def spec(self, name="leaf", **changes):
        return {
            "private_key": str(self.pki / f"{name}.key"),
            "signing_cert": str(self.pki / "ca.crt"),
            "signing_private_key": str(self.pki / "ca/ca.key"),
            "common_name": name,
            "organization": "pigsty",
            "unit": "infra",
            "names": ["a.p"],
            "addresses": ["10.0.0.1", "::1"],
            "usages": ["serverAuth"],
            "days": 397,
            "renew_days": 30,
            "group": GROUP,
            "cert_mode": "0644",
            "key_mode": "0640",
            "reload": "nginx",
            "purpose": "a test",
            **changes,
        }

    def make(self, name="leaf", **changes):
        crt = str(self.pki / f"{name}.crt")
        infra_cert_sign.issue(crt, self.spec(name, **changes))
        infra_cert_sign.record(crt, self.spec(name))
        return crt

    def managed(self, **changes):
        spec = self.spec()
        arguments = {k: spec[k] for k in ("private_key", "signing_cert", "signing_private_key",
                                          "common_name", "names", "addresses", "days",
                                          "renew_days", "group", "usages")}  # fmt: skip
        return cert_state.managed(str(self.pki / "leaf.crt"), **{**arguments, **changes})


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path, monkeypatch)


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_what_is_signed_is_what_was_asked_for(site):
    crt = site.make(usages=["serverAuth", "clientAuth"])
    cert = x509.load_pem_x509_certificate(Path(crt).read_bytes())
    assert cert.subject.rfc4514_string() == "CN=leaf,OU=infra,O=pigsty"
    told = infra_cert.describe(crt)
    assert (told["names"], told["addresses"]) == (["a.p"], ["10.0.0.1", "::1"])
    assert told["usages"] == ["serverAuth", "clientAuth"]
    assert 396 < told["days_left"] <= 397
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    assert (mode(crt), mode(site.pki / "leaf.key")) == (0o644, 0o640)
    assert infra_cert.leaf_fault(crt, site.spec(usages=["clientAuth"])) is None


def test_a_name_with_an_underscore_is_issued_like_any_other(site):
    """Salt's x509 refuses it; nginx serves it, as it does for Pigsty."""
    names = ["a.p", "my_app.p"]
    told = infra_cert.describe(site.make(names=names))
    assert (told["names"], told["addresses"]) == (names, ["10.0.0.1", "::1"])
    assert infra_cert.leaf_fault(str(site.pki / "leaf.crt"), site.spec(names=names)) is None


def test_a_scraper_is_a_client_and_an_older_certificate_is_issued_anew(site):
    """etcd and others refuse a client whose certificate is for servers only."""
    done = scrape_state.certified(
        str(site.pki / "infra.crt"), str(site.pki / "infra.key"), str(site.pki / "ca.crt"),
        str(site.pki / "ca/ca.key"), "10.10.10.10", ["localhost"], ["127.0.0.1"], "7300d", 30,
        GROUP,
    )  # fmt: skip
    assert done["result"] is True
    assert "clientAuth" in infra_cert.describe(str(site.pki / "infra.crt"))["usages"]
    crt = site.make()
    fault = infra_cert.leaf_fault(crt, site.spec(usages=["serverAuth", "clientAuth"]))
    assert fault == "it is not for serverAuth and clientAuth"


def test_the_state_issues_once_and_writes_it_down(site):
    site.opts["test"] = True
    told = site.managed()
    assert (told["result"], told["changes"]) == (None, {str(site.pki / "leaf.crt"): "issued"})
    assert not (site.pki / "leaf.key").exists()
    assert not infra_cert_sign.record_path().exists()
    site.opts["test"] = False
    done = site.managed()
    assert set(done["changes"]) == {str(site.pki / "leaf.crt"), str(site.pki / "leaf.key")}
    assert list(infra_cert_sign.recorded()) == [str(site.pki / "leaf.crt")]
    assert mode(infra_cert_sign.record_path()) == 0o644
    for test in (False, True):
        site.opts["test"] = test
        assert site.managed()["changes"] == {}
    site.opts["test"] = True
    told = site.managed(names=["b.p"])
    assert (told["result"], "its names changed" in told["comment"]) == (None, True)
    site.opts["test"] = False
    key = (site.pki / "leaf.key").read_bytes()
    assert set(site.managed(names=["b.p"])["changes"]) == {str(site.pki / "leaf.crt")}
    assert (site.pki / "leaf.key").read_bytes() == key
    (site.pki / "leaf.key").chmod(0o644)
    done = site.managed(names=["b.p"])
    assert list(done["changes"]) == [str(site.pki / "leaf.key")]
    assert mode(site.pki / "leaf.key") == 0o640


@pytest.mark.parametrize("test", [True, False])
def test_a_ca_is_created_once_and_its_key_is_closed(site, test):
    site.opts["test"] = test
    folder = site.pki / "new"
    paths_of_ca = [str(folder / "ca.crt"), str(folder / "ca.key")]
    folder.mkdir()
    done = cert_state.authority(*paths_of_ca, "site-ca", 3650)
    assert done["result"] is (None if test else True)
    assert done["changes"] == {paths_of_ca[0]: "created"}
    if test:
        assert list(folder.iterdir()) == []
        return
    assert [mode(path) for path in paths_of_ca] == [0o644, 0o600]
    cert = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    assert cert.subject.rfc4514_string() == "CN=site-ca,OU=ca,O=pigsty"
    constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, True)
    assert constraints.value.path_length == 0
    with pytest.raises(x509.ExtensionNotFound):
        cert.extensions.get_extension_for_class(x509.NameConstraints)
    assert infra_cert.pair_fault(*paths_of_ca) is None
    before = tree(folder)
    again = cert_state.authority(*paths_of_ca, "site-ca", 3650)
    assert (again["result"], again["changes"]) == (True, {})
    assert tree(folder) == before


@pytest.mark.parametrize("test", [True, False])
def test_a_certificate_is_trusted_once_it_is_in_the_bundle(site, test):
    site.opts["test"] = test
    crt, bundle = site.make(), site.pki / "bundle"
    missing = cert_state.trusted("/no/such.crt", str(bundle), "true")
    assert (missing["result"], missing["changes"]) == (
        (None, {str(bundle): "updated"}) if test else (True, {})
    )
    assert "not installed" in cert_state.trusted(crt, str(bundle), "no-such-program")["comment"]
    site.run.side_effect = lambda *a, **k: (
        bundle.write_bytes(Path(crt).read_bytes()),
        site.run.return_value,
    )[1]
    done = cert_state.trusted(crt, str(bundle), "true")
    assert (done["result"], done["changes"]) == (None if test else True, {str(bundle): "updated"})
    assert site.run.called is not test
    if not test:
        assert cert_state.trusted(crt, str(bundle), "true")["changes"] == {}


def test_a_key_that_cannot_be_used_is_made_anew(site):
    crt = site.make()
    (site.pki / "leaf.key").write_text("")
    assert "key" in infra_cert.leaf_fault(crt, site.spec())
    written = infra_cert_sign.issue(crt, site.spec())
    assert written == [str(site.pki / "leaf.key"), crt]
    assert infra_cert.leaf_fault(crt, site.spec()) is None


@pytest.mark.parametrize(
    ("break_", "expected"),
    [
        (lambda site: (site.pki / "ca/ca.key").unlink(), "there is no .*ca.key"),
        (lambda site: (site.pki / "ca.crt").unlink(), "there is no .*ca.crt"),
    ],
)
def test_without_a_ca_nothing_is_signed_or_lost(site, break_, expected):
    crt = site.make(days=5)
    before = Path(crt).read_bytes()
    break_(site)
    with pytest.raises(CommandExecutionError, match=expected):
        issuing.renew(site.minion)
    assert Path(crt).read_bytes() == before
    assert site.managed()["result"] is False


def test_an_unknown_group_is_named_and_leaves_nothing(site):
    with pytest.raises(CommandExecutionError, match="there is no group nobody-has-this"):
        infra_cert_sign.issue(str(site.pki / "x.crt"), site.spec("x", group="nobody-has-this"))
    assert [p.name for p in site.pki.iterdir() if "x." in p.name] == []


def test_what_is_about_to_end_is_renewed_and_served(site):
    due, good = site.make("due", days=5), site.make("good")
    before = Path(good).read_bytes()
    told = issuing.renew(site.minion)
    assert told[due].startswith("renewed: it ends in 5.0 days")
    assert told[good].startswith("good for 397")
    assert Path(good).read_bytes() == before
    assert infra_cert.describe(due)["days_left"] > 396
    site.run.assert_called_once()
    assert site.run.call_args.args[0] == ["nginx", "-t", "-q"]
    site.reload.assert_called_once_with("nginx")
    assert "renewed" in issuing.renew(site.minion, good, force=True)[good]
    with pytest.raises(SaltInvocationError, match="expected a certificate that this CA issued"):
        issuing.renew(site.minion, "/no")


def test_when_a_renewal_is_due_is_told_as_a_metric(site):
    site.managed()
    lines = [x for x in issuing.metrics_path().read_text().splitlines() if x[0] != "#"]
    (line,) = [x for x in lines if "leaf.crt" in x]
    (of_ca,) = [x for x in lines if "ca.crt" in x]
    assert 9634 < (int(of_ca.rpartition(" ")[2]) - time.time()) / 86400 < 9636
    told, _, moment = line.partition(" ")
    assert told == f'infra_certificate_renewal_seconds{{path="{site.pki / "leaf.crt"}"}}'
    assert 366 < (int(moment) - time.time()) / 86400 <= 367
    assert issuing.metrics({'/a"b\\c': 1.0}).splitlines()[-1].endswith('{path="/a\\"b\\\\c"} 1')


def test_an_nginx_that_would_not_start_again_is_not_reloaded(site):
    site.make(days=5)
    site.run.return_value = {"retcode": 1, "stderr": "unknown directive"}
    with pytest.raises(CommandExecutionError, match="unknown directive"):
        issuing.renew(site.minion)
    site.reload.assert_not_called()


def test_one_failure_does_not_keep_others_from_being_renewed(site):
    site.make("aaa", days=5)
    infra_cert_sign.record(str(site.pki / "aaa.crt"), site.spec("aaa", group="nobody-has-this"))
    second = site.make("bbb", days=5)
    with pytest.raises(CommandExecutionError, match="nobody-has-this"):
        issuing.renew(site.minion)
    assert infra_cert.describe(second)["days_left"] > 396
    site.reload.assert_called_once_with("nginx")


def test_what_was_removed_is_forgotten(site):
    crt = site.make()
    Path(crt).unlink()
    (site.pki / "leaf.key").unlink()
    assert issuing.renew(site.minion) == {crt: "removed; no longer recorded"}
    assert issuing.renew(site.minion) == {}


def test_a_damaged_record_fails_a_renewal_and_is_mended_by_an_apply(site):
    site.managed()
    infra_cert_sign.record_path().write_text("{")
    with pytest.raises(CommandExecutionError, match="is damaged"):
        issuing.renew(site.minion)
    assert site.managed()["result"] is True
    assert list(infra_cert_sign.recorded()) == [str(site.pki / "leaf.crt")]
    assert infra_cert_sign.record_path().with_suffix(".damaged").read_text() == "{"


def test_issued_by_hand(site):
    told = issuing.issue("etcd-1", san="DNS:etcd-1, 10.0.0.2", expire="60d")
    assert (told["names"], told["addresses"]) == (["etcd-1"], ["10.0.0.2"])
    assert told["crt"] == str(site.pki / "misc/etcd-1.crt")
    assert told["usages"] == ["serverAuth", "clientAuth"]
    assert (mode(told["crt"]), mode(told["key"])) == (0o600, 0o600)
    assert infra_cert.leaf_fault(told["crt"], infra_cert_sign.recorded()[told["crt"]]) is None
    plain = issuing.issue("client")
    assert (plain["names"], plain["addresses"], plain["days"]) == (
        ["localhost"],
        ["127.0.0.1"],
        7302,  # it is valid two days before it is issued, too
    )
    # A third of a short life is left when it is renewed.
    assert infra_cert_sign.recorded()[told["crt"]]["renew_days"] == 20
    (site.folder / "other").mkdir()
    other = Authority(site.folder / "other").leaf()
    with pytest.raises(SaltInvocationError, match="of another CA"):
        issuing.issue("x", crt=other[0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"cn": "../x"}, "cn: expected a name"),
        ({"cn": ""}, "cn: expected a name"),
        ({"cn": "x", "expire": "1y"}, "expire: expected days"),
        ({"cn": "x", "san": "a b"}, "san: expected a DNS name"),
        ({"cn": "x", "san": "IP:name"}, "san: expected a DNS name"),
        ({"cn": "x", "crt": "x.crt"}, "crt: expected an absolute path"),
        ({"cn": "x", "key": "/etc/pki/../x"}, "key: expected an absolute path"),
    ],
)
def test_what_cannot_be_issued(site, arguments, expected):
    with pytest.raises(SaltInvocationError, match=expected):
        issuing.issue(**arguments)
    assert not (site.pki / "misc").exists()


@given(
    st.lists(st.ip_addresses().map(str)),
    st.lists(st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z]{2,5}){0,2}", fullmatch=True)),
)
def test_names_and_addresses_are_told_apart(addresses, names):
    assert infra_cert_sign.alternative_names([*addresses, *names]) == (
        list(dict.fromkeys(names)),
        list(dict.fromkeys(str(ipaddress.ip_address(a)) for a in addresses)),
    )


@given(st.text())
def test_any_text_is_names_or_is_refused(text):
    try:
        names, addresses = infra_cert_sign.alternative_names(text)
    except SaltInvocationError:
        return
    assert names or addresses


def test_all_that_there_is_is_listed(site):
    crt = site.make()
    conf = site.folder / "nginx/conf.d"
    conf.mkdir(parents=True)
    (conf / "wiki.conf").write_text(f"ssl_certificate {crt};\n")
    (conf / "shop.conf").write_text("ssl_certificate /no/such.crt;\n")
    told = inventory.list_certificates()
    assert told[str(site.pki / "ca.crt")]["kind"] == "ca"
    assert told[crt]["used_by"] == ["a test", "nginx: wiki"]
    assert told[crt]["names"] == ["a.p", "10.0.0.1", "::1"]
    assert told["/no/such.crt"]["kind"] == "own"
    assert "No such file" in told["/no/such.crt"]["fault"]


@pytest.mark.parametrize(
    ("certs", "expected"),
    [
        ({"../x": {}}, "certs['../x']: expected a name of letters"),
        ({"a": {"san": ["a b"]}}, "certs.a.san: expected a DNS name or an IP address, got 'a b'"),
        ({"a": {"cn": "a/b"}}, "certs.a.cn: expected a name"),
    ],
)
def test_what_a_pillar_cannot_ask_for_is_told_before_anything_is_done(certs, expected):
    (error,) = infra_cert_sign.problems({"certs": certs})
    assert error.startswith(expected)


def test_what_a_pillar_can_ask_for():
    certs = {"etcd-1": {}, "registry": {"san": ["registry.p", "10.0.0.1"], "group": "docker"}}
    assert infra_cert_sign.problems({"certs": certs}) == []
    assert infra_cert_sign.problems({}) == []


GIVEN = {"san": ["reg.p"], "expire": "365d"}


def test_a_certificate_of_the_pillar(site, monkeypatch):
    paths = {"cert": str(site.pki / "reg.crt"), "key": str(site.pki / "reg.key")}
    done = cert_state.issued("reg", {**GIVEN, "group": GROUP}, **paths)
    assert set(done["changes"]) == set(paths.values())
    assert (mode(paths["cert"]), mode(paths["key"])) == (0o644, 0o640)
    assert cert_state.issued("reg", {**GIVEN, "group": GROUP}, **paths)["changes"] == {}
    assert infra_cert_sign.recorded()[paths["cert"]]["purpose"] == "certs.reg"
    bad = cert_state.issued("reg", {**GIVEN, "san": ["a b"]}, **paths)
    assert (bad["result"], bad["comment"].startswith("certs.reg.san: expected")) == (False, True)


# -- the way back of the CA


@pytest.fixture
def passphrase(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return str(path)


def tree(folder):
    return {p: (p.read_bytes(), mode(p)) for p in folder.rglob("*") if p.is_file()}


def test_the_ca_comes_back_from_its_backup(site, passphrase, tmp_path):
    issuing.issue("etcd-1")
    site.make()
    (site.pki / "ca/ca.key").chmod(0o600)
    backup = str(tmp_path / "ca.backup")
    held = infra_cert_backup.write(backup, passphrase)
    assert held == ["/etc/pki/ca.crt", "/etc/pki/ca/ca.key", "/etc/pki/misc/etcd-1.crt",
                    "/etc/pki/misc/etcd-1.key"]  # fmt: skip
    assert mode(backup) == 0o600
    assert b"PRIVATE" not in Path(backup).read_bytes()
    with pytest.raises(SaltInvocationError, match="replaces nothing"):
        infra_cert_backup.write(backup, passphrase)
    before = tree(site.pki)
    for name in ("ca.crt", "ca/ca.key", "misc/etcd-1.key"):
        (site.pki / name).unlink()
    told = infra_cert_backup.restore(backup, passphrase)
    assert told["/etc/pki/ca/ca.key"] == "restored"
    assert told["/etc/pki/misc/etcd-1.crt"] == "up to date"
    assert tree(site.pki) == before
    assert set(infra_cert_backup.restore(backup, passphrase).values()) == {"up to date"}


def test_another_ca_is_not_replaced_unless_asked_and_then_kept(site, passphrase, tmp_path):
    backup = str(tmp_path / "ca.backup")
    infra_cert_backup.write(backup, passphrase)
    old = (site.pki / "ca/ca.key").read_bytes()
    Authority(site.pki)
    (site.pki / "ca.key").replace(site.pki / "ca/ca.key")
    other = tree(site.pki)
    with pytest.raises(CommandExecutionError, match="there are other files at"):
        infra_cert_backup.restore(backup, passphrase)
    assert tree(site.pki) == other
    told = infra_cert_backup.restore(backup, passphrase, force=True)
    assert "the previous file is" in told["/etc/pki/ca/ca.key"]
    assert (site.pki / "ca/ca.key").read_bytes() == old
    assert len(list((site.pki / "ca").glob("ca.key.before-*"))) == 1


def test_a_backup_that_was_changed_or_is_of_another_passphrase_is_refused(
    site, passphrase, tmp_path
):
    backup = tmp_path / "ca.backup"
    infra_cert_backup.write(str(backup), passphrase)
    data = bytearray(backup.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed").write_bytes(data)
    (site.pki / "ca/ca.key").unlink()
    with pytest.raises(CommandExecutionError, match="gpg: "):
        infra_cert_backup.restore(str(tmp_path / "changed"), passphrase)
    other = tmp_path / "other"
    other.write_text("another")
    other.chmod(0o600)
    with pytest.raises(CommandExecutionError, match="gpg: "):
        infra_cert_backup.restore(str(backup), str(other))
    assert not (site.pki / "ca/ca.key").exists()


def test_what_is_no_backup_is_refused(site, passphrase, tmp_path):
    pack = infra_cert_backup.pack
    for files, expected in (
        ({"etc/passwd": b"x"}, "'etc/passwd' is not expected"),
        ({"../etc/pki/ca.crt": b"x"}, "is not expected"),
        ({"etc/pki/ca.crt": b"x"}, "there is no etc/pki/ca/ca.key"),
    ):
        with pytest.raises(CommandExecutionError, match=expected):
            infra_cert_backup.unpack(pack(files))
    with pytest.raises(CommandExecutionError, match="no backup of a CA"):
        infra_cert_backup.unpack(b"not a tar")
    (site.pki / "ca/ca.key").unlink()
    with pytest.raises(CommandExecutionError, match=r"there is no etc/pki/ca/ca\.key"):
        infra_cert_backup.write(str(tmp_path / "b"), passphrase)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("content", "permissions"), [("", 0o600), ("x", 0o640), (None, 0)])
def test_a_passphrase_that_is_none_or_open_is_refused(site, tmp_path, content, permissions):
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_text(content)
        path.chmod(permissions)
    with pytest.raises(SaltInvocationError, match="passphrase"):
        infra_cert_backup.write(str(tmp_path / "b"), str(path))


def test_it_is_valid_by_a_clock_that_is_a_day_behind(site):
    begin = infra_cert.not_before(infra_cert.load(site.make()))
    assert datetime.datetime.now(datetime.timezone.utc) - begin > datetime.timedelta(days=1)


class TestKeyOfThePortal:
    """nginx's master reads the key as root, so that its workers need not."""

    @pytest.fixture
    def portal(self, site, monkeypatch):
        monkeypatch.setattr(
            portal_state, "__states__", {"infra_cert.managed": cert_state.managed}, raising=False
        )
        monkeypatch.setattr(
            portal_state, "__grains__", {"ip_interfaces": {"eth0": ["10.0.0.1"]}}, raising=False
        )

        def apply():
            return portal_state.certified(
                str(site.pki / "pigsty.crt"),
                str(site.pki / "pigsty.key"),
                {"home": {"domain": "i.pigsty"}},
                portal_samples.settings(nginx_group=GROUP, admin_ip="10.0.0.1"),
                str(site.pki / "ca.crt"),
                str(site.pki / "ca/ca.key"),
                "397d",
                30,
            )

        return apply

    def test_nobody_but_root_can_read_it(self, site, portal):
        assert portal()["result"] is True
        assert mode(site.pki / "pigsty.key") == 0o600
        assert mode(site.pki / "pigsty.crt") == 0o644
        assert portal()["changes"] == {}

    def test_an_upgrade_changes_the_mode_and_nothing_else(self, site, portal):
        portal()
        crt, key = site.pki / "pigsty.crt", site.pki / "pigsty.key"
        key.chmod(0o640)
        record = infra_cert_sign.recorded()
        infra_cert_sign.record(str(crt), {**record[str(crt)], "key_mode": "0640"})
        before = crt.read_bytes(), key.read_bytes(), crt.stat().st_mtime_ns, key.stat().st_mtime_ns
        site.run.reset_mock()
        done = portal()
        assert done["result"] is True
        assert set(done["changes"]) == {str(key), str(infra_cert_sign.record_path())}
        assert done["changes"][str(key)].startswith("0640 ")
        after = crt.read_bytes(), key.read_bytes(), crt.stat().st_mtime_ns, key.stat().st_mtime_ns
        assert after == before
        assert mode(key) == 0o600
        site.run.assert_not_called()
        site.reload.assert_not_called()
        assert portal()["changes"] == {}
        # The timer keeps the mode when it renews.
        issuing.renew(site.minion, str(crt), force=True)
        assert mode(key) == 0o600
