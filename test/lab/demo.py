"""The demo: one machine with the whole formula on it, and a table of what runs there."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import pillar as pillars
from .host import LabError, require
from .laboratory import Lab, Progress
from .machine import Machine
from .paths import HERE
from .record import Record

NAME = "demo"
MACHINE = "infra-1"
PACKAGING = {"distro": None, "upstream": HERE / "pillar" / "upstream.yml"}
"""What is put over the pillar for each `infra_packaging` that can be asked for."""


def show(
    pillar: Path | None, platform: str | None, packaging: str | None, progress: Progress
) -> None:
    """Boot a fresh machine that the host reaches, apply the formula, and print what runs.

    Args:
        pillar: a file in YAML or JSON; pillar.example if not given.
        platform: a platform of kitchen.yml; the first if not given.
        packaging: one of PACKAGING, over what the pillar says; the pillar's if not given.
        progress: told what is being done.

    Raises:
        LabError: the machine did not boot, a state failed, or the portal does not answer.
    """
    require()
    if pillar is not None:
        pillars.check(pillar)
    if Record.load(NAME) is not None:
        progress("taking down the demo that is up")
        Lab.find(NAME).down()
    lab = Lab.up(
        "default", name=NAME, platform=platform, pillar=pillar, attach=True, progress=progress
    )
    lab.keep()
    machine = lab.machine(MACHINE)
    over = PACKAGING[packaging] if packaging else None
    if over is not None:
        machine.add_pillar("packaging", over.read_text())
    machine.salt_call("saltutil.sync_all")
    checked: dict[str, Any] = machine.salt_call("infra_pillar.validate", check=False) or {}
    if checked.get("errors"):
        lab.down()
        raise LabError("\n".join(["The pillar is not valid:", *checked["errors"]]))
    progress(f"{MACHINE} is up; salt-call --local state.apply infra")
    with lab.timed("apply"):
        applied = machine.apply(check=False, progress=progress)
    if not applied.ok:
        raise LabError(
            f"{applied.complaint()}\nThe machine is still there to look at: "
            f"test/lab/lab exec --lab {NAME} {MACHINE} -- bash; `make demo-stop` takes it down."
        )
    progress(f"{len(applied)} states, none failed; asking what runs")
    _report(lab, machine)


def _report(lab: Lab, machine: Machine) -> None:
    print()
    # Ends with an error where something is not well; that is told below, with the rest.
    services: dict[str, Any] = machine.salt_call("infra_status.services", check=False)
    _table(
        ("SERVICE", "ADDRESS", "HEALTH", "VERSION", "STARTED AFTER"),
        [
            (
                component,
                " ".join(row["listening"]) or "-",
                _health(row),
                row["version"] or "-",
                _started(machine, row["unit"]) if row["running"] else "-",
            )
            for component, row in services.items()
        ],
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
    ill = [name for name, row in services.items() if row["enabled"] and not row["healthy"]]
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


def _health(row: dict[str, Any]) -> str:
    """Return in a few words how a component is, as it says itself."""
    if not row["enabled"]:
        return "switched off"
    return f"{'well' if row['healthy'] else 'NOT WELL'}: {row['said']}"


def _started(machine: Machine, unit: str) -> str:
    """Return how long after the machine's boot a unit started."""
    asked = ["systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", unit]
    booted = ["systemctl", "show", "--value", "--property=UserspaceTimestampMonotonic"]
    since = int(machine.run(asked).stdout) - int(machine.run(booted).stdout)
    return f"{since / 1e6:.1f} s"


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
