"""Takeover of a machine that Pigsty laid out; see infra/legacy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, systemd
from infra_formula.daemon.model import Daemon
from infra_formula.data import load
from infra_formula.fileset import originals, takeover
from infra_formula.minion import Minion
from infra_formula.monitoring import vmalert
from infra_formula.state import Plan, converge
from infra_formula.uninstall import carried as carrying
from infra_formula.uninstall import pigsty_takeover, removal

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def taken_over(name: str, legacy: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """File sets may overwrite the files that Pigsty wrote in their places; each is backed up.

    name
        Any name for the state; it has to run before all that write files.
    legacy
        infra/legacy.yaml.
    parameters
        Parameters that stand in braces there.

    Nothing is overwritten here: the portal, the rules, the targets stay as they are until the state
    of each switches its own files in. A machine without a trace of Pigsty is left alone.
    """

    def compare() -> Plan:
        takeover.assume_overwritable({})
        rows = pigsty_takeover.substitute(legacy, parameters)
        traces = pigsty_takeover.existing_paths(rows["traces"])
        if not traces:
            return Plan(comment="There is no trace of Pigsty.")
        evidence = f"Pigsty laid this machine out ({', '.join(traces)})"
        warnings = pigsty_takeover.predecessors(load("pigsty")["predecessors"])
        if takeover.overwritable() == rows["replaced"]:
            return Plan(comment=f"{evidence}; its files may be overwritten.", warnings=warnings)
        if __opts__["test"]:
            takeover.assume_overwritable(rows["replaced"])
        return Plan(
            changes={"found": traces},
            comment=f"{evidence}; its files may be overwritten.",
            would=f"{evidence}; its files would be taken over.",
            apply=lambda: takeover.allow_overwrite(rows["replaced"]),
            warnings=warnings,
        )

    return converge(name, __opts__["test"], compare)


def carried(name: str, rows: list[dict[str, Any]], user: str, daemon: Daemon) -> dict[str, Any]:
    """What a program of Pigsty 2 or 3 has, and its successor can read, is copied to it, once.

    name
        The component.
    rows
        Of ``carried`` in infra/legacy.yaml, with their parameters.
    user
        Account that the copies belong to; their group is ``infra``.
    daemon
        The successor; vmalert checks each file of rules.

    The originals stay. A file that cannot be copied is named in a warning, and costs no other.
    """

    def compare() -> Plan:
        if not takeover.overwritable():
            return Plan(comment="There was no takeover from Pigsty.")
        check = vmalert.refusal_of(daemon) if name == "vmalert" else None
        difference = carrying.compare(rows, check)
        warnings = [f"{source} stays behind: {why}" for source, why in difference.refused.items()]
        restart = next((row["restart"] for row in rows if "restart" in row), None)
        return Plan(
            changes={
                target: f"copied from {source}" for source, target in difference.files.items()
            },
            comment=f"{len(difference.files)} files of the predecessor copied."
            if difference.files
            else "All files of the predecessor that can be used are here.",
            would=f"{len(difference.files)} files of the predecessor would be copied.",
            apply=lambda: carrying.copy(difference.files, user, "infra", 0o640, restart),
            warnings=warnings,
        )

    return converge(name, __opts__["test"], compare)


def owned(name: str, user: str) -> dict[str, Any]:
    """What Pigsty wrote into a directory as root belongs to the account that uses it now.

    name
        Absolute path.
    user
        The account.
    """

    def compare() -> Plan:
        if not pigsty_takeover.has_files_of_root(name):
            return Plan(comment=f"Nothing in {name} belongs to root.")
        return Plan(
            changes={name: f"owner changed to {user}"},
            comment=f"Everything in {name} belongs to {user}.",
            would=f"Everything in {name} would be given to {user}.",
            apply=lambda: pigsty_takeover.change_owner(name, user),
        )

    return converge(name, __opts__["test"], compare)


def tidied(name: str, legacy: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """What Pigsty left and nothing uses any more is removed; each file is backed up.

    name
        Any name for the state; it has to run after all others.
    legacy, parameters
        As for :func:`taken_over`.
    """

    def compare() -> Plan:
        if not takeover.overwritable():
            return Plan(comment="There was no takeover from Pigsty.")
        takeover.assume_overwritable({})
        rows = pigsty_takeover.substitute(legacy, parameters)["last"]
        minion = Minion(__salt__, __opts__, __grains__, __context__, __env__)
        paths = pigsty_takeover.leftovers(minion, rows)
        paths |= pigsty_takeover.superseded_targets(f"{parameters.get('infra_data', '')}/targets")
        return Plan(
            changes={path: f"removed: {why}" for path, why in paths.items()},
            comment=f"{len(paths)} leftovers of Pigsty removed."
            if paths
            else "No leftovers of Pigsty.",
            would=f"{len(paths)} leftovers of Pigsty would be removed.",
            apply=lambda: _remove(list(paths)),
        )

    return converge(name, __opts__["test"], compare)


def _remove(paths: list[str]) -> None:
    for path in paths:
        originals.backup([path])
        removal.delete(path)
    if any("/systemd/" in path for path in paths):
        systemd.systemctl("daemon-reload")


redaction.guard(globals())
