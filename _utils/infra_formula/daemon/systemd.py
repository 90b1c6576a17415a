"""systemd: units as ``systemctl`` shows and changes them, and their journal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from infra_formula import process
from infra_formula.errors import CommandFailed


class UnitState(TypedDict):
    """State of one unit and of its main process."""

    active: bool
    state: str  # ActiveState/SubState
    pid: int  # of the main process; 0 for none
    command: list[str]  # its argument list
    replaced: bool  # its program file was deleted or replaced since it started
    invocation: str  # changes with each start
    reload: bool  # the unit's files changed since systemd read them


def systemctl(*words: str, must: bool = True) -> None:
    """Run systemctl.

    must
        False: it may fail.

    Raises CommandFailed that quotes it.
    """
    outcome = process.run(["systemctl", *words])
    if must and outcome["retcode"]:
        raise CommandFailed(f"systemctl {' '.join(words)}: {outcome['stderr']}")


def show(units: Sequence[str], properties: Iterable[str]) -> list[dict[str, str]]:
    """Properties of units, by one call of ``systemctl show``.

    units
        Their full names, ``nginx.service``.
    properties
        Names like ``ActiveState``.

    Returns one mapping per unit, in their order. A unit that does not exist has properties too.

    Raises CommandFailed if systemd does not answer.
    """
    outcome = process.run(["systemctl", "show", f"--property={','.join(properties)}", "--", *units])
    blocks = [block for block in outcome["stdout"].split("\n\n") if block.strip()]
    if len(blocks) != len(units):
        raise CommandFailed(f"systemctl show: {outcome['stderr'] or 'no answer'}")
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks
    ]


def unit_state(unit: str) -> UnitState:
    """State of a unit.

    unit
        Its name without ``.service``.
    """
    names = ("ActiveState", "SubState", "MainPID", "InvocationID", "NeedDaemonReload")
    (shown,) = show([f"{unit}.service"], names)
    pid = int(shown.get("MainPID") or 0)
    return {
        "active": shown.get("ActiveState") == "active",
        "state": f"{shown.get('ActiveState', 'unknown')}/{shown.get('SubState', 'unknown')}",
        "pid": pid,
        "command": _command(pid),
        "replaced": _is_replaced(pid),
        "invocation": shown.get("InvocationID", ""),
        "reload": shown.get("NeedDaemonReload") == "yes",
    }


def _command(pid: int) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes() if pid else b""
    except OSError:
        return []
    return [part.decode("utf-8", "replace") for part in raw.split(b"\0")[:-1]]


def _is_replaced(pid: int) -> bool:
    try:
        return bool(pid) and os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def restarts(unit: str) -> int:
    """How often systemd itself restarted a unit since it was started."""
    (shown,) = show([f"{unit}.service"], ["NRestarts"])
    return int(shown.get("NRestarts") or 0)


def has_process(unit: str, pids: Iterable[int]) -> bool:
    """Whether one of these processes belongs to a unit."""
    for pid in pids:
        try:
            if f"/{unit}.service" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
                return True
        except OSError:  # it ended meanwhile
            continue
    return False


def journal(unit: str, since: str) -> str:
    """The last lines of a unit's journal.

    unit
        Its name.
    since
        Start of the period, as journalctl takes it.
    """
    # What the unit wrote last may not be in the journal yet.
    process.run(["journalctl", "--sync"])
    command = ["journalctl", "-u", unit, "--since", since, "-o", "cat", "--no-pager", "-n", "200"]
    return process.run(command)["stdout"]
