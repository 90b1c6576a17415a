"""A daemon on this machine: competing units masked, its own unit published, and switched off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra_formula import systemd
from infra_formula.daemon import flags, health, unit_files
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from infra_formula.state import Plan

ROOT = "/etc"


def mask(units: Sequence[str], test: bool) -> list[str]:
    """Mask units of packages that would run beside the formula's, and stop them.

    units
        Their names, without ``.service``.

    Returns those that are not masked yet.

    Raises CommandFailed for a unit that the site wrote.
    """
    paths = {unit: Path(f"{ROOT}/systemd/system/{unit}.service") for unit in units}
    unmasked = [
        unit
        for unit, path in paths.items()
        if not (path.is_symlink() and str(path.readlink()) == "/dev/null")
    ]
    if test or not unmasked:
        return unmasked
    for unit in unmasked:
        path = paths[unit]
        if path.exists() and not path.is_symlink():
            raise CommandFailed(
                f"{path}: expected no unit of the site's, which would run beside the formula's; "
                "move it away"
            )
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/null")
    systemd.systemctl("daemon-reload")
    for unit in unmasked:
        systemd.systemctl("stop", f"{unit}.service", must=False)
    return unmasked


def plan(minion: Minion, name: str, daemon: Daemon) -> Plan:
    """Plan the unit and the flags of a daemon, accepted by its program.

    If it runs and something changed (flags, unit, or the program by an upgrade), it is restarted;
    if it is unhealthy then, the previous files are restored and it is restarted with those.

    name
        Name of the daemon.

    Raises CommandFailed if its program refuses the flags.
    """
    unit = daemon["unit"]
    daemon = flags.with_supported_flags(daemon)
    files = unit_files.served(minion, daemon)
    # A unit or environment file of the package is backed up and replaced.
    file_set = FileSet(f"daemon-{name}", ROOT, replace=files)
    difference = file_set.plan(files)
    state = systemd.unit_state(unit)
    reason = health.restart_reason(daemon, state)
    changes = dict(difference.diff)
    if not changes and not file_set.managed_files():
        changes[unit] = "its files are recorded as managed"
    if not changes and not reason:
        return Plan(comment=f"{unit} is up to date.")
    flags.validate_flags(daemon)
    # A corrupt manifest alone does not require a restart.
    differs = difference.create or difference.remove or difference.pending
    if differs or any(
        _requires_restart(rel, files[rel]["text"], daemon) for rel in difference.change
    ):
        reason = reason or "its files changed"
    restarts = state["active"] and bool(reason)
    if restarts:
        changes[unit] = f"restarted: {reason}"

    def apply() -> None:
        problem = health.port_problem(daemon)
        if problem and (restarts or not state["active"]):
            raise CommandFailed(problem)
        difference.apply(reload=reload)

    def reload() -> None:
        if restarts:
            health.restart(daemon)
        else:
            systemd.systemctl("daemon-reload")

    return Plan(changes, f"{unit} is up to date.", f"{unit} would change.", apply)


def _requires_restart(rel: str, desired: str, daemon: Daemon) -> bool:
    try:
        current = Path(ROOT, rel).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # a dangling link is replaced by the file
    return unit_files.requires_restart(current, desired, daemon)


def switch_off_plan(units: dict[str, str]) -> Plan:
    """Plan to stop daemons that the parameters turn off, and to remove their units.

    Only what this formula wrote is touched; data and packages stay.

    units
        Name of each daemon → its unit.
    """
    present = {
        unit: FileSet(f"daemon-{name}", ROOT)
        for name, unit in units.items()
        if FileSet(f"daemon-{name}", ROOT).remove(test=True)
    }
    names = ", ".join(present)

    def apply() -> None:
        for unit, file_set in present.items():
            systemd.systemctl("disable", "--now", f"{unit}.service")
            file_set.remove()
        systemd.systemctl("daemon-reload")
        # A unit that failed would be listed as failed although it is removed.
        systemd.systemctl("reset-failed", *(f"{unit}.service" for unit in present), must=False)

    return Plan(
        dict.fromkeys(present, "switched off"),
        f"{names} switched off." if present else "No daemon runs that is switched off.",
        f"{names} would be switched off.",
        apply,
    )
