"""The portal behind a real ufw and a real firewalld."""

import pytest
from test_portal import ADDRESS, STATES, Portal

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
