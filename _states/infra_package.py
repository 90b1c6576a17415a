"""Packages, as Salt's own ``pkg`` states install them; what they bring along is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, systemd, to_install
from infra_formula.fileset import conflicts
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __states__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def mod_init(low: dict[str, Any]) -> bool:
    """Have the package lists read anew by the first state of a run that installs something."""
    refreshed: bool = __states__["pkg.mod_init"](low)
    return refreshed


def installed(
    name: str,
    component: str,
    pkgs: list[str] | None = None,
    apart: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Packages are installed.

    name
        The package, unless ``pkgs`` is there.
    component
        The component that they are of; with its removal they are removed, unless they were there
        before or something else needs them.
    pkgs
        Names of packages.
    apart
        A package that cannot be installed, such as one that no repository has, costs no other.
    options
        Others of ``pkg.installed``.
    """
    return _apply("installed", name, component, pkgs, apart, options)


def latest(
    name: str,
    component: str,
    pkgs: list[str] | None = None,
    apart: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Packages are installed in their newest version.

    name, component, pkgs, apart, options
        As for :func:`installed`.
    """
    return _apply("latest", name, component, pkgs, apart, options)


def _apply(
    function: str,
    name: str,
    component: str,
    pkgs: list[str] | None,
    apart: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    arguments = {key: value for key, value in options.items() if not key.startswith("__")}
    if pkgs is not None:
        arguments["pkgs"] = pkgs
    minion = Minion(__salt__, __opts__, __grains__, __context__, __env__)
    try:
        if not __opts__["test"]:
            install_record.add_packages(minion, component, pkgs or [name])
        elif function == "installed" and set(arguments) <= {"pkgs", "install_recommends"}:
            told = to_install.foretell(minion, name, pkgs or [name])
            if told:
                return told
        ret: dict[str, Any] = __states__[f"pkg.{function}"](name=name, **arguments)
        if apart and ret["result"] is False and len(pkgs or []) > 1:
            ret = _one_by_one(function, name, pkgs or [], arguments)
        if ret.get("changes"):
            systemd.SNAPSHOT.drop()
            conflicts.packages_changed()
        if not __opts__["test"]:
            install_record.add_package_changes(component, ret.get("changes", {}))
    except CommandExecutionError as err:
        return {"name": name, "changes": {}, "result": False, "comment": str(err)}
    return ret


def _one_by_one(
    function: str, name: str, pkgs: list[str], arguments: dict[str, Any]
) -> dict[str, Any]:
    """Install each package by itself; those that fail are named, each with its reason."""
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    for package in pkgs:
        ret = __states__[f"pkg.{function}"](name=name, **{**arguments, "pkgs": [package]})
        changes |= ret.get("changes") or {}
        if ret["result"] is False:
            lines = str(ret["comment"]).splitlines()
            reason = next((line for line in lines if "E: " in line), lines[-1] if lines else "")
            reasons.append(f"{package}: {reason.strip(' -')}")
    comment = f"{len(reasons)} of {len(pkgs)} packages cannot be installed: {'; '.join(reasons)}"
    return {"name": name, "changes": changes, "result": not reasons, "comment": comment}


redaction.guard(globals())
