"""Reports to a person: what is being done, and what is being waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .host import LabError

Progress = Callable[[str], None]
SECONDS = 10
"""How often a long step reports what it waits for."""


def silent(_: str) -> None:
    """Be told of progress, and say nothing."""


class Heartbeat:
    """Reports every few seconds what a long step waits for, while its block runs.

    Args:
        progress: gets the reports.
        look: returns what is being waited for, empty for nothing to report. It is called in a
            thread of its own.
        seconds: the time between two reports.
    """

    def __init__(
        self, progress: Progress, look: Callable[[], str], seconds: float = SECONDS
    ) -> None:
        self._progress = progress
        self._look = look
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _report(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                what = self._look()
            except LabError:
                continue  # a machine that does not answer at the moment
            if what and not self._over.is_set():
                self._progress(what)
