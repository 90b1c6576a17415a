"""The repository among machines: built on one, installed from on others that reach nothing else."""

import json

import pytest
from lab import MachineSpec, aptconf
from lab.paths import CHECKOUT
from vendors import DISTRO

WANTED = [
    "nginx",
    "dnsmasq",
    "chrony",
    "victoria-metrics",
    "prometheus-alertmanager",
    "prometheus-blackbox-exporter",
    "prometheus-nginx-exporter",
    "prometheus-node-exporter",
    "haproxy",
    "certbot",
]
RELEASES = {"d12.x86_64": (12, "bookworm"), "d13.x86_64": (13, "trixie")}
# What an INFRA node of this pillar needs besides, to be installed from nothing but the repository.
NODE = ["infra-distro", "node-distro"]


def upstreams():
    """The archives that this host itself uses, as upstream definitions."""
    return aptconf.upstreams(dict(RELEASES.values()))


def pillar(**changes):
    return {
        "infra": {
            "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
            **DISTRO,
            "repo_enabled": True,
            "repo_modules": "node",
            "repo_upstream": upstreams(),
            "repo_packages": WANTED + NODE,
            "repo_extra_packages": [],
            "repo_targets": list(RELEASES),
            **changes,
        }
    }


@pytest.fixture(scope="module")
def lab(boot_lab):
    return boot_lab(
        pillar=pillar(),
        machines=[
            MachineSpec("infra-1", "10.10.10.10", platform="debian-12"),
            MachineSpec("client-12", "10.10.10.12", internet=False, platform="debian-12"),
            MachineSpec("client-13", "10.10.10.13", internet=False, platform="debian-13"),
            MachineSpec("offline", "10.10.10.14", internet=False, platform="debian-12"),
        ],
    )


@pytest.fixture(scope="module")
def infra(lab):
    """An INFRA node with the repository built and the web server up."""
    machine = lab.machine("infra-1")
    machine.apply("infra.repo")
    machine.apply("infra.ca,infra.nginx")
    return machine


def repo_uris(machine):
    """Where apt gets packages from."""
    return set(machine.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"]).stdout.split())


def sleeping(machine):
    """Keep what is installed from starting; the packages are what is tested."""
    machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)


def test_the_repository_is_built_for_two_releases_on_one_node(infra):
    built = infra.salt_call("infra_repo.status")
    assert built["complete"] is True
    assert built["problems"] == []
    assert built["targets"] == list(RELEASES)
    assert built["packages"] > 200
    assert built["signature"]["problems"] == []
    assert all(upstream["verified"] for upstream in built["upstreams"])


def test_a_second_apply_changes_nothing(infra):
    again = infra.apply("infra.repo")
    assert not again.changes, again.changes


def test_the_node_itself_installs_from_it_alone(infra):
    assert repo_uris(infra) == {"file:/www/pigsty/"}
    infra.run(["apt-get", "update", "-q"])
    assert "file:/" in infra.run(["apt-cache", "policy", "certbot"]).stdout


@pytest.mark.parametrize("name", ["client-12", "client-13"])
def test_a_machine_without_any_other_source_installs_all_of_it(name, lab, infra):
    client = lab.machine(name)
    codename = {"client-12": "bookworm", "client-13": "trixie"}[name]
    # No route out, no other source.
    assert client.run(["ip", "route", "get", "192.0.2.1"], check=False).returncode != 0
    client.run(["sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*"])
    definition = "pigsty" if codename == "bookworm" else f"pigsty-{codename}"
    client.run(
        ["curl", "-fsS", "-o", "/etc/apt/sources.list.d/pigsty.sources",
         f"http://10.10.10.10/{definition}.sources"]
    )  # fmt: skip
    assert "Trusted" not in client.read("/etc/apt/sources.list.d/pigsty.sources")
    updated = client.run(["apt-get", "update", "-q"])
    assert "http://10.10.10.10/pigsty" in updated.stdout
    assert not [line for line in updated.stderr.splitlines() if line.startswith(("W:", "E:"))]
    sleeping(client)
    client.run(
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y",
         "--no-install-recommends", *WANTED]
    )  # fmt: skip
    installed = client.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).stdout
    for package in WANTED:
        assert f"{package} installed\n" in installed


