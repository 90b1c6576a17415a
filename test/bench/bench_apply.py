#!/usr/bin/env python3
"""`state.apply infra` on a machine on which nothing changes, by component.

On an INFRA node of the lab with everything that the distribution packages, by itself, and then on
one and on a client of a master, from which Salt has every file and the pillar. Prints the seconds
of each component, the SLS folder that its states come from, of all states, and of the whole
command, each the least of several runs, beside what Salt itself takes to start and apply a single
`test.nop`; asserts nothing.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPO), str(REPO / "test"), str(REPO / "test/support")]

import report  # noqa: E402
from lab import Lab  # noqa: E402

REPEAT = 5
NOP = "nop: test.nop\n"
OFF = ("vector_enabled", "vlogs_enabled", "vtraces_enabled", "grafana_enabled", "repo_enabled")


def command(sls, *options):
    return ["salt-call", "--retcode-passthrough", "--out=json", *options, "state.apply", sls]


def floor(machine, *options):
    """Least seconds of an apply of one state that does nothing."""
    seconds = []
    for _ in range(REPEAT):
        begun = time.perf_counter()
        machine.run(command("nop", *options))
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def apply(machine, *options):
    begun = time.perf_counter()
    done = machine.run(command("infra", *options), timeout=900)
    whole = time.perf_counter() - begun
    spent, slow = Counter(), Counter()
    changed = []
    for state in json.loads(done.stdout)["local"].values():
        component = state["__sls__"].split(".")[1]
        spent[component] += state["duration"] / 1000
        slow[state["__id__"]] += state["duration"] / 1000
        if state["changes"]:
            changed.append(state["__id__"])
    return whole, spent, slow, changed


def measured(machine, *options):
    """The first apply, and the quickest of those that have nothing to change."""
    first, *_ = apply(machine, *options)
    apply(machine, *options)
    runs = [apply(machine, *options) for _ in range(REPEAT)]
    return first, min(runs, key=lambda run: run[0])


def seconds(salt, rows):
    report.table(
        "`state.apply infra`, the whole command",
        ["", "seconds", "times Salt itself"],
        [
            ("Salt itself: one state that does nothing", salt, ""),
            *((what, taken, report.ratio(salt, taken)) for what, taken in rows),
        ],
    )


def under_a_master(pillar):
    with Lab.up("fleet", name="bench-master", pillar=pillar) as lab:
        lab.master.write("/srv/salt/nop.sls", NOP)
        _, (node, *_) = measured(lab.machine("infra-1"))
        _, (client, *_) = measured(lab.machine("infra-2"))
        salt = floor(lab.machine("infra-1"))
    seconds(
        salt,
        [
            ("nothing to change on an INFRA node, under a master", node),
            ("nothing to change on a client, under a master", client),
        ],
    )


def main():
    known = (REPO / "infra" / "defaults.yaml").read_text(encoding="utf-8")
    pillar = {
        "infra": {
            "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
            "infra_packaging": "distro",
            **{switch: False for switch in OFF if f"\n{switch}:" in known},
        }
    }
    with Lab.up("default", name="bench-apply", pillar=pillar) as lab:
        machine = lab.machine("infra-1")
        first, (whole, spent, slow, changed) = measured(machine, "--local")
        machine.write("/srv/salt/nop.sls", NOP)
        salt = floor(machine, "--local")
    seconds(salt, [("nothing to change", whole), ("first, on a bare machine", first)])
    under_a_master(pillar)
    report.table(
        "Nothing to change: the states of each component",
        ["component", "seconds"],
        [*spent.most_common(), ("all states", sum(spent.values()))],
    )
    report.table("Nothing to change: slowest states", ["state", "seconds"], slow.most_common(8))
    print(f"changed: {', '.join(changed) or 'nothing'}")


if __name__ == "__main__":
    main()
