"""The way back of everything: an INFRA node and a client are, at the end, what they were before.

The whole disk is looked at before the first apply and after the last; one lab goes through the
tests of this file in their order. The programs are Debian's own.
"""

import json

import pytest
from lab.suites import MachineSpec
from machine_state import Before, services
from vendors import DISTRO
from waiting import eventually

pytestmark = pytest.mark.soak
ALLOWED = {"infra_safeguard": False}
EVERYTHING = {**ALLOWED, "infra_remove": ["service", "config", "package", "data"]}
PILLAR = {
    "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
    **DISTRO,
    "infra_portal": {
        "home": {"domain": "i.pigsty"},
        "docs": {"domain": "docs.pigsty", "path": "/www/docs"},
    },
    "nginx_users": {"admin": "s3cret"},
    "node_repo_modules": "",
    "node_repo_remove": False,
    "node_default_packages": ["tree"],
    "node_timezone": "Asia/Shanghai",
    # One package is enough to have a repository to remove.
    "repo_remove": False,
    "repo_packages": ["tree"],
    "repo_extra_packages": [],
}
CHRONY = "# somebody's own\npool 10.10.10.1 iburst\n"


class Site:
    """An INFRA node, a client, and what both were before."""

    def __init__(self, lab):
        self.lab = lab
        self.infra, self.node = lab.machine("infra-1"), lab.machine("node-1")
        self.before = {m.name: Before(m) for m in lab.machines}

    def salt(self, target, state, test=False, **infra):
        """Apply a state; returns the states that ran, by their ids."""
        machine = self.lab.machine(target)
        done = machine.apply(state, test=test, pillar={"infra": infra}, check=False)
        assert not done.errors, done.errors
        return {state["__id__"]: state for state in done.values()}


def failed(states):
    return [s["comment"] for s in states.values() if s["result"] is False]


def changes(states):
    """What each state changed or would change, without the outcome of a command."""
    return {
        i: sorted(s["changes"])
        for i, s in states.items()
        if s["changes"] and not i.endswith("trust-updated-without")
    }


def told_the_truth(machine, told, done):
    """What was done was told; what was told and not done by a state of its own is gone as well."""
    before, after = ({name for names in changes(each).values() for name in names}
                     for each in (told, done))  # fmt: skip
    assert after - before == set()
    paths = [name for name in before - after if name.startswith("/")]
    there = machine.run(["ls", "-d", "/", *paths], check=False).stdout.split()
    assert there == ["/"], [state["comment"] for state in done.values()][-1]


@pytest.fixture(scope="module")
def site(boot_lab):
    """An INFRA node, and a client on which somebody has a time service of his own."""
    machines = [MachineSpec("infra-1", "10.10.10.10"), MachineSpec("node-1", "10.10.10.21")]
    lab = boot_lab(pillar={"infra": PILLAR}, machines=machines)
    for machine in lab.machines:
        machine.run(["apt-get", "update", "-q"])
    node = lab.machine("node-1")
    node.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "chrony"])
    node.write("/etc/chrony/chrony.conf", CHRONY)
    node.write("/etc/default/chrony", 'DAEMON_OPTS="-x"\n')
    node.run(["systemctl", "restart", "chrony"])
    return Site(lab)


@pytest.fixture(scope="module")
def applied(site):
    for machine in site.lab.machines:
        machine.apply()
    wait_for_states(site.infra)
    return site


def wait_for_states(machine):
    """What a timer writes is there: a removal could not tell of it a moment before."""
    assert eventually(lambda: machine.run(["ls", "/www/.states"], check=False).returncode == 0)


def test_it_is_refused_while_the_safeguard_is_on(applied):
    for state in ("infra.clean", "infra.vmetrics.clean"):
        for test in (True, False):
            refused = applied.salt("infra-1", state, test=test)
            assert "infra_safeguard is on" in failed(refused)[0]
            assert changes(refused) == {}


