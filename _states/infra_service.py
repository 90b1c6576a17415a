"""Services that read their files only when they start, as states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula import systemd
from infra_formula.daemon import started_files
from infra_formula.fileset.file_set import FileSet
from salt.exceptions import CommandExecutionError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __states__: dict[str, Any]


def current(name: str, files: list[str]) -> dict[str, Any]:
    """A service that runs was started with its files as they are now; restarted where it was not.

    name
        Its unit, without ``.service``. One that does not run is left to be started by others.
    files
        Absolute paths of what it reads when it starts, its unit among them.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    wanted = started_files.digest(files)
    if started_files.started(name) == wanted:
        return {**ret, "comment": f"{name} has its files as they are"}
    runs = systemd.unit_state(name)["active"]
    if runs:
        ret["changes"] = {name: "restarted: its files changed"}
    if __opts__["test"]:
        if not runs:
            return {**ret, "comment": f"{name} does not run"}
        return {**ret, "result": None, "comment": f"{name} would be restarted"}
    try:
        systemd.systemctl("daemon-reload")
        if runs:
            systemd.systemctl("restart", f"{name}.service")
        # Not before: where this run ends now, the next one restarts it.
        started_files.remember(name, wanted)
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    except OSError as err:
        comment = f"{name}: with what it was started cannot be written down: {err}"
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": f"{name} has its files as they are"}


def off(name: str, file_set: str, root: str) -> dict[str, Any]:
    """A service that this formula configured is stopped and disabled; any other is left alone.

    name
        Its unit, without ``.service``.
    file_set
        The file set that shows that this formula configured it.
    root
        Directory of that file set.
    """
    if not FileSet(file_set, root).remove(test=True):
        comment = f"{name} is not configured by this formula."
        return {"name": name, "changes": {}, "result": True, "comment": comment}
    return __states__["service.dead"](name, enable=False)
