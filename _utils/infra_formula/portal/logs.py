"""nginx's error log: for root, and for the group that may read it."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

from infra_formula.state import Plan

_NOT_FOR_OTHERS = 0o640


def closed_plan(path: str) -> Plan:
    """Plan that a log is not readable by everybody; nor are the older ones that were rotated.

    path
        Absolute path of the log.

    A file that is missing is left to nginx, which creates it with the umask of its unit.
    """
    log = Path(path)
    files = [p for p in sorted(log.parent.glob(f"{log.name}*")) if _is_open_to_others(p)]
    return Plan(
        changes={"mode": {str(p): "0640" for p in files}} if files else {},
        comment=f"{path} is for root and its group.",
        would=f"{path} would be for root and its group.",
        apply=partial(_close, files),
    )


def _is_open_to_others(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and bool(stat.S_IMODE(status.st_mode) & ~_NOT_FOR_OTHERS)


def _close(files: list[Path]) -> None:
    for path in files:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & _NOT_FOR_OTHERS)
        finally:
            os.close(descriptor)
