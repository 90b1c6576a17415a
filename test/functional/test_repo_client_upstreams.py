"""Upstreams on a client: apt's and dnf's priorities and own CAs, tried with both programs."""

import os
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from infra_formula import paths
from infra_formula.minion import Minion
from infra_formula.repository import client_apt, client_plans, other_sources, plans
from repo_samples import Key, Server, apt_upstream, deb, rpm, run, yum_upstream
from salt.exceptions import CommandExecutionError, SaltInvocationError

FAULTS = (CommandExecutionError, SaltInvocationError)
PORTS = {"repo": "pigsty", "http": 80, "https": 443, "ca": None}


@pytest.fixture(scope="module")
def place():
    """A folder that everybody can enter and only root can write to."""
    with tempfile.TemporaryDirectory(prefix="rc-", dir="/tmp") as tmp:
        Path(tmp).chmod(0o755)
        yield Path(tmp)


@pytest.fixture(scope="module")
def key():
    made = Key()
    yield made
    made.close()


@pytest.fixture(scope="module")
def trees(place, key):
    """Two upstreams of apt and two of yum, whose packages differ in their versions alone."""
    for name, version in (("new", "2"), ("old", "1")):
        deb(place / name / "pool", "tool", version)
        apt_upstream(place / name, key, fields=["Origin: Vendor"])
        key.sign_rpm(rpm(place / name / "yum", "tool", version))
        yum_upstream(place / name / "yum", key)
        (place / name / "vendor.asc").write_text(key.public)
    return place


@pytest.fixture(scope="module")
def certificate(place):
    """A certificate of both names of this machine, which is its own CA."""
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
        "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", place / "key.pem",
        "-out", place / "crt.pem")  # fmt: skip
    (place / "crt.pem").chmod(0o644)
    return place / "crt.pem"


@pytest.fixture
def servers(trees, request, certificate):
    """Servers of both trees; ``tls`` as parameter for https."""
    made = {}
    for name in ("new", "old"):
        server = Server(trees / name)
        if getattr(request, "param", "") == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_name("key.pem"))
            server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
            server.url = server.url.replace("http:", "https:")
        made[name] = server
    yield made
    for server in made.values():
        server.close()


