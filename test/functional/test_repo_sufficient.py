"""A machine's other sources are disabled only if what remains has what the machine needs."""

import os
from pathlib import Path

import pytest
from infra_formula import paths
from infra_formula.minion import Minion
from infra_formula.repository import (
    catalogue,
    client_plans,
    client_sources,
    other_sources,
    plans,
)
from infra_formula.state import converge
from repo_samples import Server, rpm, yum_upstream

pytest_plugins = ["repo_fixtures"]

OWN = "deb http://deb.debian.org/debian bookworm main\n"
OFF = f"{other_sources.OFF}{OWN}"
GRAINS = {"os_family": "Debian", "os": "Debian", "oscodename": "bookworm", "osmajorrelease": 12,
          "cpuarch": "x86_64"}  # fmt: skip


class Machine:
    """A machine with a source of its own; its states are applied as Salt does."""

    def __init__(self, folder, opts):
        self.folder, self.opts = folder, opts
        self.installed = {}
        self.grains = GRAINS
        folder.mkdir()
        self.own = folder / "own.list"
        self.own.write_text(OWN)

    def minion(self, test):
        salt = {"pkg.refresh_db": lambda **_: None, "pkg.list_pkgs": lambda: self.installed}
        return Minion(salt, {**self.opts, "test": test}, self.grains, {})

    def use(self, home, needs, exclusive=True, test=False):
        def compare():
            return plans.plan_used(self.minion(test), "pigsty", home, exclusive, False, test, needs)

        return converge("pigsty", test, compare)

    def follow(self, server, needs, exclusive=True, test=False):
        nodes = [{"ip": "127.0.0.1", "seq": 1, "key": "infra-1"}]
        port = int(server.url.rpartition(":")[2])
        ports = {"repo": "pigsty", "http": port, "https": 443, "ca": None}

        def compare():
            return client_plans.plan_repository(
                self.minion(test), "x", nodes, ports, exclusive, 0, None, test, needs
            )

        return converge("x", test, compare)

    def is_untouched(self):
        return self.own.read_text() == OWN and len(os.listdir(self.folder)) == 1


@pytest.fixture
def machine(loaders, tmp_path, monkeypatch):
    found = Machine(tmp_path / "etc", loaders.opts)
    monkeypatch.setattr(
        other_sources, "files", lambda keep=None, root="/": {str(found.own): "list"}
    )
    monkeypatch.setattr(plans, "sources_directory", lambda family: (str(found.folder), "sources"))
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state-dir")
    monkeypatch.setattr(paths, "CACHE_DIR", tmp_path / "cache-dir")
    return found


def needs(required=(), secured=()):
    return {"required": list(required), "secured": list(secured)}


@pytest.mark.parametrize("test", [True, False], ids=["test", "apply"])
def test_a_bare_machine_is_not_locked_out_by_a_small_repository(test, machine, build, spec):
    build(packages=["base"])
    ret = machine.use(spec["home"], needs(["base", "dnsmasq-base", "web"]), test=test)
    assert ret["result"] is False
    assert "no dnsmasq-base, web, which components of this machine need" in ret["comment"]
    for parameter in ("repo_packages", "repo_remove: false", "repo_remove_check: false"):
        assert parameter in ret["comment"]
    assert ret["changes"] == {}
    assert machine.is_untouched()


def test_a_machine_that_runs_keeps_its_security_updates(machine, build, spec):
    build(packages=["base"])
    machine.installed = {"web": "1.0", "openssl": "3", "base": "2", "sudo:amd64": "1"}
    ret = machine.use(spec["home"], needs(["web", "base"], ["web", "openssl", "sudo", "bash"]))
    assert ret["result"] is False
    assert "no web, openssl, sudo, installed here, which would get no security" in ret["comment"]
    assert "components of this machine need" not in ret["comment"]
    assert machine.is_untouched()


def test_a_repository_that_has_all_of_it_is_used_alone(machine, build, spec):
    build(packages=["web", "base"])
    machine.installed = {"base": "2"}
    # A virtual package is provided by another one.
    ret = machine.use(spec["home"], needs(["web", "base", "mailer"], ["base", "sudo"]))
    assert ret["result"] is True, ret
    assert ret["comment"].endswith("/pigsty alone.")
    assert machine.own.read_text() == OFF
    # The second apply asks nobody, and changes nothing.
    machine.installed = None
    again = machine.use(spec["home"], needs(["web", "base", "mailer"], ["base", "sudo"]))
    assert (again["result"], again["changes"]) == (True, {})
    assert "warnings" not in again


def test_a_repository_that_shrinks_is_an_error(machine, build, spec):
    asked = needs(["web"], ["web"])
    build(packages=["web"])
    assert machine.use(spec["home"], asked)["result"] is True
    machine.installed = {"web": "1.0"}
    build(packages=["base"])
    for _ in range(2):
        ret = machine.use(spec["home"], asked)
        assert ret["result"] is False
        assert "no web, installed here" in ret["comment"]
    build(packages=["web"])
    assert machine.use(spec["home"], asked)["result"] is True


def test_a_site_of_an_earlier_release_goes_on_and_is_warned(machine, build, spec):
    build(packages=["base"])
    assert machine.use(spec["home"], None)["result"] is True
    ret = machine.use(spec["home"], needs(["dnsmasq-base"]))
    assert (ret["result"], ret["changes"]) == (True, {})
    assert "no dnsmasq-base, which components" in ret["warnings"][0]


