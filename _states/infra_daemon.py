"""Daemons of this formula: installed, configured, well; and the way back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra_formula.daemon import data_removal, flags, health, systemd, unit_files
from infra_formula.daemon import units as daemon_units
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_ROOT = "/etc"


def installed(
    name: str,
    packages: list[str],
    program: str,
    switch: str,
    others: list[str] | None = None,
) -> dict[str, Any]:
    """A daemon's packages are installed, and no unit of theirs runs beside ours.

    name
        Name of the daemon.
    packages
        Names of its packages.
    program
        Absolute path of the program that they bring.
    switch
        Parameter that turns the daemon off; named where a package cannot be had.
    others
        Units that the packages bring for the same daemon; masked, and stopped where they run.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if not packages:
        comment = f"this packaging has no package of {name}; set {switch}: false"
        return {**ret, "result": False, "comment": comment}
    try:
        masked = _mask(others or [])
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    done = __states__["pkg.installed"](name=name, pkgs=packages, install_recommends=False)
    ret["changes"] = {**done.get("changes", {}), **({"masked": masked} if masked else {})}
    if done["result"] is False:
        told = ", ".join(packages)
        comment = f"{told} cannot be installed; where it is not to be had, set {switch}: false"
        return {**ret, "result": False, "comment": f"{comment}: {done['comment']}"}
    if not __opts__["test"] and not Path(program).exists():
        comment = f"{', '.join(packages)}: expected it to bring {program}"
        return {**ret, "result": False, "comment": f"{comment}; or set {switch}: false"}
    result = None if __opts__["test"] and ret["changes"] else done["result"]
    return {**ret, "result": result, "comment": done["comment"]}


def _mask(units: list[str]) -> list[str]:
    """Keep units of others from starting; returns those that did not have to stay away yet."""
    paths = {unit: Path(f"/etc/systemd/system/{unit}.service") for unit in units}
    missing = [
        u for u, p in paths.items() if not (p.is_symlink() and str(p.readlink()) == "/dev/null")
    ]
    if __opts__["test"] or not missing:
        return missing
    for unit in missing:
        if paths[unit].exists() and not paths[unit].is_symlink():
            raise CommandExecutionError(
                f"{paths[unit]}: somebody wrote a unit of their own here, which would run beside "
                "ours; move it away"
            )
        paths[unit].unlink(missing_ok=True)
        paths[unit].symlink_to("/dev/null")
    systemd.systemctl("daemon-reload")
    for unit in missing:
        systemd.systemctl("stop", f"{unit}.service", must=False)
    return missing


def configured(name: str, daemon: dict[str, Any]) -> dict[str, Any]:
    """A daemon's unit and flags are as asked for, and what runs of it runs with them.

    name
        Name of the daemon.
    daemon
        See the execution module infra_daemon.

    The program itself is asked whether it accepts the flags before anything is changed. Where it
    runs and something changed (flags, unit, the program itself by an upgrade), it and nothing else
    is restarted; if it is not well then, the files that it ran with are put back and it runs with
    them again.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    unit = daemon["unit"]
    try:
        daemon = flags.with_supported_flags(daemon)
        files = unit_files.served(_minion(), daemon)
        # A unit or environment file of the package's is replaced; the first one is kept.
        file_set = FileSet(f"daemon-{name}", _ROOT, replace=files)
        plan = file_set.plan(files)
        runs = systemd.unit_state(unit)
        why = health.restart_reason(daemon, runs)
        if not plan.has_changes and not why and file_set.managed_files():
            return {**ret, "comment": f"{unit} is as it should be"}
        flags.validate_flags(daemon)
        # A corrupt manifest alone is no reason to restart.
        changed = plan.create or plan.remove or plan.pending
        changed = changed or any(_concerns_running(rel, files) for rel in plan.change)
        restarts = runs["active"] and bool(changed or why)
        ret["changes"] = dict(plan.diff)
        if restarts:
            ret["changes"][unit] = f"restarted: {why or 'its files changed'}"
        if __opts__["test"]:
            if not ret["changes"]:
                return {**ret, "comment": f"{unit} is as it should be"}
            return {**ret, "result": None, "comment": f"{unit} would change"}
        taken = health.port_problem(daemon)
        if taken and (restarts or not runs["active"]):
            raise CommandExecutionError(taken)
        plan.apply(reload=lambda: _taken_up(daemon, restarts))
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{unit} is as it should be"}


def _concerns_running(rel: str, files: dict[str, dict[str, Any]]) -> bool:
    try:
        current = Path(_ROOT, rel).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True  # a link to nowhere takes the place of the file
    return bool(unit_files.requires_restart(current, files[rel]["text"]))


def _taken_up(daemon: dict[str, Any], restarts: bool) -> None:
    if restarts:
        health.restart(daemon)
    else:
        systemd.systemctl("daemon-reload")


def healthy(name: str, daemon: dict[str, Any], seconds: int = 30) -> dict[str, Any]:
    """A daemon runs, it is the one that has its port, and it says that it is well.

    name
        Name of the daemon.
    daemon
        See the execution module infra_daemon.
    seconds
        How long to wait for that.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if __opts__["test"]:
        return {**ret, "comment": "health is asked only in a real run"}
    try:
        health.wait_until_healthy(daemon, seconds)
        daemon_units.record_healthy(_minion(), daemon["unit"])
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "comment": f"answers on port {daemon['port']}{daemon['health']}"}