def test_the_default_keeps_data_which_the_next_apply_takes_up(applied):
    infra = applied.infra
    line = 'kept_metric{kept="yes"} 42'
    infra.run(
        ["curl", "-fsS", "--data-binary", line, "http://127.0.0.1:8428/api/v1/import/prometheus"]
    )
    infra.run(["curl", "-fsS", "http://127.0.0.1:8428/internal/force_flush"])
    authority = infra.read("/etc/pki/ca.crt")
    told = applied.salt("infra-1", "infra.clean", test=True, **ALLOWED)
    done = applied.salt("infra-1", "infra.clean", **ALLOWED)
    assert failed(told) == failed(done) == []
    assert "infra-vmetrics-service-removed" in changes(done)
    told_the_truth(infra, told, done)
    assert changes(applied.salt("infra-1", "infra.clean", **ALLOWED)) == {}
    assert infra.run(["ls", "/etc/nginx/nginx.conf", "/usr/bin/vmalert"]).returncode == 0
    assert infra.run(["systemctl", "is-active", "vmetrics"], check=False).returncode != 0
    assert not {"vmetrics.service", "nginx.service"} & services(infra)

    again = applied.salt("infra-1", "infra")
    assert failed(again) == []
    wait_for_states(infra)
    query = "http://127.0.0.1:8428/api/v1/query?query=last_over_time(kept_metric[1h])"
    found = infra.run(["curl", "-fsSg", query]).stdout
    assert [r["value"][1] for r in json.loads(found)["data"]["result"]] == ["42"]
    assert infra.read("/etc/pki/ca.crt") == authority


def test_data_goes_only_if_it_is_named(applied):
    refused = applied.salt("infra-1", "infra.clean", **EVERYTHING)
    assert changes(refused) == {}
    assert len(failed(refused)) == 1
    assert "/data/infra/metrics" in failed(refused)[0]
    assert "/etc/pki/ca" in failed(refused)[0]
    metrics = {**EVERYTHING, "infra_remove_confirm": ["/data/infra/metrics"]}
    assert "/www/pigsty" in failed(applied.salt("infra-1", "infra.clean", **metrics))[0]
    applied.infra.run(["systemctl", "is-active", "vmetrics"])


@pytest.mark.parametrize("name", ["node-1", "infra-1"])
def test_everything_removed_it_is_the_machine_of_before(applied, name):
    machine = applied.lab.machine(name)
    refused = failed(applied.salt(name, "infra.clean", test=True, **EVERYTHING))
    assert bool(refused) == (name == "infra-1")  # a client has no data to confirm
    named = (why.split("infra_remove_confirm: [")[1].split("]")[0] for why in refused)
    paths = sorted({path for each in named for path in each.split(", ")})
    asked = {**EVERYTHING, "infra_remove_confirm": paths}
    told = applied.salt(name, "infra.clean", test=True, **asked)
    done = applied.salt(name, "infra.clean", **asked)
    assert failed(told) == failed(done) == []
    told_the_truth(machine, told, done)
    assert changes(applied.salt(name, "infra.clean", **asked)) == {}
    assert machine.run(["test", "-e", "/var/lib/infra"], check=False).returncode == 1
    # nft itself has gone with its package; a listener tells whether its rules have.
    machine.run(["systemd-run", "/usr/bin/python3", "-m", "http.server", "9100"])
    ask = [
        "curl",
        "-sS",
        "--retry",
        "20",
        "--retry-connrefused",
        "--retry-delay",
        "1",
        "-o",
        "/dev/null",
    ]
    applied.lab.net([*ask, f"http://{machine.address}:9100/"])
    machine.run(["sh", "-c", "systemctl stop 'run-*.service'"])
    assert services(machine) == applied.before[name].units
    if name == "node-1":
        assert machine.read("/etc/chrony/chrony.conf") == CHRONY
    assert applied.before[name].left() == []
