"""An upgrade of a running site: one `salt '*' state.apply infra` from an earlier release.

The site is a master, two INFRA nodes and two clients without internet. The minions are the
processes that ran the earlier release. `make test` runs this on the tests' own release of Salt,
`make soak` on the others too. One lab goes through the tests of this file in their order.

The earlier release is the state tree of commit d49a589, as an archive (275 kB), because a checkout
may have no history.
"""

import fnmatch
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from authority import authority
from lab import aptconf, fleet, paths
from lab.applied import Applied
from machine_state import Before, differences, look, services
from vendors import DISTRO

HERE = Path(__file__).parent
COMMIT = "d49a589"
ARCHIVE = HERE / f"release-{COMMIT}.tar.xz"
FOLDERS = ("infra", "_modules", "_states", "_runners")
INFRA = {"infra-1": "10.10.10.10", "infra-2": "10.10.10.11"}
CLIENTS = {"node-1": "10.10.10.21", "node-2": "10.10.10.22"}
PROPERTIES = "Id,InvocationID,NRestarts,MainPID,ActiveEnterTimestampMonotonic"
RUNNING = ["systemctl", "show", f"--property={PROPERTIES},ActiveState", "*.service", "*.timer"]
REMOVAL = {"infra_safeguard": False, "infra_remove": ["service", "config", "package", "data"]}


@pytest.fixture(scope="module", params=[None, *(pytest.param(release, marks=pytest.mark.soak)
                                                for release in ("3006", "3007"))])  # fmt: skip
def salt_release(request):
    """The machines' release of Salt; None is the one of test/requirements.txt."""
    return request.param


@pytest.fixture(scope="module")
def pillar(tmp_path_factory):
    return {
        "infra": {
            "infra_hosts": {
                address: {"infra_seq": number} for number, address in enumerate(INFRA.values(), 1)
            },
            **DISTRO,
            "repo_modules": "node",
            "repo_upstream": aptconf.upstreams({12: "bookworm"}),
            "repo_packages": ["infra-distro", "node-distro", "tree", "haproxy"],
            "repo_extra_packages": [],
            "node_default_packages": ["tree"],
            "dns_records": ["10.10.10.21 db.pigsty"],
            "dns_wildcards": {"apps.pigsty": "${admin_ip}"},
            "dns_cnames": {"www.pigsty": "i.pigsty"},
            "haproxy_enabled": True,
            "nginx_users": {"admin": "s3cret"},
            "infra_portal": {
                "home": {"domain": "i.pigsty"},
                "docs": {"domain": "docs.pigsty", "path": "/www/docs"},
                "app": {"domain": "app.pigsty", "endpoint": "10.10.10.21:8080", "auth": True},
            },
            **authority(tmp_path_factory.mktemp("ca")),
        }
    }


@pytest.fixture(scope="module")
def site(boot_lab, pillar, salt_release, tmp_path_factory):
    """The running site of the earlier release, and what it was before and is now."""
    tree = tmp_path_factory.mktemp("tree")
    (tree / "_utils").mkdir()  # the earlier release has none
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tree)  # noqa: S202
    lab = boot_lab("fleet", pillar=pillar, tree=tree, salt=salt_release)
    if salt_release:
        # The earlier release issues certificates on 3006 and 3007 with this only.
        for minion in lab.minions:
            minion.write("/etc/salt/minion.d/features.conf", "features: {x509_v2: true}\n")
            minion.run(["systemctl", "restart", "salt-minion"])
        fleet.start(lab.minions, lab.master)
    return Site(lab, tree)


class Site:
    """The site before, on the earlier release and on this one."""

    def __init__(self, lab, tree):
        self.lab, self.tree = lab, tree
        self.machines = {name: lab.machine(name) for name in (*INFRA, *CLIENTS)}
        self.bare = {name: Before(machine) for name, machine in self.machines.items()}
        self.earlier = self.apply()
        self.disks = {name: look(machine) for name, machine in self.machines.items()}
        self.running = {name: running(machine) for name, machine in self.machines.items()}

    def apply(self, state="infra", **infra):
        """Apply a state on all minions by one command; returns what it did on each."""
        words = [f"pillar={json.dumps({'infra': infra})}"] if infra else []
        answers = self.lab.salt("--timeout=600", "*", "state.apply", state, *words, check=False)
        return {name: Applied.of(answers.get(name)) for name in self.machines}

    def upgrade(self):
        """Put this release in the place of the earlier one as docs/operating.md says; apply."""
        for name in (*FOLDERS, "_utils"):
            folder = self.tree / name
            for entry in folder.iterdir():  # the folder itself is what the master has mounted
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(paths.CHECKOUT / name, folder, dirs_exist_ok=True, ignore=ignored)
        self.lab.master.run(["salt-run", "fileserver.clear_file_list_cache"])
        return self.apply()


