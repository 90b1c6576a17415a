"""The demo on a fresh machine with systemd: it works there, and what it leaves is a short list.

The host is a machine of the lab, so that nothing of this machine decides: it has neither the
demo's packages nor a network of the lab's. It gets the image that is built here, since what the
demo builds lies in its cache folder alone.
"""

import fnmatch
import json
import re
from pathlib import Path

import host_look
import pytest
from lab import MachineSpec, image
from lab.paths import CHECKOUT
from lab.suites import load
from test_documents import _clone

pytestmark = pytest.mark.soak
MAY_DIFFER = {
    # Each with what it is for; none of them starts a service.
    "packages": {
        "mmdebstrap": "packages-demo.txt",
        "systemd-container": "packages-demo.txt",
        "nftables": "packages-demo.txt",
        "python3-yaml": "packages-demo.txt",
        "perl": "mmdebstrap",
        "perl-modules-*": "perl",
        "libperl5*": "perl",
        "libgdbm*": "perl",
        "libnftables1": "nftables",
        "libnftnl11": "nftables",
        "libmnl0": "nftables",
        "libjansson4": "nftables",
        "libxtables12": "nftables",
        "libedit2": "nftables",
        "libbsd0": "nftables",
        "libyaml-0-2": "python3-yaml",
        "libarchive13*": "systemd-container unpacks images with it",
        "libxml2": "libarchive13",
        "libicu*": "libarchive13",
        "libcurl*": "systemd-container",
        "libnss-systemd": "systemd-container",
        "libfdisk1": "systemd-container",
    },
    "unit files": {
        "nftables.service": "is not enabled",
        "systemd-portabled.*": "starts when somebody asks it",
        "systemd-machined.*": "starts when somebody asks it",
        "systemd-nspawn@.service": "a template",
        "systemd-importd.*": "starts when somebody asks it",
        "systemd-mountfsd.*": "starts when somebody asks it",
        "systemd-nsresourced.*": "starts when somebody asks it",
        "dbus-org.freedesktop.*": "names of the two above",
        "systemd-sysupdate*": "of systemd-container; its timers are disabled",
        "machine.slice": "of systemd-container",
        "machines.target": "of systemd-container; holds no machine",
        "var-lib-machines.mount": "of systemd-container; mounts only what is there",
    },
    "units": {"machines.target": "of systemd-container; holds no machine",
              "run-netns.mount": "of `ip netns`", "var-lib-machines.mount": "the same"},
    "mounts": {"/run/netns": "of `ip netns`, which holds names; until a reboot"},
    "etc": {
        "/etc/nftables.conf": "of nftables, which does not load it",
        "/etc/perl/*": "of perl",
        "/etc/ld.so.cache": "lists libraries",
        "/etc/systemd/system/multi-user.target.wants/machines.target": "of systemd-container",
        "/etc/dbus-1/*": "of systemd-container",
        "/etc/systemd/*import*": "of systemd-container",
    },
    "kernel": {"/proc/sys/fs/inotify/max_user_instances": "as the README says, until a reboot"},
}  # fmt: skip


def unexplained(found):
    """What differs and is not in MAY_DIFFER."""
    left = {}
    for subject, lines in found.items():
        known = MAY_DIFFER.get(subject, {})
        rest = [
            line
            for line in lines
            if not any(fnmatch.fnmatchcase(line[1:].split()[0], name) for name in known)
        ]
        if rest:
            left[subject] = rest
    return left


def look(machine):
    script = Path(host_look.__file__).read_text(encoding="utf-8")
    return json.loads(machine.run(["python3", "-"], input=script).stdout)


@pytest.fixture(params=["debian-12", "debian-13"])
def host(request, boot_lab, tmp_path):
    """A machine with a checkout, and with an address that is not one of a lab's."""
    (tmp_path / "tree").mkdir()
    spec = MachineSpec("host", "10.10.10.99")
    lab = boot_lab(machines=[spec], platform=request.param, tree=tmp_path / "tree")
    machine = lab.machine("host")
    lab.net(["ip", "address", "add", "192.0.2.1/24", "dev", "lab0"])
    machine.run(["ip", "-4", "address", "flush", "dev", "eth0"])
    machine.run(["ip", "address", "add", "192.0.2.2/24", "dev", "eth0"])
    machine.run(["ip", "route", "add", "default", "via", "192.0.2.1"])
    machine.run(["apt-get", "update", "-q"])
    machine.run(
        ["apt-get", "install", "-qy", "--no-install-recommends", "make", "systemd-timesyncd"]
    )
    machine.put(_clone(tmp_path / "clone"), "/root/formula")
    # The machine's own disk is an overlay already, on which none can be mounted.
    for folder in ("/root/.cache", "/var/lib/infra-lab"):
        machine.run(["mkdir", "-p", folder])
        machine.run(["mount", "-t", "tmpfs", "-o", "size=6g", "tmpfs", folder])
    # A container's kernel settings are read-only; those of its own network need not be.
    machine.run(["mount", "--bind", "/proc/sys/net", "/proc/sys/net"])
    machine.run(["mount", "-o", "remount,bind,rw", "/proc/sys/net"])
    built = image.ensure(load().platform(), lambda _: None)
    machine.put(built, f"/root/.cache/infra-formula/images/{built.name}")
    return machine


def make(machine, *words, check=True):
    command = ["env", "PIP_CERT=/etc/ssl/certs/ca-certificates.crt", "make", "-C", "/root/formula"]
    return machine.run([*command, *words], check=check, timeout=900)


def services(demo):
    """The components that the demo's table names, and whether each is healthy."""
    table = demo.stdout[demo.stdout.index("SERVICE") :].partition("\n\n")[0]
    rows = {line.split()[0]: "  healthy: " in line for line in table.splitlines()[1:]}
    assert rows["nginx"], table
    return rows


def test_the_demo_works_on_a_fresh_machine_and_leaves_only_a_short_list(host):
    before = look(host)
    assert "mmdebstrap" not in " ".join(before["packages"])
    done = make(host, "demo", "PACKAGING=distro")
    assert "snapshot of an earlier demo" not in done.stderr
    assert "no snapshot: " not in done.stderr
    assert "answers 200 from this host" in done.stdout
    assert re.search(r"vmalert .*healthy", done.stdout), done.stdout
    assert "installing Debian" not in done.stderr, "the image was not the one that was built here"
    during = host_look.differences(before, look(host))
    assert "firewall" in during
    assert "routes" in during
    make(host, "demo-stop")
    again = make(host, "demo", "PACKAGING=distro")
    assert "starts from a snapshot of an earlier demo" in again.stderr
    assert "answers 200 from this host" in again.stdout
    assert services(again) == services(done)
    make(host, "demo-stop")
    left = unexplained(host_look.differences(before, look(host)))
    assert left == {}, json.dumps(left)


def test_what_the_list_names_is_what_the_demo_needs():
    wanted = (CHECKOUT / "tools/packages-demo.txt").read_text(encoding="utf-8")
    named = {name for name, why in MAY_DIFFER["packages"].items() if why == "packages-demo.txt"}
    assert named <= {line.split()[0] for line in wanted.splitlines() if not line.startswith("#")}
