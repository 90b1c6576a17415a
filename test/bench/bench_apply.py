#!/usr/bin/env python3
"""`state.apply infra` on a machine on which nothing changes, beside what Salt itself takes.

On an INFRA node of the lab with everything that the distribution packages, by itself, and then on
one and on a client of a master, from which Salt has every file and the pillar; and on four minions
at once. Salt itself is an apply of one state that does nothing, `test.nop`, in turn with each
measured one. Prints seconds, each the least of several runs, the ratio of both, that of the
processor's time, which a busy machine changes less, and the bar. Then the requests of the client to
its master, and the seconds of each component, the SLS folder that its states come from. Asserts
nothing.
"""

import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPO), str(REPO / "test"), str(REPO / "test/support")]

import report  # noqa: E402
from lab import Lab  # noqa: E402

REPEAT = 5
NOP = "nop: test.nop\n"
OFF = ("vector_enabled", "vlogs_enabled", "vtraces_enabled", "grafana_enabled", "repo_enabled")
COUNTER = Path(__file__).with_name("count_calls.py")
ENTRIES = (20, 1000)


class Spent(NamedTuple):
    """Seconds of wall time and of the processor."""

    wall: float
    cpu: float


class Measured(NamedTuple):
    """The least of several runs, what Salt itself took in turn with them, and the last result."""

    ours: Spent
    salt: Spent
    states: dict[str, dict]


def command(sls, *options):
    return ["salt-call", "--retcode-passthrough", "--out=json", *options, "state.apply", sls]


def timed(machine, argv):
    """What a command on a machine took, and what it printed."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = machine.run(argv, timeout=900)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(wall, cpu), done.stdout


def least(spent):
    return Spent(min(one.wall for one in spent), min(one.cpu for one in spent))


def measured(machine, *options, sls="infra"):
    """Apply an SLS until nothing changes, and then in turn with one that does nothing."""
    machine.run(command(sls, *options), timeout=900)
    ours, salt, states = [], [], {}
    for _ in range(REPEAT):
        salt.append(timed(machine, command("nop", *options))[0])
        spent, printed = timed(machine, command(sls, *options))
        ours.append(spent)
        states = json.loads(printed)["local"]
    return Measured(least(ours), least(salt), states)


def counted(machine, sls, *options):
    """What one apply asks of the master, and which programs it starts."""
    script, target = f"/root/{COUNTER.name}", "/root/counted.json"
    machine.write(script, COUNTER.read_text(encoding="utf-8"))
    program = machine.run(["which", "salt-call"]).stdout.strip()
    python = machine.run(["sed", "-n", "1s/^#!//p", program]).stdout.strip()
    machine.run([python, script, target, *command(sls, *options)[1:]], timeout=900)
    return json.loads(machine.read(target))


def kilobytes(found):
    """Size of what a minion returns to its master."""
    return len(json.dumps(found.states)) / 1000


def by_component(states):
    """Seconds of the states of each component, of each state, and which changed something."""
    spent, slow = Counter(), Counter()
    for state in states.values():
        spent[state["__sls__"].split(".")[1]] += state["duration"] / 1000
        slow[state["__id__"]] += state["duration"] / 1000
    return spent, slow, [state["__id__"] for state in states.values() if state["changes"]]


def entries(count):
    return {
        f"site{n:04d}": {"domain": f"site{n:04d}.pigsty", "endpoint": f"127.0.0.1:{10000 + n}"}
        for n in range(count)
    }


def by_itself(pillar):
    """An INFRA node without a master: all of it, its programs, and the portal alone."""
    with Lab.up("default", name="bench-apply", pillar=pillar) as lab:
        machine = lab.machine("infra-1")
        machine.write("/srv/salt/nop.sls", NOP)
        report.progress("an INFRA node by itself")
        first, _ = timed(machine, command("infra", "--local"))
        whole = measured(machine, "--local")
        started = [len(counted(machine, s, "--local")["processes"]) for s in ("infra", "nop")]
        portals = []
        for count in ENTRIES:
            report.progress(f"the portal alone, {count} entries")
            machine.set_pillar({"infra": {**pillar["infra"], "infra_portal": entries(count)}})
            portals.append(measured(machine, "--local", sls="infra.nginx"))
        return first, whole, started, portals


def under_a_master(pillar):
    """An INFRA node and a client of a master, and the requests of the client and of Salt itself."""
    with Lab.up("fleet", name="bench-master", pillar=pillar) as lab:
        lab.master.write("/srv/salt/nop.sls", NOP)
        report.progress("an INFRA node of a master")
        node = measured(lab.machine("infra-1"))
        report.progress("a client of a master")
        client = lab.machine("infra-2")
        found = measured(client)
        return node, found, [counted(client, sls)["requests"] for sls in ("infra", "nop")]


def four_at_once():
    """Least seconds of `salt '*' state.apply infra` on two INFRA nodes and two clients."""
    with Lab.up("fleet", name="bench-fleet") as lab:
        report.progress("four minions at once")
        for _ in range(2):
            lab.apply()
        seconds = []
        for _ in range(REPEAT):
            begun = time.perf_counter()
            lab.apply()
            seconds.append(time.perf_counter() - begun)
        return min(seconds)


def ratios(what, found, bar):
    wall, cpu = (ours / salt for ours, salt in zip(found.ours, found.salt, strict=True))
    return (what, found.salt.wall, found.ours.wall, f"{wall:.1f} x", f"{cpu:.1f} x", bar)


def main():
    known = (REPO / "infra" / "defaults.yaml").read_text(encoding="utf-8")
    pillar = {
        "infra": {
            "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
            "infra_packaging": "distro",
            **{switch: False for switch in OFF if f"\n{switch}:" in known},
        }
    }
    first, whole, (started, least_started), (few, many) = by_itself(pillar)
    node, client, (asked, least_asked) = under_a_master(pillar)
    together = four_at_once()
    report.table(
        "Nothing to change, the whole command",
        ["", "Salt itself", "seconds", "times Salt itself", "by processor time", "bar"],
        [
            ratios("an INFRA node by itself", whole, "2.0 x"),
            ratios("an INFRA node under a master", node, "2.2 x"),
            ratios("a client under a master", client, "1.8 x"),
            ratios(f"infra.nginx alone, {ENTRIES[0]} entries", few, "1.6 x"),
        ],
    )
    growth = many.ours.wall / few.ours.wall
    report.table(
        "Nothing to change, other figures",
        ["", "measured", "bar"],
        [
            ("requests of a client to its master", asked, "60"),
            ("requests for a state that does nothing", least_asked, ""),
            ("programs that an INFRA node runs, over those of Salt", started - least_started, ""),
            ("return of a client under a master, kB", kilobytes(client), "6"),
            ("return of an INFRA node under a master, kB", kilobytes(node), "25"),
            ("seconds of salt '*' state.apply infra, four minions", together, "6"),
            (
                f"infra.nginx alone, {ENTRIES[1]} entries, times that of {ENTRIES[0]}",
                f"{growth:.1f} x",
                "1.3 x",
            ),
        ],
    )
    report.table("The first apply, on a bare machine", ["", "seconds"], [("", first.wall)])
    spent, slow, changed = by_component(whole.states)
    report.table(
        "Nothing to change: the states of each component",
        ["component", "seconds"],
        [*spent.most_common(), ("all states", sum(spent.values()))],
    )
    report.table("Nothing to change: slowest states", ["state", "seconds"], slow.most_common(8))
    print(f"changed: {', '.join(changed) or 'nothing'}")


if __name__ == "__main__":
    main()