def running(machine):
    """Units that are active, and what tells one start of them from another."""
    blocks = machine.run(RUNNING).stdout.split("\n\n")
    units = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    return {unit.pop("Id"): unit for unit in units if unit["ActiveState"] == "active"}


def failures(applied):
    return {name: done.complaint() for name, done in applied.items() if not done.ok}


def changes(applied):
    return {name: done.changes for name, done in applied.items() if done.changes}


@pytest.fixture(scope="module")
def upgraded(site):
    return site.upgrade()


def test_the_archive_is_the_earlier_release():
    """Where the history is there."""
    git = ["git", "-C", str(paths.CHECKOUT)]
    if subprocess.run([*git, "cat-file", "-e", COMMIT], capture_output=True).returncode != 0:
        return
    made = subprocess.run([*git, "archive", COMMIT, *FOLDERS], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as one, tarfile.open(ARCHIVE) as other:
        assert contents(one) == contents(other)


def contents(archive):
    return {m.name: (m.mode, archive.extractfile(m).read() if m.isfile() else b"") for m in archive}


def test_the_earlier_release_made_the_site(site):
    assert failures(site.earlier) == {}


def test_one_command_upgrades_every_minion(site, upgraded):
    assert failures(upgraded) == {}


RESTARTED = {"dnsmasq.service"}
"""It reads only when it starts that names known here are answered here (``servers-file``)."""


def test_nothing_was_restarted_that_need_not_be(site, upgraded):
    for name, machine in site.machines.items():
        now, before = running(machine), site.running[name]
        restarted = {unit for unit, then in before.items() if now.get(unit) != then}
        assert restarted <= RESTARTED, name
        assert restarted <= now.keys(), name  # and runs again


def test_only_the_files_that_have_to_change_do(site, upgraded):
    reasons = yaml.safe_load((HERE / "upgraded.yaml").read_text(encoding="utf-8"))
    patterns = [pattern for row in reasons for pattern in row["paths"]]
    unexplained = []
    for name, machine in site.machines.items():
        before, after = site.disks[name], look(machine)
        unexplained += [
            f"{name}: {path}: {before.get(path)} -> {after.get(path)}"
            for path in sorted(differences(before, after))
            if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
        ]
    assert not unexplained, "\n".join(unexplained)


def test_the_next_apply_installs_what_the_repository_did_not_have(site, upgraded):
    """The repository of the earlier release has no nftables, and clients have no other source."""
    again = site.apply()
    assert failures(again) == {}
    confined = "infra-firewall-services-confined (infra_firewall.confined)"
    # What an INFRA node published in the first apply, its clients may have asked for just before.
    published = "infra-node-repo-defined (infra_node.repository)"
    assert {name: set(changed) - {published} for name, changed in changes(again).items()} == {
        name: {confined} for name in CLIENTS
    }
    for name in CLIENTS:
        (state,) = [s for s in upgraded[name].values()
                    if s["__id__"] == "infra-firewall-services-confined"]  # fmt: skip
        assert "nftables cannot be installed" in " ".join(state["warnings"])


def test_a_further_apply_changes_nothing(site, upgraded):
    again = site.apply()
    assert failures(again) == {}
    assert changes(again) == {}


def test_a_removal_leaves_nothing_of_either_release(site, upgraded):
    refused = site.apply("infra.clean", **REMOVAL)
    named = [why.split("infra_remove_confirm: [")[1].split("]")[0]
             for done in refused.values() for why in done.failed.values()]  # fmt: skip
    confirmed = sorted({path for paths in named for path in paths.split(", ")})
    done = site.apply("infra.clean", **REMOVAL, infra_remove_confirm=confirmed)
    assert failures(done) == {}
    left = {name: bare.left() for name, bare in site.bare.items()}
    assert left == {name: [] for name in site.machines}
    units = {name: services(bare.machine) ^ bare.units for name, bare in site.bare.items()}
    assert units == {name: set() for name in site.bare}
