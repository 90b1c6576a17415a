"""The portal and the services behind a real ufw and a real firewalld, and behind none."""

import json

import pytest

from .test_portal import ADDRESS, STATES, Portal

SETUP = {
    "ufw": [["ufw", "--force", "enable"]],
    "firewalld": [["systemctl", "start", "firewalld"], ["firewall-cmd", "--set-default-zone=drop"]],
}


@pytest.fixture(scope="module", params=list(SETUP))
def guarded(request, boot_lab):
    portal = Portal(boot_lab())
    portal.machine.run(["apt-get", "update"])
    portal.machine.run(
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
         "--no-install-recommends", request.param]
    )  # fmt: skip
    for command in SETUP[request.param]:
        portal.machine.run(command)
    return portal


def test_http_and_https_get_through_and_nothing_else(guarded):
    guarded.machine.apply(STATES)
    assert guarded.get(f"http://{ADDRESS}/")[0] == 200
    assert guarded.get(f"https://{ADDRESS}/")[0] == 200
    guarded.machine.run(["systemd-run", "/opt/salt/bin/python3", "-m", "http.server", "8098"])
    shut = guarded.lab.net(
        ["curl", "--silent", "--max-time", "3", f"http://{ADDRESS}:8098/"], check=False
    )
    assert shut.returncode in (7, 28)
    assert guarded.machine.apply(STATES).changes == {}


def test_a_port_that_is_closed_again_is_opened_by_the_next_apply(guarded):
    guarded.apply(nginx_port=8085)
    assert guarded.get(f"http://{ADDRESS}:8085/")[0] == 200


def test_services_are_open_for_those_who_reach_them_and_nobody_else(guarded):
    machine = guarded.machine
    hosts = {ADDRESS: {"infra_seq": 1}, "10.10.10.11": {"infra_seq": 2}}
    machine.set_pillar({"infra": {"infra_hosts": hosts, "ca_create": False}})
    machine.apply("infra.firewall")
    firewall = machine.salt_call("infra_firewall.active")
    rules = machine.salt_call("infra_firewall.open_ports", firewall)
    assert {rule for rule in rules if rule.startswith(("8428/", "9094/"))} == {
        "8428/tcp from 10.10.10.11",
        "9094/tcp from 10.10.10.11",
        "9094/udp from 10.10.10.11",
    }
    assert {"9428/tcp from 10.0.0.0/8", "9100/tcp from 10.10.10.10"} <= set(rules)
    for port in (8428, 9428):
        machine.run(["systemd-run", "/opt/salt/bin/python3", "-m", "http.server", str(port)])
        machine.run(
            ["curl", "--silent", "--retry", "20", "--retry-connrefused", "--retry-delay", "1",
             "--output", "/dev/null", f"http://127.0.0.1:{port}/"]
        )  # fmt: skip
    ask = ["curl", "--silent", "--max-time", "3", "--output", "/dev/null"]
    # The lab's host is in the site's networks, and no INFRA node.
    assert guarded.lab.net([*ask, f"http://{ADDRESS}:9428/"], check=False).returncode == 0
    assert guarded.lab.net([*ask, f"http://{ADDRESS}:8428/"], check=False).returncode in (7, 28)
    assert machine.apply("infra.firewall").changes == {}


def table_of_ours(machine):
    return "table inet infra" in machine.run(["nft", "list", "tables"], check=False).stdout


def test_who_gets_through_is_told_from_the_rules_in_force(guarded):
    machine = guarded.machine
    machine.apply("infra.status")
    told = machine.run(["salt-call", "--local", "--out=json", "infra_status.access"]).stdout
    found = json.loads(told)["local"]
    firewall = machine.salt_call("infra_firewall.active")
    assert (found["8428/tcp"]["by"], found["8428/tcp"]["reached_by"]) == (firewall, ["10.10.10.11"])
    assert "10.0.0.0/8" in found["9428/tcp"]["reached_by"]
    assert [
        row["beyond"] + row["unknown"] for row in found.values() if row["service"] != "nginx"
    ] == ([[]] * len([row for row in found.values() if row["service"] != "nginx"]))
    # Somebody opens it to everybody.
    opened = {
        "ufw": ["ufw", "allow", "8428/tcp"],
        "firewalld": ["firewall-cmd", "--add-port=8428/tcp"],
    }
    closed = {"ufw": ["ufw", "delete", "allow", "8428/tcp"],
              "firewalld": ["firewall-cmd", "--remove-port=8428/tcp"]}  # fmt: skip
    machine.run(opened[firewall])
    told = machine.run(
        ["salt-call", "--local", "--retcode-passthrough", "--out=json", "infra_status.access"],
        check=False,
    )
    assert told.returncode != 0
    assert "any machine" in json.loads(told.stdout)["local"]["8428/tcp"]["beyond"]
    machine.run(closed[firewall])


def test_an_infra_node_that_has_gone_is_let_in_no_more(guarded):
    machine = guarded.machine
    hosts = {ADDRESS: {"infra_seq": 1}, "10.10.10.12": {"infra_seq": 2}}
    machine.set_pillar({"infra": {"infra_hosts": hosts, "ca_create": False}})
    done = machine.apply("infra.firewall")
    firewall = machine.salt_call("infra_firewall.active")
    (changes,) = done.changes.values()
    assert changes[f"{firewall} 8428/tcp from 10.10.10.11"] == "closed"
    rules = machine.salt_call("infra_firewall.open_ports", firewall)
    assert "8428/tcp from 10.10.10.12" in rules
    assert not [rule for rule in rules if rule.endswith("from 10.10.10.11")]
    assert machine.apply("infra.firewall").changes == {}
    assert not table_of_ours(machine)


def test_a_firewall_that_is_stopped_is_followed_by_a_table_and_gives_way_to_it(guarded):
    machine = guarded.machine
    firewall = machine.salt_call("infra_firewall.active")
    stop = {"ufw": ["ufw", "disable"], "firewalld": ["systemctl", "stop", "firewalld"]}
    machine.run(stop[firewall])
    ask = ["curl", "--silent", "--max-time", "3", "--output", "/dev/null"]
    assert guarded.lab.net([*ask, f"http://{ADDRESS}:8428/"], check=False).returncode == 0
    told = machine.run(["salt-call", "--local", "--out=json", "infra_status.access"], check=False)
    assert "any machine" in json.loads(told.stdout)["local"]["8428/tcp"]["beyond"]
    machine.apply("infra.firewall")
    assert table_of_ours(machine)
    assert guarded.lab.net([*ask, f"http://{ADDRESS}:8428/"], check=False).returncode in (7, 28)
    assert guarded.lab.net([*ask, f"http://{ADDRESS}:9428/"], check=False).returncode == 0
    for command in SETUP[firewall]:
        machine.run(command)
    done = machine.apply("infra.firewall")
    assert list(done.changes.values()) == [{"table inet infra": "removed"}]
    assert not table_of_ours(machine)
    assert machine.apply("infra.firewall").changes == {}


def test_everything_that_was_opened_is_closed_on_removal(guarded):
    machine = guarded.machine
    machine.apply("infra.firewall.clean", pillar={"infra": {"infra_safeguard": False}})
    firewall = machine.salt_call("infra_firewall.active")
    rules = machine.salt_call("infra_firewall.open_ports", firewall)
    assert not [rule for rule in rules if " from " in rule]
