"""Files of the formula that something else writes in the same run: another formula, most likely.

Whoever writes last wins, both report success, and each run changes the file to and fro. So a run
notes when it began (:func:`begin`), and each file set what its files were when it was through with
them; the last state of the run compares (:func:`end`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_Signature = tuple[int, int, int]
_CLOCK = 20_000_000  # ns: the kernel stamps files by a clock that lags behind by up to a tick
SHARED = ("resolver",)
"""File sets that programs of the system write, too, whenever they like."""


@dataclass
class _Run:
    began: int = field(default_factory=time.time_ns)
    files: dict[str, _Signature | None] = field(default_factory=dict)
    written_before: set[str] = field(default_factory=set)


_runs: list[_Run] = []
"""The run that this process is in, if any."""


def begin() -> None:
    """Begin a run: from now on, what somebody else writes is noticed."""
    _runs[:] = [_Run()]


def packages_changed() -> None:
    """Packages were installed, which write files of theirs: only what is written later counts."""
    for run in _runs:
        run.began = time.time_ns()


def note_changed(paths: Iterable[str | Path]) -> None:
    """Note files of the formula that differ, before they are written again.

    Those that somebody wrote since the run began are reported at its end.
    """
    for run in _runs:
        for path in map(str, paths):
            signature = _signature(path)
            # The run itself may have written it: two states may have a part in one file.
            own = path in run.files and run.files[path] == signature
            # A file of the future was written before the clock was set back.
            if signature and not own and run.began + _CLOCK < signature[2] <= time.time_ns():
                run.written_before.add(path)


def note_written(paths: Iterable[str | Path]) -> None:
    """Note files as they are now that the formula is through with them."""
    for run in _runs:
        run.files.update((path, _signature(path)) for path in map(str, paths))


def end() -> list[str]:
    """End the run.

    Returns the files that something else wrote in it, sorted.
    """
    run = _runs.pop() if _runs else _Run()
    after = {path for path, noted in run.files.items() if _signature(path) != noted}
    return sorted(run.written_before | after)


def _signature(path: str) -> _Signature | None:
    """What changes with every way to write a file; None if there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
