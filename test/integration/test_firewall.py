"""The portal behind a real ufw and a real firewalld."""

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
