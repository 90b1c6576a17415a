"""salt-ssh: an INFRA node and a client that have no Salt, by a real sshd.

One lab goes through the tests of this file in their order. The machine `admin` has the formula and
the roster, and runs salt-ssh as docs/getting-started.md has it.
"""

import json

import pytest
from authority import authority
from lab.applied import Applied
from lab.suites import MachineSpec
from vendors import DISTRO

pytestmark = pytest.mark.soak
TARGETS = {"infra-1": "10.10.10.10", "node-1": "10.10.10.21"}
MASTER = {"file_roots": {"base": ["/srv/salt"]}, "pillar_roots": {"base": ["/srv/pillar"]}}
INSTALL = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy"]


@pytest.fixture(scope="module", params=[None, "3006", "3007"])
def site(request, boot_lab, tmp_path_factory):
    """Two targets with an sshd and without Salt, and the machine that reaches them."""
    machines = [MachineSpec("admin", "10.10.10.2")]
    machines += [MachineSpec(name, address) for name, address in TARGETS.items()]
    pillar = {
        "infra": {
            "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
            **DISTRO,
            "repo_enabled": False,
            "node_repo_modules": "",
            "node_repo_remove": False,
            "node_default_packages": ["tree"],
            "nginx_users": {"admin": "s3cret"},
            **authority(tmp_path_factory.mktemp("ca")),
        }
    }
    lab = boot_lab(pillar=pillar, machines=machines, salt=request.param)
    admin = lab.machine("admin")
    for machine in lab.machines:
        packages = ["openssh-server", "python3-cryptography"]
        machine.run(["apt-get", "update", "-q"])
        machine.run([*INSTALL, *(["openssh-client"] if machine is admin else packages)])
    admin.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519"])
    key = admin.read("/root/.ssh/id_ed25519.pub")
    roster = {}
    for name, address in TARGETS.items():
        machine = lab.machine(name)
        machine.write("/root/.ssh/authorized_keys", key, 0o600)
        machine.run(["mv", "/opt/salt", "/opt/unused"])
        machine.run(["sh", "-c", "umount /srv/salt/* || true"])
        roster[name] = {"host": address, "user": "root", "priv": "/root/.ssh/id_ed25519"}
    admin.write("/etc/salt/master", json.dumps(MASTER) + "\n")
    admin.write("/etc/salt/roster", json.dumps(roster) + "\n")
    return admin


def apply(admin, target, *words):
    """What `salt-ssh TARGET state.apply infra` did."""
    command = ["salt-ssh", "-i", "--out=json", "--static", target, "state.apply", "infra"]
    done = admin.run([*command, *words], check=False, timeout=900)
    try:
        answer = json.loads(done.stdout)[target]
    except (ValueError, KeyError):
        raise AssertionError(done.stdout[-3000:] + done.stderr[-3000:]) from None
    return Applied.of(answer.get("return", answer) if isinstance(answer, dict) else answer)


@pytest.mark.parametrize("target", TARGETS)
def test_a_preview_fails_nowhere_and_changes_nothing(site, target):
    told = apply(site, target, "test=True")
    assert told.ok, told.complaint()
    assert told.changes


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_without_salt_becomes_what_its_pillar_says(site, target):
    done = apply(site, target)
    assert done.ok, done.complaint()
    assert done.changes


@pytest.mark.parametrize("target", TARGETS)
def test_a_second_run_changes_nothing(site, target):
    done = apply(site, target)
    assert done.ok, done.complaint()
    assert done.changes == {}
