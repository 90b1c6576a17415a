"""What this machine was like before: noted ahead of the first change; see infra_before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.fileset import manifest, originals
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __lowstate__: list[dict[str, Any]]
    __running__: dict[str, dict[str, Any]]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def noted(name: str, files: dict[str, list[str]]) -> dict[str, Any]:
    """What the states of this run are about to change is noted as it is now.

    name
        Any name for the state; it has to run before all that change anything.
    files
        Component → absolute paths that it writes by states of its own.

    A file of somebody else's is kept a copy of, below /var/lib/infra/replaced.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        wanted = install_record.wanted(__lowstate__, files)
        missing = install_record.unnoted(wanted)
        if not missing:
            return {**ret, "comment": "what was there before is known"}
        ret["changes"] = {"noted": sorted(missing)}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "what is there now would be noted"}
        # A machine that was applied to by a release without this record: it is not told apart any
        # more who made a service run, so that they count as ours.
        before_us = bool(install_record.record()) or not manifest.published()
        seen = {c: install_record.look(_minion(), kinds) for c, kinds in missing.items()}
        for kinds in seen.values():
            if not before_us and "units" in kinds:
                kinds["units"] = {unit: {"file": "", "active": False} for unit in kinds["units"]}
            originals.backup(
                [path for path, was in kinds.get("paths", {}).items() if was == "file"]
            )
        install_record.note(seen)
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": "what was there before is noted"}


def installed(name: str) -> dict[str, Any]:
    """Packages that this run brought are known as ours, with those that came along with them.

    name
        Any name for the state; it has to run after all that install something.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    found = install_record.came(__running__)
    if __opts__["test"] or not found:
        return {**ret, "comment": "nothing to note"}
    try:
        known = install_record.record()
        for component, kinds in found.items():
            for package in known.get(component, {}).get("packages", {}):
                kinds["installed"].pop(package, None)
        install_record.note(found)
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "comment": "what was installed is noted"}
