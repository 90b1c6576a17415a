"""Resolvers of a machine whose resolv.conf is owned by somebody, on real machines."""

import re

import pytest
from lab import aptconf
from lab.suites import MachineSpec
from vendors import DISTRO

PILLAR = {
    "infra": {
        "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
        **DISTRO,
        "repo_enabled": False,
    }
}


@pytest.fixture(scope="module")
def lab(boot_lab):
    lab = boot_lab(
        pillar=PILLAR,
        machines=[
            MachineSpec("infra-1", "10.10.10.10"),
            MachineSpec("resolved", "10.10.10.31"),
            MachineSpec("managed", "10.10.10.32"),
            MachineSpec("plain", "10.10.10.33"),
        ],
    )
    lab.machine("infra-1").apply("infra.dns")
    return lab


def install(machine, package):
    machine.run(["apt-get", "update", "-q"])
    machine.run(
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
         "--no-install-recommends", package],
        timeout=300,
    )  # fmt: skip


def client(machine):
    """Apply the resolver alone, twice; a client's other parts wait for a repository."""
    first = machine.apply("infra.node.resolver", check=False)
    state = next(s for s in first.values() if s["__id__"] == "infra-node-resolver-configured")
    assert state["result"] is True, state["comment"]
    again = machine.apply("infra.node.resolver", check=False)
    state = next(s for s in again.values() if s["__id__"] == "infra-node-resolver-configured")
    assert state["changes"] == {}
    return state["comment"]


def nameservers(machine):
    return re.findall(r"^nameserver (\S+)", machine.read("/etc/resolv.conf"), re.MULTILINE)


def test_a_plain_resolv_conf_is_written_and_can_be_given_back(lab):
    machine = lab.machine("plain")
    before = nameservers(machine)
    client(machine)
    assert nameservers(machine) == ["10.10.10.10", *before][:3]
    assert machine.run(["getent", "ahostsv4", "g.pigsty"]).stdout.split()[0] == "10.10.10.10"
    removal = {"infra_safeguard": False, "infra_remove": ["service", "config"]}
    machine.apply("infra.node.clean", pillar={"infra": removal}, check=False)
    assert nameservers(machine) == before


def test_systemd_resolved_is_told(lab):
    machine = lab.machine("resolved")
    install(machine, "systemd-resolved")
    machine.run(["systemctl", "enable", "--now", "systemd-resolved"])
    machine.run(["ln", "-sf", "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"])
    assert "systemd-resolved" in client(machine)
    assert nameservers(machine) == ["127.0.0.53"]
    assert "10.10.10.10" in machine.run(["resolvectl", "dns"]).stdout
    assert machine.run(["getent", "ahostsv4", "g.pigsty"]).stdout.split()[0] == "10.10.10.10"


def test_networkmanager_is_told(lab):
    machine = lab.machine("managed")
    install(machine, "network-manager")
    # It is to own resolv.conf, and to leave the lab's own network card alone.
    machine.write(
        "/etc/NetworkManager/conf.d/lab.conf",
        "[main]\ndns=default\nrc-manager=symlink\n"
        "[keyfile]\nunmanaged-devices=interface-name:*,except:type:dummy\n",
    )
    machine.run(["systemctl", "restart", "NetworkManager"])
    machine.run(
        ["nmcli", "connection", "add", "type", "dummy", "ifname", "dummy0", "ipv4.method",
         "manual", "ipv4.addresses", "10.77.0.1/24", "ipv4.dns", "10.10.10.99"]
    )  # fmt: skip
    machine.run(["rm", "-f", "/etc/resolv.conf"])
    machine.run(["ln", "-s", "/run/NetworkManager/resolv.conf", "/etc/resolv.conf"])
    machine.run(["systemctl", "reload", "NetworkManager"])
    assert "NetworkManager" in client(machine)
    assert nameservers(machine)[0] == "10.10.10.10"
    assert len(nameservers(machine)) <= 3
    assert machine.run(["getent", "ahostsv4", "g.pigsty"]).stdout.split()[0] == "10.10.10.10"


def test_a_client_may_take_its_packages_from_upstream(lab):
    """`node_repo_modules: node`: the upstreams' own archives, instead of those of the machine."""
    machine = lab.machine("plain")
    upstreams = aptconf.upstreams({12: "bookworm"})
    given = {**PILLAR["infra"], "node_repo_modules": "node", "repo_upstream": upstreams}
    machine.set_pillar({"infra": given})
    machine.apply("infra.node.repo")
    assert machine.apply("infra.node.repo").changes == {}
    files = machine.run(
        ["apt-get", "indextargets", "--format", "$(SOURCESENTRY)", "Created-By: Packages"]
    ).stdout
    assert set(re.findall(r"sources\.list\.d/(\S+?):", files)) == {
        f"infra-{upstream['name']}.sources" for upstream in upstreams
    }
    machine.run(["apt-get", "install", "-y", "--no-install-recommends", "tree"])
    machine.set_pillar({"infra": {**given, "node_repo_remove": False}})
    machine.apply("infra.node.repo")
    files = machine.run(["apt-get", "indextargets", "--format", "$(SOURCESENTRY)"]).stdout
    assert "/etc/apt/sources.list" in re.sub(r"infra-\S+", "", files)
