"""dpkg as a state: nobody has its lock, and nothing that it began is left unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.repository import dpkg
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]


def finished(name: str, seconds: int = 900) -> dict[str, Any]:
    """Packages can be installed: what an interrupted run left unfinished is finished first.

    name
        Any name for the state.
    seconds
        How long to wait for somebody else who has the package manager.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        if __opts__["test"]:
            if dpkg.holder() is not None:
                return {**ret, "comment": "somebody has the package manager now"}
            waited = 0.0
        else:
            waited = dpkg.wait(seconds)
        told = f"waited {waited:.0f} s for somebody else; " if waited >= 1 else ""
        left = dpkg.unfinished()
        if not left:
            return {**ret, "comment": f"{told}nothing is unfinished"}
        ret["changes"] = {"finished": left}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "what dpkg began would be finished"}
        dpkg.finish()
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{told}what dpkg began is finished"}
