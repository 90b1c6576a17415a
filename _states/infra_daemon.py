"""Daemons of this formula: installed, configured, healthy, cleaned and switched off.

A *daemon* is a row of ``infra/components.yaml`` filled in for this minion, see
``infra_formula.daemon.model``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, systemd, to_install
from infra_formula.daemon import data_removal, health, installation, units
from infra_formula.daemon.model import Daemon
from infra_formula.errors import CommandFailed
from infra_formula.fileset import conflicts
from infra_formula.minion import Minion
from infra_formula.state import Plan, converge
from infra_formula.uninstall import install_record

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def installed(
    name: str,
    packages: list[str],
    program: str,
    switch: str,
    component: str,
    others: list[str] | None = None,
) -> dict[str, Any]:
    """The packages of a daemon are installed, and no unit of theirs runs beside the formula's.

    name
        Name of the daemon.
    packages
        Names of its packages.
    program
        Absolute path of the program in them.
    switch
        Parameter that turns the daemon off; named if a package is not available.
    component
        Its component; the packages are removed with it.
    others
        Units in the packages for the same daemon, which are masked and stopped.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": False, "comment": ""}
    if not packages:
        return {**ret, "comment": f"This packaging has no package of {name}; set {switch}: false."}
    try:
        if not __opts__["test"]:
            minion = _minion()
            install_record.add_packages(minion, component, packages)
            unrecorded = install_record.missing_from_record(component, {"units": others or []})
            install_record.add(component, install_record.inspect(minion, unrecorded))
        masked = installation.mask(others or [], __opts__["test"])
    except CommandFailed as err:
        return {**ret, "comment": str(err)}
    done = to_install.foretell(_minion(), name, packages) if __opts__["test"] else None
    done = done or __states__["pkg.installed"](name=name, pkgs=packages, install_recommends=False)
    if done.get("changes"):
        systemd.SNAPSHOT.drop()
        conflicts.packages_changed()
    if not __opts__["test"]:
        install_record.add_package_changes(component, done.get("changes", {}))
    ret["changes"] = {**done.get("changes", {}), **({"masked": masked} if masked else {})}
    names = ", ".join(packages)
    if done["result"] is False:
        advice = f"if it is not available, set {switch}: false"
        return {**ret, "comment": f"{names} cannot be installed; {advice}: {done['comment']}"}
    if not __opts__["test"] and not Path(program).exists():
        comment = f"{names}: expected {program} in it; or set {switch}: false"
        return {**ret, "comment": comment}
    result = None if __opts__["test"] and ret["changes"] else done["result"]
    return {**ret, "result": result, "comment": done["comment"]}


def configured(name: str, daemon: Daemon) -> dict[str, Any]:
    """The unit and flags of a daemon are as configured; if it runs, it runs with them.

    name
        Name of the daemon.
    daemon
        See the module's description.

    Its program checks the flags before anything is changed. If it runs and something changed
    (flags, unit, or the program by an upgrade), only this daemon is restarted; if it is unhealthy
    then, the previous files are restored and it is restarted with those.
    """
    return converge(name, __opts__["test"], lambda: installation.plan(_minion(), name, daemon))


def healthy(name: str, daemon: Daemon, seconds: int = 30) -> dict[str, Any]:
    """A daemon runs, listens on its port, and answers its health check.

    name
        Name of the daemon.
    daemon
        See the module's description.
    seconds
        How long to wait for that.
    """

    def check() -> Plan:
        if __opts__["test"]:
            return Plan(comment="Health is checked only without test=True.")
        health.wait_until_healthy(daemon, seconds)
        units.record_healthy(_minion(), daemon["unit"])
        return Plan(comment=f"Answers on port {daemon['port']}{daemon['health']}.")

    return converge(name, __opts__["test"], check)


def cleaned(
    name: str, directories: list[str], unit: str, clean: bool = False, confirm: str = ""
) -> dict[str, Any]:
    """The data of a daemon is deleted if two parameters ask for it; once, not in every run.

    name
        Name of the daemon.
    directories
        Directories whose content may be deleted, or files.
    unit
        Its unit, which is stopped first; the state of its service starts it again.
    clean
        The value of ``<name>_clean``.
    confirm
        The value of ``<name>_clean_confirm``: the path that is deleted.

    To delete again, set ``<name>_clean`` to false, apply, and set it to true.
    """

    def compare() -> Plan:
        if clean:
            return data_removal.plan(name, directories, unit, confirm)
        if not __opts__["test"]:
            data_removal.record(name, None)
        return Plan(comment=f"{name}_clean is false; its data is not deleted.")

    return converge(name, __opts__["test"], compare)


def switched_off(name: str, daemons: list[dict[str, str]]) -> dict[str, Any]:
    """Daemons that the parameters turn off do not run, and their units are removed.

    name
        Any name for the state.
    daemons
        Each ``name`` and ``unit``.

    Only what this formula wrote is touched; data and packages stay.
    """
    by_name = {daemon["name"]: daemon["unit"] for daemon in daemons}
    return converge(name, __opts__["test"], lambda: installation.switch_off_plan(by_name))


redaction.guard(globals())
