"""The demo: machines with the whole formula on them, and a table of what runs there."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import pillar as pillars
from . import tour, vendor
from .applied import Applied
from .host import LabError, require
from .laboratory import APPLY_SECONDS, Lab, Progress
from .machine import Machine
from .paths import HERE
from .record import Record

NAME = os.environ.get("INFRA_DEMO", "demo")
"""The demo's lab; the tests name another."""
MACHINE = "infra-1"
SUITES = ("default", "fleet")
PACKAGING = {"distro": None, "upstream": HERE / "pillar" / "upstream.yml"}
"""What is put over the pillar for each `infra_packaging` that can be asked for."""
INVALID = "infra-pillar-valid (infra_pillar.valid)"
"""The state that fails, before any other, where the pillar is not valid."""
WAIT_SECONDS = 10
"""How often it is said who is being waited for."""
Row = tuple[str, dict[str, Any]]


def show(
    pillar: Path | None,
    platform: str | None,
    packaging: str | None,
    suite: str | None,
    progress: Progress,
) -> None:
    """Boot fresh machines that the host reaches, apply the formula, and print what runs.

    Args:
        pillar: a file in YAML or JSON; the suite's if not given.
        platform: a platform of kitchen.yml; the first if not given.
        packaging: one of PACKAGING, over what the pillar says; see `choose`.
        suite: one of SUITES; the first if not given.
        progress: told what is being done.

    Raises:
        LabError: a machine did not boot, a state failed, or the portal does not answer.
    """
    require()
    if pillar is not None:
        pillars.check(pillar)
    packaging, why = choose(pillar, packaging, vendor.archive())
    progress(why)
    if Record.load(NAME) is not None:
        progress("taking down the demo that is up")
        Lab.find(NAME).down()
    lab = Lab.up(
        suite or SUITES[0],
        name=NAME,
        platform=platform,
        pillar=pillar,
        attach=True,
        progress=progress,
    )
    lab.keep()
    over = PACKAGING[packaging] if packaging else None
    if over is not None:
        serving = lab.master if lab.record.master else lab.machine(MACHINE)
        serving.add_pillar("packaging", over.read_text())
    states = _apply(lab, progress)
    progress(f"{states} states, none failed; asking what runs")
    _report(lab)
    print(f"\nPackages: {why}.")
    if lab.record.suite == SUITES[0]:
        print(f"\n{tour.summary()}")
    print("\n`make demo-stop` takes it down.")


def choose(
    pillar: Path | None, packaging: str | None, repository: vendor.Archive
) -> tuple[str | None, str]:
    """Choose where the demo's packages come from.

    Args:
        pillar: the user's pillar, if there is one.
        packaging: what was asked for: one of PACKAGING.
        repository: the vendor's, which has Grafana, logs and traces; Debian does not.

    Returns:
        One of PACKAGING, or None for what the pillar says; and the reason, for people.

    Raises:
        LabError: the vendor's repository was asked for, and does not answer.
    """
    if packaging == "distro":
        return packaging, "Debian's own, as PACKAGING=distro asks"
    if packaging is None and pillar is not None:
        return None, f"those that {pillar} names"
    why = vendor.unreachable(repository)
    if packaging == "upstream":
        if why:
            raise LabError(f"PACKAGING=upstream: {why}.")
        return packaging, f"the vendor's, {repository.uri}, as PACKAGING=upstream asks"
    if why:
        return "distro", (
            f"Debian's own, because the vendor's repository does not answer ({why}); so Grafana, "
            "logs and traces are off"
        )
    return "upstream", f"the vendor's, {repository.uri}, which answers (PACKAGING=distro: Debian's)"


def add_node(progress: Progress) -> None:
    """Add a minion to the demo that is up, and apply the formula to it.

    A demo of one machine works without a master; from then on that machine runs one.

    Args:
        progress: told what is being done.

    Raises:
        LabError: no demo is up, or an apply failed.
    """
    require()
    lab = Lab.find(NAME)
    if not lab.record.master:
        progress(f"starting a salt-master on {MACHINE}")
        lab.promote(MACHINE)
    taken = {machine.name for machine in lab.machines}
    number = next(n for n in range(1, 200) if f"node-{n}" not in taken)
    name = f"node-{number}"
    progress(f"booting {name}")
    node = lab.add(name, f"10.10.10.{20 + number}")
    with Waiting(lab.minions, progress):
        # A minion waits for the CA that the INFRA node publishes, which it had no master to do at.
        register = ("infra-*", "infra.register")
        for target, state in (register, (name, "infra"), register):
            progress(f"salt '{target}' state.apply {state}")
            answers = lab.salt(
                f"--timeout={APPLY_SECONDS}", target, "state.apply", state, check=False
            )
            for minion, answer in answers.items():
                done = Applied.of(answer)
                if not done.ok:
                    raise LabError(f"{minion}: {done.complaint()}")
    print(
        f"{node.name} is a minion at {node.address}; the INFRA nodes scrape it and know its name."
    )