def test_the_operator_may_say_so(machine, build, spec):
    build(packages=["base"])
    ret = machine.use(spec["home"], None)
    assert ret["result"] is True
    assert machine.own.read_text() == OFF


def test_with_other_sources_the_comment_says_so(machine, build, spec):
    build(packages=["base"])
    for _ in range(2):
        ret = machine.use(spec["home"], needs(["dnsmasq-base"]), exclusive=False)
        assert ret["result"] is True
        assert "alone" not in ret["comment"]
        assert ret["comment"].endswith("/pigsty and its other sources.")
        assert machine.own.read_text() == OWN


@pytest.fixture
def web(spec):
    Path(spec["home"]).mkdir(exist_ok=True)
    server = Server(spec["home"])
    yield server
    server.close()


def publish(web, spec):
    for rel, file in client_sources.client_files("pigsty", spec["home"], [web.url]).items():
        (web.root / rel).write_text(file["text"])


def test_a_client_is_not_locked_out(machine, build, spec, web):
    build(packages=["base"])
    publish(web, spec)
    machine.installed = {"openssl": "3"}
    asked = needs(["chrony", "base"], ["openssl"])
    ret = machine.follow(web, asked)
    assert ret["result"] is False
    assert "no chrony, which components of this machine need and no openssl" in ret["comment"]
    assert "node_repo_remove: false" in ret["comment"]
    assert machine.is_untouched()
    ret = machine.follow(web, asked, exclusive=False)
    assert ret["result"] is True
    assert ret["comment"].endswith("127.0.0.1 and its other sources.")
    assert machine.own.read_text() == OWN
    machine.installed = {}
    ret = machine.follow(web, needs(["base"]))
    assert ret["result"] is True
    assert machine.own.read_text() == OFF


def test_a_client_of_el_is_asked_by_dnf(
    machine, minion, spec, upstream_key, web, build, tmp_path, monkeypatch
):
    root = tmp_path / "yum"
    upstream_key.sign_rpm(rpm(root, "base", "1"))
    yum_upstream(root, upstream_key)
    entry = {"name": "baseos", "module": "node", "releases": [9], "arch": ["x86_64"],
             "baseurl": root.as_uri(), "gpgkey": upstream_key.public}  # fmt: skip
    build(targets=["el9.x86_64"], upstream=[entry], packages=["base"])
    publish(web, spec)
    monkeypatch.setattr(plans, "sources_directory", lambda family: (str(machine.folder), "repo"))
    machine.grains = {**GRAINS, "os_family": "RedHat", "os": "Rocky", "osmajorrelease": 9}
    machine.installed = {"openssl": "3"}
    ret = machine.follow(web, needs(["base", "chrony"], ["openssl"]))
    assert ret["result"] is False
    assert "no chrony, which components of this machine need and no openssl" in ret["comment"]
    assert machine.is_untouched()
    ret = machine.use(spec["home"], needs(["base", "chrony"], ["base"]))
    assert ret["result"] is False
    assert "no chrony" in ret["comment"]
    assert machine.use(spec["home"], needs(["base"]))["result"] is True


def test_the_repository_of_the_parameters_is_compared_with_the_components(modules):
    given = {
        "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
        "infra_packaging": "distro",
        **dict.fromkeys(
            ("grafana_enabled", "vlogs_enabled", "vtraces_enabled", "vector_enabled"), False
        ),
    }
    for sls, state in (("infra.repo", "infra-repo-packages-used"),
                       ("infra.node.repo", "infra-node-repo-defined")):  # fmt: skip
        for check in (True, False):
            pillar = {"infra": {**given, "repo_remove_check": check}}
            low = {c["__id__"]: c for c in modules.state.show_low_sls(sls, pillar=pillar)}[state]
            assert ("needs" in low) is check
            if check:
                assert {"dnsmasq-base", "nginx-light", "chrony"} <= set(low["needs"]["required"])
                assert {"nginx-light", "openssl", "sudo"} <= set(low["needs"]["secured"])


CLOSURE = {
    # What packages of the default lists bring along.
    *("dnsmasq-base", "gpg", "nginx-light"),
    # The tools are installed before the repository is built.
    *("apt-utils", "gnupg", "gpgv", "createrepo_c", "gnupg2", "rpm-sign"),
}


@pytest.mark.parametrize("packaging", ["upstream", "distro"])
@pytest.mark.parametrize("code", ["d12", "d13", "u24"])
def test_the_default_lists_have_what_a_site_needs(packaging, code, modules):
    given = {"infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
             "infra_packaging": packaging, "repo_targets": [f"{code}.x86_64"]}  # fmt: skip
    if packaging == "distro":
        given |= dict.fromkeys(
            ("grafana_enabled", "vlogs_enabled", "vtraces_enabled", "vector_enabled"), False
        )
    low = {
        c["__id__"]: c for c in modules.state.show_low_sls("infra.repo", pillar={"infra": given})
    }
    request = low["infra-repo-packages-published"]["request"]
    (target,) = catalogue.plan({**request, "name": "pigsty", "home": "/www"})["targets"]
    wanted = low["infra-repo-packages-used"]["needs"]
    assert not {*wanted["required"], *wanted["secured"]} - {*target["names"], *CLOSURE}
