#!/usr/bin/env python3
"""`state.apply infra` on an INFRA node on which nothing changes, by component.

On a machine of the lab with everything that the distribution packages. Prints the seconds of each
component, the SLS folder that its states come from, of all states, and of the whole command, each
the least of several runs, beside what Salt itself takes to start and apply a single `test.nop`;
asserts nothing.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPO), str(REPO / "test")]

import report  # noqa: E402
from lab import Lab  # noqa: E402

REPEAT = 5
OFF = ("vector_enabled", "vlogs_enabled", "vtraces_enabled", "grafana_enabled", "repo_enabled")


def floor(machine):
    """Seconds of an apply of one state that does nothing."""
    machine.write("/srv/salt/nop.sls", "nop: test.nop\n")
    begun = time.perf_counter()
    machine.run(["salt-call", "--local", "--retcode-passthrough", "state.apply", "nop"])
    return time.perf_counter() - begun


def apply(machine):
    begun = time.perf_counter()
    done = machine.run(
        ["salt-call", "--local", "--retcode-passthrough", "--out=json", "state.apply", "infra"],
        timeout=900,
    )
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


def main():
    known = (REPO / "infra" / "defaults.yaml").read_text(encoding="utf-8")
    pillar = {
        "infra_hosts": {"10.10.10.10": {"infra_seq": 1}},
        "infra_packaging": "distro",
        **{switch: False for switch in OFF if f"\n{switch}:" in known},
    }
    with Lab.up("default", name="bench-apply", pillar={"infra": pillar}) as lab:
        machine = lab.machine("infra-1")
        first, *_ = apply(machine)
        apply(machine)
        runs = [apply(machine) for _ in range(REPEAT)]
        salt = min(floor(machine) for _ in range(REPEAT))
    whole, spent, slow, changed = min(runs, key=lambda run: run[0])
    report.table(
        "`state.apply infra`, the whole command",
        ["", "seconds", "times Salt itself"],
        [
            ("Salt itself: one state that does nothing", salt, ""),
            ("nothing to change", whole, report.ratio(salt, whole)),
            ("first, on a bare machine", first, report.ratio(salt, first)),
        ],
    )
    report.table(
        "Nothing to change: the states of each component",
        ["component", "seconds"],
        [*spent.most_common(), ("all states", sum(spent.values()))],
    )
    report.table("Nothing to change: slowest states", ["state", "seconds"], slow.most_common(8))
    print(f"changed: {', '.join(changed) or 'nothing'}")


if __name__ == "__main__":
    main()
