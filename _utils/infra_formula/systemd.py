"""systemd: units as ``systemctl`` shows and changes them, and their journal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from infra_formula import process
from infra_formula.errors import CommandFailed

_SUFFIXES = (".service", ".timer", ".socket")


SNAPSHOT_PROPERTIES = (
    "ActiveState", "SubState", "MainPID", "InvocationID", "NeedDaemonReload", "UnitFileState",
    "ActiveEnterTimestampMonotonic",
)  # fmt: skip
"""Properties that a snapshot has of each unit."""

_UNITS = (
    "alertmanager.service", "blackbox_exporter.service", "chrony.service", "chronyd.service",
    "dnsmasq.service", "grafana-server.service", "infra-cert-renew.timer", "certbot.timer",
    "certbot-renew.timer", "infra-drift.timer", "infra-firewall.service",
    "infra-home-states.service", "infra-units.timer", "nginx.service", "nginx_exporter.service",
    "node_exporter.service", "vector.service", "vlogs.service", "vlstorage.service",
    "vmagent.service", "vmalert.service", "vmalert_logs.service", "vmetrics.service",
    "vminsert.service", "vmselect.service", "vmstorage.service", "vtraces.service",
    "vtstorage.service",
)  # fmt: skip
"""Units that an apply looks at. One that is missing here takes a query of its own, no more."""

_SNAPSHOT_SECONDS = 30.0  # for which an answer is used at most
_RUNNING = Path("/run/systemd/units")  # a link for each invocation of a unit
_RELOADED = Path("/run/systemd/systemd-units-load")  # written when systemd reads its units
_ETC = Path("/etc/systemd/system")
_UNIT_FOLDERS = (_ETC, Path("/run/systemd/system"), Path("/usr/lib/systemd/system"))

_Traces = tuple[tuple[int, int], ...]


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
    SNAPSHOT.drop()
    try:
        outcome = process.run(["systemctl", *words])
    finally:
        SNAPSHOT.drop()
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


class Snapshot:
    """What systemd reported of the formula's units, by one query for all of them.

    An answer is used again only if it gives no reason to act: the unit is active, and systemd has
    read its present files. It is forgotten by any action on a unit (:func:`systemctl`), by
    :meth:`drop`, and whenever files show that a unit was started, stopped, written or enabled, or
    that systemd read its units again, whoever did it.
    """

    def __init__(self) -> None:
        self._answers: dict[str, tuple[_Traces, dict[str, str]]] = {}
        self._until = 0.0

    def show(self, unit: str) -> dict[str, str]:
        """Report the :data:`SNAPSHOT_PROPERTIES` of a unit; nothing if systemd does not answer.

        unit
            Its name, with or without ``.service``.
        """
        name = unit_name(unit)
        if time.monotonic() > self._until:
            self.drop()
        known = self._answers.get(name)
        if known is not None and known[0] == _traces(name):
            return known[1]
        alone = self._answers or not _RUNNING.is_dir()
        names = {name} if alone else {name, *_present()}
        # Before the query: what happens meanwhile makes its answer a past one.
        traces = {name: _traces(name) for name in names}
        if not self._answers:
            self._until = time.monotonic() + _SNAPSHOT_SECONDS
        answers = show(names, SNAPSHOT_PROPERTIES, must=False)
        for other, answer in answers.items():
            before = traces[other]
            needs_nothing = (answer.get("ActiveState"), answer.get("NeedDaemonReload"))
            if before and needs_nothing == ("active", "no"):
                self._answers[other] = (before, answer)
        return answers[name]

    def drop(self) -> None:
        """Forget every answer: a unit was acted upon, or may have been."""
        self._answers.clear()


SNAPSHOT = Snapshot()
"""The one of this process, for functions that only look."""


def _present() -> list[str]:
    """The formula's units that this machine has."""
    folders = (_ETC / "multi-user.target.wants", *_UNIT_FOLDERS)
    return [name for name in _UNITS if any((folder / name).exists() for folder in folders)]


def _traces(unit: str) -> _Traces:
    """Inode and time of each file that changes with a unit; nothing if they do not show it."""
    if not _RUNNING.is_dir():
        return ()
    return tuple(_trace(path) for path in _traced(unit))


def _traced(unit: str) -> Iterator[Path]:
    yield _RUNNING
    yield _RELOADED
    for folder in _UNIT_FOLDERS:
        yield folder
        yield folder / unit
        try:
            yield from sorted((folder / f"{unit}.d").iterdir())
        except OSError:
            continue
    for target in ("multi-user.target.wants", "timers.target.wants"):
        yield _ETC / target


def _trace(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def unit_state(unit: str) -> UnitState:
    """State of a unit.

    unit
        Its name without ``.service``.
    """
    values = SNAPSHOT.show(unit)
    pid = int(values.get("MainPID") or 0)
    return {
        "active": values.get("ActiveState") == "active",
        "state": f"{values.get('ActiveState', 'unknown')}/{values.get('SubState', 'unknown')}",
        "pid": pid,
        "command": _command(pid),
        "replaced": _is_replaced(pid),
        "invocation": values.get("InvocationID", ""),
        "reload": values.get("NeedDaemonReload") == "yes",
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