def test_a_changed_byte_is_refused_by_the_client_and_named_by_verify(lab, infra):
    client = lab.machine("client-12")
    found = infra.run(["sh", "-c", "ls /www/pigsty/pool/bookworm/h/haproxy_*"]).stdout.strip()
    infra.run(["cp", "--", found, "/root/good"])
    infra.run(["sh", "-c", f"printf x | dd of={found} bs=1 seek=5000 conv=notrunc"])
    client.run(["apt-get", "clean"])
    refused = client.run(
        ["apt-get", "install", "-y", "--reinstall", "--download-only", "haproxy"], check=False
    )
    assert refused.returncode != 0
    assert "Hash Sum mismatch" in refused.stderr + refused.stdout
    checked = infra.salt_call("infra_repo.verify")
    assert any("haproxy_" in problem for problem in checked["problems"])
    repaired = infra.apply("infra.repo")
    assert "infra-repo-packages-published" in str(repaired.changes)
    assert infra.salt_call("infra_repo.verify")["problems"] == []
    client.run(["apt-get", "update", "-q"])
    client.run(["apt-get", "install", "-y", "--reinstall", "--download-only", "haproxy"])


def test_packed_on_one_machine_and_unpacked_on_another_without_network(lab, infra, tmp_path):
    packed = infra.salt_call("infra_repo.pack", "version=v4.5.0", "folder=/root")
    assert packed["archive"] == "/root/pigsty-pkg-v4.5.0.d12.x86_64.tgz"
    offline = lab.machine("offline")
    # The archive travels as people carry it: as a file.
    served = infra.run(["sh", "-c", f"ln -f {packed['archive']} /www/pkg.tgz"])
    assert served.returncode == 0
    # Where Pigsty's users put it; root did, so it is taken when it is asked for.
    offline.run(["curl", "-fsS", "-o", "/tmp/pkg.tgz", "http://10.10.10.10/pkg.tgz"])
    infra.run(["rm", "/www/pkg.tgz"])
    offline.run(["ip", "route", "add", "blackhole", "10.10.10.10/32"])
    mine = pillar(
        infra_hosts={"10.10.10.14": {"infra_seq": 1}},
        admin_ip="10.10.10.14",
        repo_archive="/tmp/pkg.tgz",
        repo_archive_checksum=f"sha256:{packed['sha256']}",
    )
    offline.set_pillar(mine)
    planned = offline.apply("infra.repo", test=True)
    assert planned.ok
    offline.apply("infra.repo")
    status = offline.salt_call("infra_repo.status")
    assert (status["complete"], status["origin"]) == (True, "unpacked")
    assert repo_uris(offline) == {"file:/www/pigsty/"}
    offline.apply("infra")
    page = offline.run(["curl", "-fsS", "http://10.10.10.14/pigsty.sources"]).stdout
    assert "URIs: http://10.10.10.14/pigsty" in page
    assert not offline.apply("infra.repo").changes


HOSTILE = """\
set -e
cd "$(mktemp -d)"
mkdir -p package/DEBIAN pigsty
printf '%s\\n' 'Package: nginx' 'Version: 99:1' 'Architecture: all' 'Maintainer: M <m@e.org>' \
    'Description: evil' > package/DEBIAN/control
dpkg-deb --root-owner-group -b package pigsty/nginx_99_all.deb
(cd pigsty && apt-ftparchive packages . > Packages && sha256sum nginx_99_all.deb > repo_complete)
tar -czf /tmp/pkg.tgz pigsty
"""


def test_a_local_user_cannot_put_a_repository_in_place(lab, infra):
    """What a user of the machine leaves is refused by name; a signed repository stays."""

    def seen():
        status = infra.salt_call("infra_repo.status")
        sources = infra.run(["cat", "/www/pigsty.sources", "/www/pigsty-local.sources"]).stdout
        assert "nginx_99" not in infra.run(["find", "/www/", "-name", "*.deb"]).stdout
        assert "Trusted" not in sources
        return status["path"], status["signature"], sources

    before = seen()
    infra.run(["useradd", "--create-home", "mallory"])
    infra.write("/usr/local/bin/hostile", HOSTILE)
    infra.run(["runuser", "-u", "mallory", "--", "sh", "/usr/local/bin/hostile"])
    # By default, nobody looks for it there.
    assert not infra.apply("infra.repo").changes
    assert seen() == before
    asked = {"infra": {"repo_archive": "/tmp/pkg.tgz"}}
    refused = infra.apply("infra.repo", pillar=asked, check=False)
    assert not refused.ok
    assert "/tmp/pkg.tgz is not trusted: it belongs to mallory" in refused.complaint()
    assert seen() == before
    # Given to root by somebody who did not look: a signed repository is replaced by name only.
    infra.run(["chown", "root:", "/tmp/pkg.tgz"])
    refused = infra.apply("infra.repo", pillar=asked, check=False)
    assert not refused.ok
    assert "repo_archive_unsigned: true" in refused.complaint()
    assert seen() == before
    client = lab.machine("client-12")
    client.run(["apt-get", "update", "-q"])
    assert "99:1" not in client.run(["apt-cache", "policy", "nginx"]).stdout
    infra.run(["rm", "/tmp/pkg.tgz"])
    infra.run(["userdel", "--remove", "mallory"])
    assert not infra.apply("infra.repo").changes