class Machine:
    """A client with an ``/etc`` of its own, which the real apt or dnf reads."""

    def __init__(self, root, loaders, monkeypatch, system):
        self.root, self.system = root, system
        self.folder = root / ("etc/apt/sources.list.d" if system == "d12" else "etc/yum.repos.d")
        for part in ("etc/apt/sources.list.d", "etc/yum.repos.d", "var/lib/dpkg",
                     "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):  # fmt: skip
            (root / part).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "apt.conf").write_text(
            f'Dir "{root}/"; Dir::State::status "{root}/var/lib/dpkg/status";'
            'APT::Architecture "amd64"; APT::Architectures { "amd64"; };'
            'Acquire::Languages "none"; APT::Sandbox::User "root"; Acquire::Retries "0";'
        )
        monkeypatch.setenv("APT_CONFIG", str(root / "apt.conf"))
        monkeypatch.setattr(client_apt, "FOLDER", str(root / "etc/apt"))
        monkeypatch.setattr(paths, "PKI", root / "pki")
        suffix = "sources" if system == "d12" else "repo"
        monkeypatch.setattr(plans, "sources_directory", lambda family: (str(self.folder), suffix))
        real = other_sources.files
        monkeypatch.setattr(other_sources, "files", lambda keep=None, _=0: real(keep, str(root)))
        grains = {"os_family": "Debian" if system == "d12" else "RedHat", "os": "x",
                  "oscodename": "bookworm", "osmajorrelease": 12, "cpuarch": "x86_64"}  # fmt: skip
        self.minion = Minion({"pkg.refresh_db": self.refresh}, loaders.opts, grains, {})

    def refresh(self, failhard=True):
        if self.system == "d12":
            done = subprocess.run(
                ["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise CommandExecutionError(done.stderr)

    def apply(self, *entries, exclusive=True):
        """Apply what these entries of repo_upstream ask for; returns the changes."""
        request = {"name": "client", "home": "/www", "targets": [f"{self.system}.x86_64"],
                   "modules": "node", "upstream": list(entries), "packages": []}  # fmt: skip
        plan = client_plans.plan_repository(
            self.minion, "x", [], PORTS, exclusive, 0, request if entries else None, False
        )
        if plan.changes:
            plan.apply()
        return plan.changes

    def candidate(self):
        """The version of the package ``tool`` that apt or dnf installs."""
        if self.system == "d12":
            policy = run("apt-cache", "policy", "tool")
            return policy.partition("Candidate: ")[2].split()[0]
        done = subprocess.run(
            ["dnf", "-y", "--installroot", self.root / "os", "--releasever=9", "install", "tool",
             f"--setopt=reposdir={self.folder}", f"--setopt=cachedir={self.root / 'cache'}",
             "--setopt=varsdir=/nonexistent", "--setopt=pluginpath=/nonexistent",
             "--setopt=retries=1", "--setopt=assumeno=1", "--forcearch=x86_64"],
            capture_output=True, text=True, check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(self.root)},
        )  # fmt: skip
        for ring in self.root.glob("cache/*/pubring"):
            run("gpgconf", "--homedir", ring, "--kill", "gpg-agent")
        rows = [line.split() for line in done.stdout.splitlines() if line.startswith(" tool ")]
        return rows[0][2] if rows else done.stdout + done.stderr

    def written(self):
        """What the formula wrote below /etc besides sources."""
        return sorted(
            str(path.relative_to(self.root / "etc/apt"))
            for path in self.root.glob("etc/apt/*/infra-*")
            if path.parent.name not in ("sources.list.d", "keyrings")
        )


@pytest.fixture
def machine(tmp_path, loaders, monkeypatch):
    return lambda system="d12": Machine(tmp_path / "m", loaders, monkeypatch, system)


def entry(server, system, key, name, **changes):
    url = server.url.replace("127.0.0.1", changes.pop("host", "127.0.0.1"))
    base = f"{url} stable main" if system == "d12" else f"{url}/yum"
    return {"name": name, "module": "node", "releases": [9, 12], "arch": ["x86_64"],
            "baseurl": base, "gpgkey": key.public, **changes}  # fmt: skip


@pytest.mark.parametrize(("system", "high", "low"), [("d12", 900, 100), ("el9", 10, 90)])
def test_a_priority_decides_and_goes_when_it_is_removed(
    system, high, low, machine, servers, trees, key, request
):
    here = machine(system)
    new = entry(servers["new"], system, key, "new", host="localhost")
    old = entry(servers["old"], system, key, "old")
    release = "" if system == "d12" else "-1"
    assert here.apply(new, old)
    assert here.candidate() == f"2{release}"
    assert here.written() == []
    assert here.apply(new, {**old, "priority": high})
    assert here.candidate() == f"1{release}"
    assert not here.apply(new, {**old, "priority": high})
    assert here.apply({**new, "priority": high}, {**old, "priority": low})
    assert here.candidate() == f"2{release}"
    assert here.apply({**new, "priority": low}, {**old, "priority": high})
    assert here.candidate() == f"1{release}"
    assert here.apply(new, old)
    assert here.candidate() == f"2{release}"
    assert here.written() == []
    here.apply(new, {**old, "priority": high})
    assert len(list(here.root.rglob("infra-*.asc"))) == 2
    assert here.apply(new)
    assert [path.name for path in here.root.rglob("infra-*.asc")] == ["infra-new.asc"]
    here.apply()
    assert here.written() == []
    assert not list(here.root.rglob("infra-*"))
    assert not here.apply()


@pytest.mark.parametrize("system", ["d12", "el9"])
@pytest.mark.parametrize("servers", ["tls"], indirect=True)
def test_an_own_ca_holds_for_its_host_alone(system, machine, servers, key, certificate):
    here = machine(system)
    old = entry(servers["old"], system, key, "old")
    other = entry(servers["new"], system, key, "new", host="localhost")
    ca = str(certificate)
    assert here.apply({**old, "ca": ca})
    assert here.candidate().startswith("1")
    assert not here.apply({**old, "ca": ca})
    # Another host is not trusted for it.
    if system == "d12":
        with pytest.raises(CommandExecutionError, match="certificate"):
            here.apply({**old, "ca": ca}, other)
    else:
        here.apply({**old, "ca": ca}, other)
        # dnf leaves it out.
        assert here.candidate() == "1-1"
    assert here.apply({**old, "ca": ca}, {**other, "ca": ca})
    assert here.candidate().startswith("2")
    # The attribute goes, and the trust with it.
    if system == "d12":
        assert here.written() == ["apt.conf.d/infra-upstreams.conf"]
        with pytest.raises(CommandExecutionError, match="certificate"):
            here.apply(old)
        assert here.written() == []
    else:
        here.apply(old)
        run("rm", "-rf", here.root / "cache")
        assert "certificate" in here.candidate()


@pytest.mark.parametrize("servers", ["tls"], indirect=True)
def test_a_key_on_the_host_of_an_own_ca_is_fetched(machine, servers, key, certificate):
    here = machine()
    url = f"{servers['old'].url}/vendor.asc"
    old = entry(servers["old"], "d12", key, "old", gpgkey=url, ca=str(certificate))
    keyrings = here.root / "keyrings"
    target = client_plans.catalogue.plan(
        {"name": "c", "home": "/www", "targets": ["d12.x86_64"], "modules": "node",
         "upstream": [old], "packages": []}
    )["targets"][0]  # fmt: skip
    upstream = target["upstreams"][0]
    path = client_plans.client_trust.upstream_key(Minion(), upstream, str(keyrings))
    assert Path(path).read_text() == key.public
    elsewhere = {**upstream, "name": "x", "gpgkey": [url.replace("127.0.0.1", "localhost")]}
    called = []
    minion = Minion({"cp.cache_file": lambda url: called.append(url)})
    with pytest.raises(CommandExecutionError, match="key of x cannot be fetched"):
        client_plans.client_trust.upstream_key(minion, elsewhere, str(keyrings))
    assert called == elsewhere["gpgkey"]


@pytest.mark.parametrize("how", ["text", "path"])
def test_another_key_in_the_pillar_is_used(how, machine, servers, key, place):
    here = machine()
    other = Key("Other <o@example.org>")

    def gpgkey(public):
        if how == "text":
            return public
        (place / "in-use.asc").write_text(public)
        return str(place / "in-use.asc")

    old = entry(servers["old"], "d12", key, "old")
    with pytest.raises(CommandExecutionError, match="NO_PUBKEY"):
        here.apply({**old, "gpgkey": gpgkey(other.public)})
    other.close()
    assert here.apply({**old, "gpgkey": gpgkey(key.public)})
    assert here.candidate() == "1"


def test_sources_of_one_host_are_told_apart_by_their_suite(machine, servers, key, trees):
    here = machine()
    own = here.folder / "own.list"
    own.write_text(f"deb [signed-by={trees}/old/vendor.asc] {servers['new'].url} stable main\n")
    old = entry(servers["old"], "d12", key, "old", priority=900)
    before = own.read_text()
    with pytest.raises(FAULTS, match=r"repo_upstream \(old\)\.priority: another"):
        here.apply(old, exclusive=False)
    assert (own.read_text(), here.written()) == (before, [])
    # Its own sources are switched off, so that the host tells it.
    assert here.apply(old)
    assert here.candidate() == "1"
    # Another suite of the host is told by its name.
    here.apply()
    tree = trees / "new"
    apt_upstream(tree, key, suite="testing")
    own.write_text(f"deb [signed-by={trees}/old/vendor.asc] {servers['new'].url} testing main\n")
    assert here.apply(old, exclusive=False)
    assert (
        "release n=stable" in (here.root / "etc/apt/preferences.d/infra-upstreams.pref").read_text()
    )
    assert here.candidate() == "1"


def test_a_client_uses_an_index_that_is_over_if_that_is_said(machine, key, tmp_path):
    deb(tmp_path / "snapshot/pool", "tool", "1")
    apt_upstream(tmp_path / "snapshot", key,
                 fields=["Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC"])  # fmt: skip
    server = Server(tmp_path / "snapshot")
    here = machine()
    old = entry(server, "d12", key, "old")
    with pytest.raises(CommandExecutionError, match=r"expired|invalid since"):
        here.apply(old)
    assert here.apply({**old, "check_valid_until": False})
    assert here.candidate() == "1"
    with pytest.raises(CommandExecutionError, match=r"expired|invalid since"):
        here.apply(old)
    server.close()


@pytest.mark.parametrize("fault", ["missing", "unreadable", "folder", "two"])
def test_a_ca_that_apt_cannot_read_is_refused_before_anything_changes(
    fault, machine, servers, key, place, certificate
):
    here = machine()
    file = place / "other.pem"
    file.write_bytes(certificate.read_bytes())
    file.chmod(0o600 if fault == "unreadable" else 0o644)
    closed = place / "closed"
    closed.mkdir(exist_ok=True)
    closed.chmod(0o700)
    (closed / "ca.pem").write_bytes(certificate.read_bytes())
    ca = {"missing": place / "nosuch", "unreadable": file, "folder": closed / "ca.pem"}
    entries = [entry(servers["old"], "d12", key, "old", ca=str(ca.get(fault, certificate)))]
    if fault == "two":
        entries.append(entry(servers["new"], "d12", key, "new", ca=str(file)))
    with pytest.raises(FAULTS, match=r"repo_upstream \((old|new)\)\.ca: "):
        here.apply(*entries)
    assert here.written() == []
    assert not list(here.folder.iterdir())


def test_a_ca_of_an_ipv6_address_would_hold_for_all_hosts(machine, servers, key, certificate):
    old = entry(servers["old"], "d12", key, "old", ca=str(certificate))
    old["baseurl"] = "https://[::1]/ stable main"
    with pytest.raises(FAULTS, match="cannot name the IPv6 address ::1"):
        machine().apply(old)
