"""Keep a /proc for the node exporter: the machine's own, with what its kernel may not tell of.

A kernel need not be built to tell of pressure and of its scheduler (CONFIG_PSI, CONFIG_SCHEDSTATS),
and the machine that runs the tests may have no swap. These files are written here, in the form of
proc(5) and of the kernel's documentation (accounting/psi.rst; scheduler/sched-stats.rst, version
15), with counters that go on. All else is a link to the machine's own.

Usage: kernel.py FOLDER
"""

import os
import sys
import time
from pathlib import Path

OWN = ("meminfo", "schedstat", "pressure")
PSI = "{kind} avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n"
SWAP_KB = {"SwapTotal": 1048576, "SwapFree": 786432, "SwapCached": 0}
STEP_SECONDS = 2


def meminfo():
    for line in Path("/proc/meminfo").read_text().splitlines():
        name = line.partition(":")[0]
        yield f"{name}: {SWAP_KB[name]:>15} kB\n" if name in SWAP_KB else f"{line}\n"


def schedstat(seconds):
    yield f"version 15\ntimestamp {int(seconds * 100)}\n"
    for core in range(os.cpu_count() or 1):
        running, waiting = int(seconds * 4e8), int(seconds * 1e8)  # nanoseconds
        yield f"cpu{core} 0 0 0 0 0 0 {running} {waiting} {int(seconds * 100)}\n"


def put(path, text):
    new = path.with_name(f".{path.name}")
    new.write_text(text)
    new.replace(path)


def link(folder):
    """Link what there is, processes come and go."""
    there = set(os.listdir("/proc")) - set(OWN)
    linked = set(os.listdir(folder)) - set(OWN)
    for name in there - linked:
        (folder / name).symlink_to(f"/proc/{name}")
    for name in linked - there:
        (folder / name).unlink()


def main(folder):
    (folder / "pressure").mkdir(parents=True)
    while True:
        link(folder)
        seconds = time.monotonic()
        put(folder / "meminfo", "".join(meminfo()))
        put(folder / "schedstat", "".join(schedstat(seconds)))
        for name in ("cpu", "io", "memory"):
            total = int(seconds * 1e4)  # microseconds, a hundredth of the time
            told = PSI.format(kind="some", total=total) + PSI.format(kind="full", total=total // 2)
            put(folder / "pressure" / name, told)
        time.sleep(STEP_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