def test_the_commands_of_the_document_do_what_it_says(infra):
    text = (CHECKOUT / "docs" / "repository.md").read_text(encoding="utf-8")
    commands = [
        line.partition("#")[0].split() for line in text.splitlines() if line.startswith("salt-call")
    ]
    assert len(commands) == 9
    for command in commands[:-1]:
        infra.run([*command, "--local", "--retcode-passthrough"], timeout=600)
    # The last one is the way back; see the next test.
    assert commands[-1][:3] == ["salt-call", "state.apply", "infra.repo.clean"]


def test_the_other_sources_come_back_with_one_state(infra):
    own = {source.uri.rstrip("/") + "/" for source in aptconf.for_release("bookworm")}
    infra.apply("infra.repo.clean", pillar={"infra": {"infra_safeguard": False}})
    assert repo_uris(infra) == own
    assert infra.salt_call("infra_repo.status")["complete"] is True
    # A repository that apt cannot use must not leave the machine without any.
    index = "/www/pigsty/dists/bookworm/InRelease"
    infra.run(["cp", index, "/root/InRelease"])
    infra.run(["sed", "-i", "s/^Suite: bookworm/Suite: elsewhere/", index])
    refused = infra.salt_call("state.single", "infra_repo.used", "pigsty", check=False)
    (result,) = refused.values()
    assert result["result"] is False
    assert "the sources were restored" in result["comment"]
    infra.run(["apt-get", "update", "-q"])
    assert repo_uris(infra) == own


def test_progress_reaches_the_master_as_events(boot_lab):
    lab = boot_lab(
        "fleet",
        pillar=pillar(repo_packages=["chrony"], repo_targets=["d12.x86_64"], repo_remove=False),
        machines=[MachineSpec("infra-1", "10.10.10.10", platform="debian-12")],
    )
    machine = lab.machine("infra-1")
    listen = ["salt-run", "state.event", "tagmatch=infra/repo/*"]
    ear = ["systemd-run", "--unit=listen", "-p", "StandardOutput=file:/root/events", *listen]
    lab.master.run(ear)
    while not lab.master.read("/root/events"):
        machine.salt_call("event.send", "infra/repo/listening")
    applied = machine.apply("infra.repo", timeout=600)
    assert any("packages-published" in title for title in applied.changes)
    wait = "until grep -q '\"finished\": true' /root/events; do sleep 0.2; done"
    lab.master.run(["sh", "-c", wait])
    events = [line for line in lab.master.read("/root/events").splitlines() if "/progress" in line]
    data = json.loads(events[-1].partition("{")[1] + events[-1].partition("{")[2])["data"]
    assert data["done"] == data["total"] > 0
    assert data["rate"] > 0


def test_a_full_disk_is_told_and_the_next_apply_makes_it_good(boot_lab):
    machine = boot_lab(
        pillar=pillar(repo_packages=["chrony"], repo_targets=["d12.x86_64"], repo_remove=False)
    ).machine("infra-1")
    machine.run(["mkdir", "/data"])
    machine.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", "/data"])
    full = machine.apply("infra.repo", check=False)
    assert not full.ok
    assert "MiB are still to be fetched" in full.complaint()
    assert machine.run(["ls", "/www/pigsty/repo_complete"], check=False).returncode != 0
    machine.run(["mount", "-o", "remount,size=2g", "/data"])
    machine.apply("infra.repo")
    assert machine.salt_call("infra_repo.status")["complete"] is True
