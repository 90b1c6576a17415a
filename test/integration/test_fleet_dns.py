"""The name server on real machines, with a great many records."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from vendors import DISTRO

COUNT = 100_000
STEADY = Path(__file__).with_name("dns_steady.py")


def pillar(changed="10.200.0.1"):
    records = [f"10.{100 + (i >> 16)}.{i >> 8 & 255}.{i & 255} n{i}.big" for i in range(1, COUNT)]
    return {
        "infra": {
            "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
            **DISTRO,
            "repo_enabled": False,
            "dns_records": [f"{changed} moving.big", *records],
        }
    }


@pytest.fixture
def machine(boot_lab, first_platform):
    lab = boot_lab("default", platform=first_platform, pillar=pillar())
    infra = lab.machine("infra-1")
    infra.lab = lab
    return infra


def ask(machine, name, server="10.10.10.10"):
    return machine.salt_call("infra_dns.query", name, f"server={server}")


def apply(machine):
    """The states of infra.dns, and the seconds and MiB that the whole command took."""
    words = ["salt-call", "--local", "--retcode-passthrough", "--out=json", "state.apply"]
    measured = (
        "import json, resource, subprocess, sys, time\n"
        "begun = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "told = {'seconds': time.perf_counter() - begun, 'mib': used.ru_maxrss / 1024,\n"
        "        'code': done.returncode, 'out': json.loads(done.stdout)}\n"
        "print(json.dumps(told))\n"
    )
    told = json.loads(machine.run(["python3", "-c", measured, *words, "infra.dns"]).stdout)
    states = {s["__id__"]: s for s in told["out"]["local"].values()}
    assert told["code"] == 0, [s["comment"] for s in states.values() if not s["result"]]
    records = states["infra-dns-records-managed"]["duration"] / 1000
    shown = (
        f"{COUNT} records: state {records:.2f} s, "
        f"command {told['seconds']:.1f} s, {told['mib']:.0f} MiB"
    )
    return states, shown


@pytest.mark.soak
def test_one_of_a_hundred_thousand_records_changes_while_queries_run(machine, capsys):
    _, first = apply(machine)
    pid = machine.run(["systemctl", "show", "-p", "MainPID", "--value", "dnsmasq"]).stdout
    assert ask(machine, "moving.big")["values"] == ["10.200.0.1"]
    assert ask(machine, f"n{COUNT - 1}.big")["rcode"] == "NOERROR"
    states, noop = apply(machine)
    assert [s["__id__"] for s in states.values() if s["changes"]] == []
    machine.set_pillar(pillar(changed="10.200.0.2"))
    # Ahead of others: one that is kept waiting asks all that it missed at once.
    asking = ["nice", "-n", "-10", sys.executable, str(STEADY), "10.10.10.10"]
    # So few that the kernel keeps all that come while a busy machine reads the names.
    asking += ["moving.big", "10.200.0.2", "20", "60"]
    stream = subprocess.Popen(machine.lab.net_command(asking), stdout=subprocess.PIPE, text=True)
    states, one = apply(machine)
    out, _ = stream.communicate(timeout=120)
    assert states["infra-dns-records-managed"]["changes"] == {"change": ["default"]}
    told = json.loads(out)
    published = float(machine.run(["stat", "-c", "%.Z", "/etc/hosts.d/default"]).stdout)
    after = told["changed"] - published
    memory = re.search(r"VmRSS:\s+(\d+)", machine.read(f"/proc/{pid.strip()}/status"))
    with capsys.disabled():
        print(f"\n  first: {first}\n  no-op: {noop}\n  one changed: {one}")
        print(
            f"  {told['asked']} queries, {told['lost']} lost, slowest {told['slowest']:.3f} s; "
            f"visible after {after:.2f} s; dnsmasq {int(memory[1]) // 1024} MiB"
        )
    assert told["lost"] == 0
    assert told["wrong"] == 0
    assert after >= 0
    assert machine.run(["systemctl", "show", "-p", "MainPID", "--value", "dnsmasq"]).stdout == pid
