"""Services: running, off, and restarted if they read their files only when they start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, systemd
from infra_formula.daemon import health, started_files
from infra_formula.fileset.file_set import FileSet
from infra_formula.state import converge

if TYPE_CHECKING:
    __opts__: dict[str, Any]
    __states__: dict[str, Any]


def current(name: str, files: list[str]) -> dict[str, Any]:
    """A service that runs was started with its present files; otherwise it is restarted.

    name
        Its unit, without ``.service``. One that does not run is not started here.
    files
        Absolute paths of what it reads when it starts, its unit among them.
    """
    return converge(name, __opts__["test"], lambda: started_files.plan(name, files))


def running(name: str) -> dict[str, Any]:
    """A unit runs, and starts with the machine.

    name
        Its name, without ``.service``.

    One query of systemd tells it of all units that do; Salt's own state takes six for each. If it
    does not start, the comment ends with the error lines of its journal.
    """
    properties = systemd.SNAPSHOT.show(name)
    if (properties.get("ActiveState"), properties.get("UnitFileState")) == ("active", "enabled"):
        comment = f"{name} runs and is enabled."
        return {"name": name, "changes": {}, "result": True, "comment": comment}
    systemd.SNAPSHOT.drop()
    since = f"@{time.time():.3f}"
    ret: dict[str, Any] = __states__["service.running"](name, enable=True)
    if ret["result"] is False:
        ret["comment"] += health.journal_quote(name, since, last=True)
    return ret


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
    systemd.SNAPSHOT.drop()
    return __states__["service.dead"](name, enable=False)


redaction.guard(globals())
