#!/usr/bin/env python3
"""What a master spends on applies of 10, 25 and 50 minions, and on a mine with 1,000 entries.

The master and its minions are processes of this machine, so that all share its processors. Each
minion applies the whole formula with `test=True`, after a first round that syncs the library.
Beside it is Salt's own floor, an apply of one `test.nop`. The processor's time is that of all
processes of the master. To dpkg all packages are installed: otherwise each minion would have apt
look for them, and all wait for this machine's one lock of apt. Then the keys and facts of 1,000
further minions are put into the master's key store and mine, and an INFRA node registers all
(`infra.register`, with `test=True`). The minutes for 1,000 clients are computed from the cost of
one. Asserts nothing.

Usage: test/bench/bench_fleet.py [MINIONS...]
"""

import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [
    str(REPO / "test/bench"),
    str(REPO / "test/support"),
    str(REPO / "_utils"),
    str(REPO),
]

import report  # noqa: E402
import salt.config  # noqa: E402
import salt.daemons.masterapi  # noqa: E402
import salt_processes as sp  # noqa: E402
from infra_formula.parameters import merging, site  # noqa: E402

SIZES = (10, 25, 50)
SIMULATED = 1000
REPEAT = 3
AT_ONCE = 10  # minions that start at the same time
PILLAR = {
    "infra": {
        "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}},
        "node_wait": 0,
        "node_ip": "10.10.10.21",
    }
}
GRAINS = {"id": "infra-1", "ipv4": [], "os_family": "Debian", "kernel": "Linux"}
STANZA = """
Package: {name}
Status: install ok installed
Maintainer: Bench <bench@example.org>
Architecture: all
Version: 999
Description: installed
"""
FACTS = {"contract": 1, "cls": "nodes", "haproxy": None, "dns": [],
         "targets": [{"job": "node", "port": 9100}, {"job": "ping"}]}  # fmt: skip


def words(value):
    """All strings in a value."""
    if isinstance(value, str):
        return value.replace(",", " ").split()
    nested = value.values() if isinstance(value, dict) else value or []
    return [word for one in nested for word in words(one)]


def installed(folder):
    """A database of dpkg in which this machine has every package that the formula installs."""
    shutil.copytree(
        "/var/lib/dpkg", folder, ignore=shutil.ignore_patterns("info", "*-old", "lock*")
    )
    (folder / "info").mkdir()
    (folder / "updates").mkdir(exist_ok=True)
    names = [parameter for parameter in merging.defaults(GRAINS) if parameter.endswith("packages")]
    rows = [row.get("packages") for _, row, _ in site.daemon_rows()]
    rows += [row.get("packages") for row in site.components()]
    wanted = words([*rows, [merging.defaults(GRAINS)[name] for name in names]])
    status = folder / "status"
    here = re.findall(r"(?m)^Package: (\S+)$", status.read_text(encoding="utf-8"))
    with status.open("a", encoding="utf-8") as text:
        for name in sorted(set(wanted) - set(here)):
            text.write(STANZA.format(name=name))
    return folder


