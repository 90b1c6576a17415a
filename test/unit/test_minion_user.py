"""The formula needs a minion that runs as root; another one is refused by name."""

import pytest
from infra_formula.minion import Minion
from infra_formula.parameters import validation

HOSTS = {"infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}}
GRAINS = {"id": "node-1", "os_family": "Debian", "ipv4": ["10.10.10.21"], "ipv6": []}


def check(**grains):
    return validation.check(Minion({}, {"id": "node-1"}, {**GRAINS, **grains}, {}), HOSTS)


def test_a_minion_of_another_user_is_refused():
    assert check(uid=65534, username="nobody")["errors"] == [
        "user: expected a salt-minion that runs as root, got nobody; remove `user` from its "
        "configuration and restart it"
    ]


@pytest.mark.parametrize("grains", [{"uid": 0, "username": "root"}, {}])
def test_a_minion_of_root_is_accepted(grains):
    assert check(**grains)["errors"] == []
