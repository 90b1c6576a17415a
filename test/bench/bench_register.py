#!/usr/bin/env python3
"""Registration of 1, 100, 1,000 and 5,000 simulated minions, against a loop of file.managed.

`state.apply infra.register` on an INFRA node of the lab with the portal, the name server and the
data directory: targets, records, sub-paths and home page, written and read by the real programs.
The mine is given by a module in its place. Every minion has a node exporter, is pinged and has a
name; every tenth has a HAProxy console. Prints the seconds that the states of infra.register take,
and the whole command's, and beside them the peer's: one `file.managed` per minion for its targets
and one for its records, up to 1,000 minions; asserts nothing.
"""

import json
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPO), str(REPO / "test"), str(REPO / "test/support")]

import report  # noqa: E402
from lab import Lab  # noqa: E402

SIZES = (1, 100, 1000, 5000)
MINE = '''
"""A mine that is a file."""
import json


def get(tgt, fun, *args, **kwargs):
    with open("/srv/mine.json", encoding="utf-8") as stream:
        return json.load(stream)


def send(*args, **kwargs):
    return True
'''

PEER_UP_TO = 1000
PEER = """
{%- for id, told in salt['mine.get']('*', 'facts').items() %}
/srv/peer/targets/{{ id }}.yml:
  file.managed:
    - makedirs: true
    - contents: {{ told.targets | tojson | tojson }}
/srv/peer/records/{{ id }}:
  file.managed:
    - makedirs: true
    - contents: {{ (told.ip ~ ' ' ~ id) | tojson }}
{%- endfor %}
"""


def facts(number, port=9100):
    address = f"10.20.{number >> 8}.{number & 255}"
    name = f"m-{number}"
    return {
        "contract": 1,
        "ip": address,
        "ins": name,
        "cls": f"cluster-{number % 50}",
        "haproxy": 9101 if number % 10 == 0 else None,
        "targets": [{"job": "ping"}, {"job": "node", "port": port}],
        "dns": [{"address": address, "names": [name]}],
    }


def apply(machine, mine):
    """Seconds of the states of infra.register, and of the whole command."""
    machine.write("/srv/mine.json", json.dumps(mine))
    begun = time.perf_counter()
    done = machine.run(
        ["salt-call", "--local", "--retcode-passthrough", "--out=json", "state.apply",
         "infra.register"],
        timeout=900,
    )  # fmt: skip
    whole = time.perf_counter() - begun
    states = json.loads(done.stdout)["local"]
    spent: dict[str, float] = {}
    for state in states.values():
        prefix, name = state["__id__"][:15], state["__id__"].split("-", 2)[-1]
        if prefix.startswith(("infra-register-", "infra-nginx-")):
            spent[name] = spent.get(name, 0.0) + state["duration"] / 1000
    return sum(spent.values()), whole, spent


def peer(machine, mine):
    """Seconds of a whole command that writes it all by a loop, and of the next, a no-op."""
    machine.write("/srv/salt/peer.sls", PEER)
    machine.write("/srv/mine.json", json.dumps(mine))
    machine.run(["rm", "-rf", "/srv/peer"])
    took = []
    for _ in ("first", "no-op"):
        begun = time.perf_counter()
        words = ["salt-call", "--local", "--retcode-passthrough", "state.apply", "peer"]
        machine.run(words, timeout=900)
        took.append(time.perf_counter() - begun)
    return took


def main():
    pillar = {
        "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
        "infra_packaging": "distro",
        **dict.fromkeys(
            ("grafana_enabled", "vector_enabled", "vlogs_enabled", "vtraces_enabled"), False
        ),
        "repo_enabled": False,
        "haproxy_enabled": False,
    }
    rows, beside = [], []
    with Lab.up("default", name="bench-register", pillar={"infra": pillar}) as lab:
        machine = lab.machine("infra-1")
        machine.run(["mkdir", "-p", "/srv/bench"])
        machine.write("/srv/bench/mine.py", MINE)
        machine.write("/etc/salt/minion.d/bench.conf", "module_dirs: [/srv/bench]\n")
        machine.write("/srv/mine.json", "{}")
        for state in ("infra.ca", "infra.dns", "infra.nginx", "infra.daemon"):
            machine.run(["salt-call", "--local", "--retcode-passthrough", "state.apply", state])
        for size in SIZES:
            # Without a master those that were registered last stay, if they are remembered.
            machine.run(["rm", "-f", "/var/lib/infra/register.json"])
            apply(machine, {})
            mine = {f"m-{n}": facts(n) for n in range(size)}
            report.progress(f"{size} minions")
            first = apply(machine, mine)
            noop = min(apply(machine, mine) for _ in range(2))
            mine["m-0"] = facts(0, port=9111)
            rows.append((size, first, noop, apply(machine, mine)))
            if size <= PEER_UP_TO:
                report.progress(f"{size} minions: a loop of file.managed")
                beside.append((size, first[1], noop[1], *peer(machine, mine)))
    runs = ("first", "no-op", "one changed")
    report.table(
        "Seconds of the states of infra.register, and of the whole command",
        ["minions", *(f"{run}{part}" for run in runs for part in ("", ", command"))],
        [(size, *(took for run in cells for took in run[:2])) for size, *cells in rows],
    )
    report.table(
        "The whole command: ours, a loop of file.managed, and how many times ours that is",
        ["minions", "first", "loop", "", "no-op", "loop", ""],
        [
            (size, first, other, report.ratio(first, other), noop, idle, report.ratio(noop, idle))
            for size, first, noop, other, idle in beside
        ],
    )
    for size, *cells in rows:
        for title, (_, _, spent) in zip(runs, cells, strict=True):
            told = ", ".join(f"{name} {took:.2f}" for name, took in spent.items() if took >= 0.01)
            print(f"{size:>8} {title}: {told}")


if __name__ == "__main__":
    main()