class Fleet:
    """A master, its minions, and what an apply costs."""

    def __init__(self, folder):
        srv = folder / "srv"
        srv.mkdir()
        sp.formula(srv)
        (srv / "nop.sls").write_text("nop:\n  test.nop: []\n", encoding="utf-8")
        self.folder, self.minions = folder, []
        roots = {
            "file_roots": {"base": [str(srv)]},
            "pillar_roots": {"base": [str(sp.pillar(folder / "pillar", PILLAR))]},
            "timeout": 60, "gather_job_timeout": 60,
        }  # fmt: skip
        self.master = sp.Master(folder / "m", roots)
        self.packages = installed(folder / "dpkg")

    def grow(self, names):
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            for name in some:
                self.minions.append(sp.Minion(self.folder / name, name, [self.master]))
                self.minions[-1].start(["env", f"DPKG_ADMINDIR={self.packages}"])
            self.master.wait_for(some, "L@" + ",".join(some))

    def stop(self):
        for process in (*self.minions, self.master):
            process.stop()

    def apply(self, target, sls):
        """Seconds, seconds of the master's processor, and the returns."""
        begun, spent = time.monotonic(), self.master.cpu()
        returned = self.master.salt(target, "state.apply", sls, "test=True", timeout=900)
        return time.monotonic() - begun, self.master.cpu() - spent, returned

    def cost(self, target, sls):
        """Mean seconds of the master's processor for one apply of one minion."""
        self.apply(target, sls)
        return sum(self.apply(target, sls)[1] for _ in range(REPEAT)) / REPEAT

    def simulate(self, number):
        """Accepted keys and facts in the mine, of minions that are not there."""
        options = salt.config.master_config(str(self.folder / "m/master"))
        keys = self.folder / "m/pki/minions"
        functions = salt.daemons.masterapi.RemoteFuncs(options)
        for count in range(number):
            name = f"simulated-{count}"
            shutil.copy(keys / "infra-1", keys / name)
            facts = {**FACTS, "ip": f"10.20.{count >> 8}.{count & 255}", "ins": name}
            load = {"id": name, "data": {"infra_register.facts": facts}, "clear": False}
            functions._mine(load, skip_verify=True)


def unsuccessful(returned, number):
    """How many minions have no return, or one with a state that failed; each is named."""
    failures = {name: sp.failed(states) for name, states in returned.items()}
    failures = {name: comments for name, comments in failures.items() if comments}
    for name, comments in failures.items():
        report.progress(f"{name} failed: {comments}")
    return len(failures) + number - len(returned)


def measure(fleet, sizes):
    fleet.master.start()
    report.progress("an INFRA node and a client")
    fleet.grow(["infra-1", "node-1"])
    floor = fleet.cost("node-1", "nop")
    client, node = fleet.cost("node-1", "infra"), fleet.cost("infra-1", "infra")
    at_once = []
    for size in sizes:
        report.progress(f"{size} minions at once")
        have = len(fleet.minions)
        fleet.grow([f"node-{count}" for count in range(have, size)])
        fleet.apply("*", "infra")
        least = fleet.apply("*", "nop")
        ours = fleet.apply("*", "infra")
        at_once.append((size, ours[0], least[0], ours[1], least[1], unsuccessful(ours[2], size)))
    report.progress(f"{SIMULATED} minions in the mine")
    few = fleet.apply("infra-1", "infra.register")
    fleet.simulate(SIMULATED)
    fleet.apply("infra-1", "infra.register")
    many = fleet.apply("infra-1", "infra.register")
    crowded, crowded_floor = fleet.cost("node-1", "infra"), fleet.cost("node-1", "nop")
    report.table(
        "An apply without change, one minion at a time",
        ["", "measured", "Salt's own nop", "bar"],
        [
            ("seconds of the master's processor for a client", client, floor, "0.20"),
            ("seconds of the master's processor for an INFRA node", node, floor, "0.30"),
            ("minutes of the master's processor for 1,000 clients, computed",
             client * 1000 / 60, floor * 1000 / 60, "3.5"),
        ],
    )  # fmt: skip
    report.table(
        "All minions at once",
        ["minions", "seconds", "nop", "master's processor", "nop's", "failed"],
        at_once,
    )
    report.table(
        f"{SIMULATED} further minions in the key store and the mine",
        ["", "without them", "with them"],
        [
            ("seconds of infra.register on an INFRA node", few[0], many[0]),
            ("seconds of the master's processor for it", few[1], many[1]),
            ("seconds of the master's processor for an apply of a client", client, crowded),
            ("the same of Salt's own nop", floor, crowded_floor),
        ],
    )


def main(sizes):
    with tempfile.TemporaryDirectory(prefix="bf-", dir="/tmp", ignore_cleanup_errors=True) as name:
        fleet = Fleet(Path(name))
        try:
            measure(fleet, sizes)
        finally:
            fleet.stop()


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or SIZES)
