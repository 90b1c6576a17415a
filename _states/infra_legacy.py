"""Taking over a machine that Pigsty laid out; see infra_legacy and infra/legacy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula import systemd
from infra_formula.fileset import originals, takeover
from infra_formula.minion import Minion
from infra_formula.uninstall import pigsty_takeover, removal
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def taken_over(name: str, legacy: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """What Pigsty wrote may be replaced by what takes its place; a copy of each file is kept.

    name
        Any name for the state; it has to run before all that write files.
    legacy
        infra/legacy.yaml.
    parameters
        Parameters that stand in braces there.

    Only that it may: the portal, the rules, the targets … go on as they are until the state that
    owns them switches its own in, at once. A machine without a trace of Pigsty is left alone.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    rows = pigsty_takeover.filled(legacy, parameters)
    traces = pigsty_takeover.present(rows["traces"])
    if not traces:
        return {**ret, "comment": "Pigsty was never here, or has been taken over"}
    try:
        if takeover.overwritable() != rows["replaced"]:
            ret["changes"]["found"] = traces
            if __opts__["test"]:
                takeover.assume_overwritable(rows["replaced"])
            else:
                takeover.allow_overwrite(rows["replaced"])
    except (CommandExecutionError, OSError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    told = f"Pigsty laid this machine out ({', '.join(traces)})"
    if __opts__["test"] and ret["changes"]:
        return {**ret, "result": None, "comment": f"{told}; it would be taken over"}
    return {**ret, "comment": told}


def owned(name: str, user: str) -> dict[str, Any]:
    """What Pigsty's root wrote into a directory belongs to the account that goes on with it.

    name
        Absolute path.
    user
        The account.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if not pigsty_takeover.belongs_to_root(name):
        return {**ret, "comment": "nothing in it belongs to root"}
    ret["changes"] = {name: f"given to {user}"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"it would be given to {user}"}
    pigsty_takeover.hand_over(name, user)
    return {**ret, "comment": f"it is given to {user}"}


def tidied(name: str, legacy: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """What Pigsty left and nobody needs any more is gone; a copy of each file is kept.

    name
        Any name for the state; it has to run after all others.
    legacy, parameters
        As for :func:`taken_over`.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if not takeover.overwritable():
        return {**ret, "comment": "Pigsty was never here"}
    takeover.assume_overwritable({})
    try:
        rows = pigsty_takeover.filled(legacy, parameters)["last"]
        found = pigsty_takeover.left_over(_minion(), rows)
        ret["changes"] = {path: f"removed: {why}" for path, why in found.items()}
        if __opts__["test"] or not found:
            result = None if found else True
            return {**ret, "result": result, "comment": f"{len(found)} left-overs"}
        for path in found:
            originals.backup([path])
            removal.destroy(path)
        if any("/systemd/" in path for path in found):
            systemd.systemctl("daemon-reload")
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{len(found)} left-overs are removed"}
