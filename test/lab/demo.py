"""The demo: machines with the whole formula on them, and a table of what runs there."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import pillar as pillars
from . import snapshot, tour, vendor
from .applied import Applied
from .host import LabError, require
from .laboratory import APPLY_SECONDS, Lab
from .machine import Machine
from .paths import HERE
from .progress import Heartbeat, Progress
from .record import Record

NAME = os.environ.get("INFRA_DEMO", "demo")
"""The demo's lab; the tests name another."""
MACHINE = "infra-1"
SUITES = ("default", "fleet")
PACKAGING = {"distro": None, "upstream": HERE / "pillar" / "upstream.yml"}
"""What is put over the pillar for each `infra_packaging` that can be asked for."""
INVALID = "infra-pillar-valid (infra_pillar.valid)"
"""The state that fails, before any other, where the pillar is not valid."""
QUERIES = 2
"""How many questions machines are asked at a time."""
JOBS_SECONDS = 10
"""How long a machine may take to list the jobs that run on it."""
Row = tuple[str, dict[str, Any]]


def show(
    pillar: Path | None,
    platform: str | None,
    packaging: str | None,
    suite: str | None,
    fresh: bool,
    progress: Progress,
) -> None:
    """Boot machines that the host reaches, apply the formula, and print what runs.

    The one machine of pillar.example starts from a snapshot of the last demo that was the same, if
    there is one: it has the packages, and the apply looks at everything and changes what differs.

    Args:
        pillar: a file in YAML or JSON; the suite's if not given.
        platform: a platform of kitchen.yml; the first if not given.
        packaging: one of PACKAGING, over what the pillar says; see `choose`.
        suite: one of SUITES; the first if not given.
        fresh: start from no snapshot.
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
    suite = suite or SUITES[0]
    # A pillar of the user's own may have secrets, which are not to outlast the demo.
    name = f"demo-{packaging}" if pillar is None and suite == SUITES[0] else ""
    if fresh and name:
        snapshot.discard(name)
    lab = Lab.up(
        suite,
        name=NAME,
        platform=platform,
        pillar=pillar,
        attach=True,
        snapshot=name,
        progress=progress,
    )
    lab.keep()
    over = PACKAGING[packaging] if packaging else None
    if over is not None:
        serving = lab.master if lab.record.master else lab.machine(MACHINE)
        serving.add_pillar("packaging", over.read_text())
    restored = name and lab.machine(MACHINE).from_snapshot
    if restored:
        progress("it starts from a snapshot of an earlier demo (FRESH=1: from a bare machine)")
    try:
        states = _apply(lab, progress)
        progress(f"{states} states, none failed; asking what runs")
        _report(lab)
    except LabError:
        if restored:
            snapshot.discard(name)
            progress("the next demo starts from a bare machine")
        raise
    if name and not restored:
        _keep(lab.machine(MACHINE), progress)
    print(f"\nPackages: {why}.")
    if suite == SUITES[0]:
        print(f"\n{tour.summary()}")
    print("\n`make demo-stop` takes it down.")


def _keep(machine: Machine, progress: Progress) -> None:
    """Take a snapshot for the next demo, which takes longer without one."""
    progress("taking a snapshot, from which the next demo starts")
    try:
        machine.keep()
    except LabError as error:
        progress(f"no snapshot: {error}")


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
    with _waiting(lab, progress):
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
            with _waiting(lab, progress):
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


def _waiting(lab: Lab, progress: Progress) -> Heartbeat:
    """Report every few seconds on which machines a job of their master still runs."""
    jobs = ["sh", "-c", "ls /var/cache/salt/minion/proc"]

    def look() -> str:
        running = (
            machine.name
            for machine in lab.minions
            if machine.run(jobs, check=False, timeout=JOBS_SECONDS).stdout.strip()
        )
        names = ", ".join(running)
        return f"waiting for {names}" if names else ""

    return Heartbeat(progress, look)


def _report(lab: Lab) -> None:
    portals = [machine for machine in lab.minions if machine.name.startswith("infra-")]
    # One answer takes about as long as Salt's start, and so do all of them together.
    with ThreadPoolExecutor(QUERIES) as pool:
        of_services = [(machine.name, pool.submit(_services, machine)) for machine in lab.minions]
        of_entries = [
            (machine.name, pool.submit(machine.salt_call, "infra_portal.status"))
            for machine in portals
        ]
    services: list[Row] = [
        (name, dict(row, component=component))
        for name, answer in of_services
        for component, row in answer.result().items()
    ]
    entries: list[Row] = [
        (name, dict(entry, key=key))
        for name, answer in of_entries
        for key, entry in answer.result().items()
    ]
    print()
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


def _services(machine: Machine) -> dict[str, Any]:
    """Return components with how long after the machine's boot the unit of each `started`."""
    # Ends with an error where something is not well, which the report says with the rest.
    services = machine.salt_call("infra_status.services", check=False)
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
