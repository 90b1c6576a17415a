"""Digests of the files that a service was started with, for services that read them only then.

A requisite (``watch``) restarts a service in the run that changed its files; if that run ends
before the restart, no later run does it. So a digest of the files that a service was started with
is recorded in ``/var/lib/infra/started``. It does not depend on a clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from infra_formula import paths, systemd
from infra_formula.fileset import atomic, conflicts
from infra_formula.state import Plan


def plan(unit: str, files: Iterable[str]) -> Plan:
    """Plan to restart a service that runs if its files changed since it was started.

    Or if its program is no longer the one that runs: dnsmasq's package, unlike chrony's, does not
    restart the service when it is upgraded.

    unit
        Its name, without ``.service``.
    files
        Absolute paths of what it reads when it starts.
    """
    files = list(files)
    present = digest(files)
    conflicts.note_written(files)
    state = systemd.unit_state(unit)
    runs, is_current = state["active"], started_with(unit) == present
    if is_current and not (runs and state["replaced"]):
        return Plan(comment=f"{unit} was started with its present files.")
    reason = "its program was upgraded" if is_current else "its files changed"

    def restart() -> None:
        systemd.systemctl("daemon-reload")
        systemd.systemctl("restart", f"{unit}.service")

    def finish() -> None:
        if not runs:  # its unit is among the files; another state starts it
            systemd.systemctl("daemon-reload")
        # If this run ends before, the next one restarts it.
        record(unit, present)

    return Plan(
        changes={unit: f"restarted: {reason}"} if runs else {},
        comment=f"{unit} restarted with its present files." if runs else f"{unit} does not run.",
        would=f"{unit} would be restarted.",
        apply=restart,
        record=finish,
    )


def digest(files: Iterable[str]) -> str:
    """SHA-256 over the content of files, missing ones included, as a hexadecimal string."""
    whole = hashlib.sha256()
    for path in files:
        try:
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except FileNotFoundError:
            content = "none"
        whole.update(f"{path}\0{content}\n".encode())
    return whole.hexdigest()


def _record_path(unit: str) -> Path:
    return paths.STATE_DIR / "started" / unit


def started_with(unit: str) -> str:
    """The digest that a unit was started with last; empty if it is unknown."""
    try:
        return _record_path(unit).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def record(unit: str, text: str) -> None:
    """Record the digest that a unit was started with."""
    atomic.write(_record_path(unit), f"{text}\n", 0o644)