def _apply(lab: Lab, progress: Progress) -> int:
    """Apply the formula everywhere; returns the number of states."""
    progress(f"{', '.join(m.name for m in lab.minions)}: state.apply infra")
    with lab.timed("apply"):
        if lab.record.master:
            with Waiting(lab.minions, progress):
                applied = lab.apply(check=False)
                # What the clients published while the INFRA nodes were at work.
                lab.salt("infra-*", "state.apply", "infra.register", check=False)
        else:
            machine = lab.machine(MACHINE)
            applied = {machine.name: machine.apply(check=False, progress=progress)}
    failed = [f"{name}: {one.complaint()}" for name, one in applied.items() if not one.ok]
    if any(one.errors or INVALID in one.failed for one in applied.values()):
        problems = pillars.problems(lab.machine(MACHINE))
        if problems:
            lab.down()
            raise LabError("\n".join(["The pillar is not valid:", *problems]))
    if failed:
        name = failed[0].partition(":")[0]
        raise LabError(
            "\n".join(failed) + "\nThe machines are still there to look at: "
            f"test/lab/lab exec --lab {NAME} {name} -- bash; `make demo-stop` takes them down."
        )
    return sum(map(len, applied.values()))


class Waiting:
    """Says every few seconds which machines a job of their master still runs on."""

    def __init__(self, machines: Sequence[Machine], progress: Progress) -> None:
        self._machines = machines
        self._progress = progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        jobs = ["sh", "-c", "ls /var/cache/salt/minion/proc"]
        while not self._over.wait(WAIT_SECONDS):
            busy = [one.name for one in self._machines if one.run(jobs, check=False).stdout.strip()]
            if busy:
                self._progress(f"waiting for {', '.join(busy)}")


def _report(lab: Lab) -> None:
    print()
    services = [
        (machine.name, dict(row, component=component))
        for machine in lab.minions
        # Ends with an error where something is not well; that is told below, with the rest.
        for component, row in _with_starts(
            machine, machine.salt_call("infra_status.services", check=False)
        ).items()
    ]
    several = len(lab.minions) > 1
    _table(
        ("MACHINE", "SERVICE", "ADDRESS", "HEALTH", "VERSION", "STARTED AFTER"),
        [
            (
                name,
                row["component"],
                " ".join(row["listening"]) or "-",
                _health(row),
                row["version"] or "-",
                row["started"],
            )
            for name, row in services
        ],
        several,
    )
    print()
    portals = [machine for machine in lab.minions if machine.name.startswith("infra-")]
    entries: list[Row] = [
        (machine.name, dict(entry, key=key))
        for machine in portals
        for key, entry in machine.salt_call("infra_portal.status").items()
    ]
    _table(
        ("MACHINE", "ENTRY", "NAME", "HTTP", "HTTPS", "UPSTREAM", "SAYS", "TOOK"),
        [
            (
                name,
                entry["key"],
                entry["domain"],
                _code(entry["http"]),
                _code(entry["https"]),
                entry["upstream"] or "-",
                entry["upstream_status"] or "-",
                f"{entry['seconds']:.2f} s",
            )
            for name, entry in entries
        ],
        several,
    )
    print()
    print("Took " + ", ".join(f"{step} {took:.1f} s" for step, took in lab.seconds.items()) + ".")
    _complain(
        "These services are not healthy",
        _names(
            [r for r in services if r[1]["enabled"] and not r[1]["healthy"]], "component", several
        ),
    )
    _complain(
        "These entries of the portal do not answer",
        _names([e for e in entries if not e[1]["http"] and not e[1]["https"]], "key", several),
    )
    home = next((entry["domain"] for _, entry in entries if entry["domain"]), "")
    for machine in portals:
        status = _ask(machine.address, home)
        print(f"The portal: http://{machine.address}/ (answers {status} from this host)")
    if home:
        names = " ".join(sorted({entry["domain"] for _, entry in entries if entry["domain"]}))
        print(f"Its names, for this host's /etc/hosts:\n{portals[0].address} {names}")


def _names(rows: Sequence[Row], key: str, several: bool) -> list[str]:
    return [f"{row[key]} on {name}" if several else row[key] for name, row in rows]


def _complain(what: str, names: Sequence[str]) -> None:
    if names:
        raise LabError(f"{what}: {', '.join(names)}.")


def _health(row: dict[str, Any]) -> str:
    """Return in a few words how a component is, as it says itself."""
    if not row["enabled"]:
        return "switched off"
    return f"{'healthy' if row['healthy'] else 'NOT HEALTHY'}: {row['said']}"


def _with_starts(machine: Machine, services: dict[str, Any]) -> dict[str, Any]:
    """Return components with how long after the machine's boot the unit of each `started`."""
    running = {key: row["unit"] for key, row in services.items() if row["running"]}
    show = ["systemctl", "show", "--value"]
    if not running:
        return {key: dict(row, started="-") for key, row in services.items()}
    started = machine.run([*show, "--property=ActiveEnterTimestampMonotonic", *running.values()])
    booted = machine.run([*show, "--property=UserspaceTimestampMonotonic"])
    since = [int(word) - int(booted.stdout) for word in started.stdout.split()]
    seconds = {key: f"{one / 1e6:.1f} s" for key, one in zip(running, since, strict=True)}
    return {key: dict(row, started=seconds.get(key, "-")) for key, row in services.items()}


def _ask(address: str, name: str) -> int:
    """Return the status with which the portal answers this host."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": name or address})
        return connection.getresponse().status
    except OSError as error:
        raise LabError(f"http://{address}/ does not answer from this host: {error}.") from error
    finally:
        connection.close()


def _code(status: int | None) -> str:
    return str(status) if status else "-"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], several: bool) -> None:
    """Print a table; its first column, the machine's name, only where there are several."""
    lines = [tuple(line)[not several :] for line in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
