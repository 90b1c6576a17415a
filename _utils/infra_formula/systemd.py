"""systemd: units as ``systemctl`` shows and changes them, and their journal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from infra_formula import process
from infra_formula.errors import CommandFailed

_SUFFIXES = (".service", ".timer", ".socket")


class UnitState(TypedDict):
    """State of one unit and of its main process."""

    active: bool
    state: str  # ActiveState/SubState
    pid: int  # of the main process; 0 for none
    command: list[str]  # its argument list
    replaced: bool  # its program file was deleted or replaced since it started
    invocation: str  # changes with each start
    reload: bool  # the unit's files changed since systemd read them


def unit_name(unit: str) -> str:
    """Full name of a unit: of a service, unless it has another known suffix."""
    return unit if unit.endswith(_SUFFIXES) else f"{unit}.service"


def systemctl(*words: str, must: bool = True) -> None:
    """Run systemctl.

    must
        False: it may fail.

    Raises CommandFailed that quotes it.
    """
    outcome = process.run(["systemctl", *words])
    if must and outcome["retcode"]:
        raise CommandFailed(f"systemctl {' '.join(words)}: {outcome['stderr']}")


def show(
    units: Iterable[str], properties: Iterable[str], must: bool = True
) -> dict[str, dict[str, str]]:
    """Report properties of units, by one call of systemctl.

    units
        Their names, with or without ``.service``.
    properties
        Names of properties, e.g. ``ActiveState``.
    must
        False: if systemd does not answer, or is not installed, no properties are returned.

    Returns name of the unit, as passed → property → value.

    Raises CommandFailed if systemd does not answer.
    """
    names = sorted(set(units))
    if not names:
        return {}
    # One answer per name, in their order: an alias is reported under its real name.
    command = ["systemctl", "show", f"--property={','.join(properties)}", "--"]
    try:
        outcome = process.run([*command, *map(unit_name, names)])
        blocks = [block for block in outcome["stdout"].split("\n\n") if block.strip()]
        if len(blocks) != len(names):
            raise CommandFailed(f"systemctl show: {outcome['stderr'].strip() or 'no answer'}")
    except CommandFailed:
        if must:
            raise
        return {name: {} for name in names}
    return {name: _parse(block) for name, block in zip(names, blocks, strict=True)}


def _parse(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines() if "=" in line)
    return {key: value for key, _, value in pairs}


def unit_state(unit: str) -> UnitState:
    """State of a unit.

    unit
        Its name without ``.service``.
    """
    names = ("ActiveState", "SubState", "MainPID", "InvocationID", "NeedDaemonReload")
    shown = show([unit], names, must=False)[unit]
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
    return int(show([unit], ["NRestarts"], must=False)[unit].get("NRestarts") or 0)


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
