"""The demo: one machine with the whole formula on it, and a table of what runs there."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .host import LabError
from .laboratory import Lab, Progress
from .machine import Machine
from .record import Record

NAME = "demo"
MACHINE = "infra-1"


def show(pillar: Path | None, platform: str | None, progress: Progress) -> None:
    """Boot a fresh machine that the host reaches, apply the formula, and print what runs.

    Args:
        pillar: a file in YAML or JSON; pillar.example if not given.
        platform: a platform of kitchen.yml; the first if not given.
        progress: told what is being done.

    Raises:
        LabError: the machine did not boot, a state failed, or the portal does not answer.
    """
    if Record.load(NAME) is not None:
        progress("taking down the demo that is up")
        Lab.find(NAME).down()
    lab = Lab.up(
        "default", name=NAME, platform=platform, pillar=pillar, attach=True, progress=progress
    )
    lab.keep()
    machine = lab.machine(MACHINE)
    bare = _running(machine)
    progress(f"{MACHINE} is up; salt-call --local state.apply infra")
    with lab.timed("apply"):
        applied = machine.apply(check=False, progress=progress)
    if not applied.ok:
        raise LabError(
            f"{applied.complaint()}\nThe machine is still there to look at: "
            f"test/lab/lab exec --lab {NAME} {MACHINE} -- bash; `make demo-stop` takes it down."
        )
    progress(f"{len(applied)} states, none failed; asking what runs")
    _report(lab, machine, sorted(_running(machine) - bare))


def _report(lab: Lab, machine: Machine, services: Sequence[str]) -> None:
    print()
    addresses = _listening(machine)
    rows = [(unit, addresses.get(unit, ["-"]), *_health(machine, unit)) for unit in services]
    _table(
        ("SERVICE", "ADDRESS", "HEALTH", "STARTED AFTER"),
        [(unit, " ".join(at), health, took) for unit, at, health, took in rows],
    )
    print()
    entries: dict[str, Any] = machine.salt_call("infra_portal.status")
    _table(
        ("ENTRY", "NAME", "HTTP", "HTTPS", "UPSTREAM", "SAYS", "TOOK"),
        [
            (
                key,
                entry["domain"],
                _code(entry["http"]),
                _code(entry["https"]),
                entry["upstream"] or "-",
                entry["upstream_status"] or "-",
                f"{entry['seconds']:.2f} s",
            )
            for key, entry in entries.items()
        ],
    )
    print()
    print("Took " + ", ".join(f"{step} {took:.1f} s" for step, took in lab.seconds.items()) + ".")
    ill = [unit for unit, _, health, _ in rows if not health.startswith("active")]
    if ill:
        raise LabError(f"These services are not well: {', '.join(ill)}.")
    silent = [key for key, entry in entries.items() if not entry["http"] and not entry["https"]]
    if silent:
        raise LabError(f"These entries of the portal do not answer: {', '.join(silent)}.")
    home = next((entry["domain"] for entry in entries.values() if entry["domain"]), "")
    status = _ask(machine.address, home)
    print(f"The portal: http://{machine.address}/ (answers {status} from this host)")
    if home:
        names = " ".join(sorted({entry["domain"] for entry in entries.values()}))
        print(f"Its names, for this host's /etc/hosts:\n{machine.address} {names}")
    print("`make demo-stop` takes it down.")


def _running(machine: Machine) -> set[str]:
    """Return the services that run on the machine, failed ones and those on their way included."""
    listing = machine.run(
        [
            *("systemctl", "list-units", "--output=json", "--type=service"),
            "--state=running,failed,activating,auto-restart",
        ]
    )
    return {unit["unit"] for unit in json.loads(listing.stdout)}


def _health(machine: Machine, unit: str) -> tuple[str, str]:
    """Return a service's state, and how long after the machine's boot it started."""
    asked = ["systemctl", "show", "--property=ActiveState,SubState,ActiveEnterTimestampMonotonic"]
    shown = dict(line.split("=", 1) for line in machine.run([*asked, unit]).stdout.splitlines())
    booted = ["systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value"]
    start = int(machine.run(booted).stdout)
    since = (int(shown["ActiveEnterTimestampMonotonic"]) - start) / 1e6
    return f"{shown['ActiveState']} ({shown['SubState']})", f"{since:.1f} s"


def _listening(machine: Machine) -> dict[str, list[str]]:
    """Return the addresses that each service listens on, IPv4 and IPv6 alike as one."""
    found: dict[str, set[str]] = {}
    for line in machine.run(["ss", "--no-header", "-lntup"]).stdout.splitlines():
        protocol, _, _, _, local = line.split()[:5]
        host, _, port = local.rpartition(":")
        where = "" if host.split("%")[0] in ("*", "0.0.0.0", "[::]") else host  # noqa: S104
        for pid in re.findall(r"pid=(\d+)", line):
            group = machine.run(["cat", f"/proc/{pid}/cgroup"], check=False).stdout.strip()
            unit = group.rpartition("/")[2]
            found.setdefault(unit, set()).add(f"{where}:{port}/{protocol}")
    return {unit: sorted(places, key=_port) for unit, places in found.items()}


def _port(place: str) -> tuple[int, str]:
    return int(place.partition("/")[0].rpartition(":")[2]), place


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


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