def cleaned(
    name: str, directories: list[str], unit: str, clean: bool = False, confirm: str = ""
) -> dict[str, Any]:
    """A daemon's data was destroyed, where two parameters ask for it; once, not at every run.

    name
        Name of the daemon.
    directories
        Whose content is destroyed; or a file.
    unit
        Stopped before; started again by the state of its service.
    clean
        The value of ``<name>_clean``.
    confirm
        The value of ``<name>_clean_confirm``: the path of what is destroyed.

    It is remembered that it was done. It is done again only after a run with the switch off.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if not clean:
        if not __opts__["test"]:
            data_removal.record(name, None)
        return {**ret, "comment": "its data is kept"}
    if confirm not in directories:
        wanted = " or ".join(directories)
        comment = (
            f"{name}_clean: nothing was destroyed; it asks for {name}_clean_confirm: {wanted}, "
            f"got {confirm!r}"
        )
        return {**ret, "result": False, "comment": comment}
    try:
        done = data_removal.recorded(name)
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    if done == confirm:
        return {**ret, "comment": f"it was destroyed before; set {name}_clean: false"}
    doomed = _doomed(Path(confirm))
    ret["changes"] = {confirm: f"destroyed: {len(doomed)} entries"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"{confirm} would be emptied"}
    try:
        systemd.systemctl("stop", f"{unit}.service", must=False)
        for path in map(Path, doomed):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        data_removal.record(name, confirm)
    except (OSError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": f"{confirm}: {err}"}
    return {**ret, "comment": f"{confirm} was emptied"}


def _doomed(path: Path) -> list[str]:
    """What lies in a directory; of a file, itself and those that its database keeps beside it."""
    found = path.glob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return [str(one) for one in sorted(found)]


def switched_off(name: str, daemons: list[dict[str, Any]]) -> dict[str, Any]:
    """Daemons that the parameters switch off do not run, and their units are gone.

    name
        Any name for the state.
    daemons
        Each ``name`` and ``unit``.

    Only what this formula put there is touched; data and packages stay.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        found = {
            daemon["unit"]: gone
            for daemon in daemons
            if (gone := FileSet(f"daemon-{daemon['name']}", _ROOT).remove(test=True))
        }
        if not found:
            return {**ret, "comment": "nothing runs that is switched off"}
        ret["changes"] = {unit: "switched off" for unit in found}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{', '.join(found)} would be switched off"}
        for daemon in daemons:
            if daemon["unit"] in found:
                service = f"{daemon['unit']}.service"
                systemd.systemctl("disable", "--now", service)
                FileSet(f"daemon-{daemon['name']}", _ROOT).remove()
        systemd.systemctl("daemon-reload")
        # One that did not end well would be listed as failed, although it is gone.
        names = [f"{unit}.service" for unit in found]
        systemd.systemctl("reset-failed", *names, must=False)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{', '.join(found)} switched off"}
