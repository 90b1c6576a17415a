"""A small site to do harm to, and what has to hold of it afterwards."""

import json
import random
import subprocess
import time
from contextlib import contextmanager

import vendors
from authority import authority
from lab import Lab
from lab.suites import MachineSpec

INFRA = MachineSpec("infra-1", "10.10.10.10", disk=3000)
NODE = MachineSpec("node-1", "10.10.10.21")
# What an INFRA node serves: unit, port, path that answers.
SERVED = {
    "nginx": (80, "/"),
    "vmetrics": (8428, "/health"),
    "vlogs": (9428, "/health"),
    "vtraces": (10428, "/health"),
    "vmalert": (8880, "/health"),
    "vmalert_logs": (8881, "/health"),
    "alertmanager": (9059, "/-/healthy"),
    "blackbox_exporter": (9115, "/-/healthy"),
    "nginx_exporter": (9113, "/metrics"),
    "node_exporter": (9100, "/metrics"),
    "vector": (9598, "/metrics"),
}
BACK_SECONDS = 30
# Whatever an interrupted run may have been writing has one of these names.
LEFT = [
    *("(", "-name", ".*.infra-new", "-o", "-name", ".*.infra-??????*", "-o"),
    *("-path", "*/generations/.new-*", "-o", "-path", "*/seals/.*.new", ")"),
]


def pillar(vendor, given):
    """The pillar of the site: everything on but what has tests of its own."""
    return {
        "infra": {
            "infra_hosts": {INFRA.address: {"infra_seq": 1}},
            **vendor.parameters(),
            "grafana_enabled": False,
            **given,
        }
    }


def variant(number):
    """Parameters that differ from round to round, so that every part of an apply has work."""
    odd = number % 2
    return {
        "infra_portal": {
            "home": {"domain": "i.pigsty"},
            **{
                f"site{i}": {
                    "domain": f"s{i}.r{number}.pigsty",
                    "endpoint": f"127.0.0.1:{9000 + i}",
                }
                for i in range(1, 8)
            },
        },
        "nginx_users": {"admin": f"password-{number}"},
        "dns_records": [f"10.10.10.{20 + i} h{i}.r{number}.pigsty" for i in range(1, 20)],
        "dns_cnames": {f"c{number}.pigsty": "i.pigsty"},
        "node_etc_hosts": [f"10.10.10.10 r{number}.pigsty"],
        "vmetrics_retention": "20d" if odd else "15d",
        "vmetrics_scrape_interval": "15s" if odd else "10s",
        "vmalert_rules": {
            "mine": [{"name": "g", "rules": [{"record": f"r{number}", "expr": "up"}]}]
        },
        "alertmanager_receivers": {
            "hook": {"webhook": {"url": f"http://10.10.10.1:{5000 + odd}/"}}
        },
        "blackbox_targets": {"tcp_connect": [f"10.10.10.1:{22000 + number}"]},
    }


class Site:
    """An INFRA node and a client, each masterless, and a web server with the vendor's packages."""

    def __init__(self, lab, whole):
        self.lab = lab
        self.infra = lab.machine(INFRA.name)
        self.pillar = whole
        self.seconds = 60.0

    @property
    def node(self):
        """The client."""
        return self.lab.machine(NODE.name)

    def vary(self, number, **more):
        """Give the INFRA node another variant of its pillar."""
        self.infra.set_pillar({"infra": {**self.pillar["infra"], **variant(number), **more}})

    def silent(self, names=tuple(SERVED)):
        """What of the INFRA node does not answer now."""
        asked = [
            f"curl -s -m 3 -o /dev/null -w '{name} %{{http_code}}\\n' http://127.0.0.1:{port}{path}"
            for name, (port, path) in SERVED.items()
            if name in names
        ]
        asked.append("getent ahostsv4 i.pigsty >/dev/null && echo dnsmasq 200 || echo dnsmasq 0")
        told = self.infra.run(["sh", "-c", "; ".join(asked)], check=False).stdout
        answers = dict(line.split() for line in told.splitlines())
        wanted = {*names, "dnsmasq"}
        return sorted(name for name in wanted if answers.get(name) != "200")

    def back_after(self, names=tuple(SERVED)):
        """Seconds until all of it answers again; fails when that takes too long."""
        start = time.monotonic()
        while found := self.silent(names):
            assert time.monotonic() - start < BACK_SECONDS, f"does not answer again: {found}"
            time.sleep(0.3)
        return time.monotonic() - start

    def whole(self, machine=None):
        """Nothing is half-written: no left-overs, all that we keep is readable, programs agree."""
        machine = machine or self.infra
        left = machine.run(["find", "/", "-xdev", *LEFT, "-print"], check=False).stdout
        assert left == "", left
        kept = machine.run(["find", "/var/lib/infra", "-name", "*.json"]).stdout.split()
        for path in kept:
            json.loads(machine.read(path))
        assert machine.run(["dpkg", "--audit"]).stdout == ""
        if machine is self.infra:
            machine.run(["nginx", "-t"])

    def mended(self, machine=None, steady=True):
        """The next apply goes well, and what it leaves is whole; the one after changes nothing."""
        machine = machine or self.infra
        begun = time.monotonic()
        done = machine.apply(check=False)
        self.seconds = time.monotonic() - begun
        assert done.ok, done.complaint()
        self.whole(machine)
        if steady:
            assert machine.apply().changes == {}
        return done

    def start_apply(self, function=("state.apply", "infra"), level="warning", before=()):
        """Start an apply on the INFRA node, and return its process, which is the test's to end."""
        words = [*before, "salt-call", "--local", "--out=json", "--retcode-passthrough"]
        return subprocess.Popen(
            self.infra.command([*words, f"--log-level={level}", *function]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def moment(self):
        """Wait for a random part of the time that an apply takes."""
        time.sleep(random.uniform(0.05, 1.0) * self.seconds)

    def strip(self, number):
        """Take some packages off the machine, so that the next apply has to install them."""
        packages = ["nginx-exporter", "blackbox-exporter", "victoria-traces", "node-exporter"]
        gone = random.Random(number).sample(packages, 2)
        self.infra.run(["dpkg", "--purge", *gone], check=False)


@contextmanager
def site(folder, client=False, name=None):
    """Boot the site; nothing is applied yet."""
    vendor = vendors.repository(folder)
    # Older than what a clock may be wrong by.
    whole = pillar(vendor, authority(folder, days_ago=30))
    machines = [INFRA, *([NODE] if client else [])]
    with (
        Lab.up("default", name=name, pillar=whole, machines=machines) as lab,
        vendor.served(lab),
    ):
        yield Site(lab, whole)
