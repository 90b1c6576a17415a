"""Ends a run in which nothing has begun or ended for long: the stacks of all threads, and exit.

pytest-timeout ends a test that takes too long, but not what hangs between two tests or at the end
of a process. Each process of a run has a watchdog of its own.
"""

import faulthandler
import os
import sys

SECONDS = float(os.environ.get("INFRA_WATCHDOG", "2400"))
"""Longer than any test may take, with what its module sets up (`make soak` allows 1,800 s)."""

_stderr = os.dup(sys.__stderr__.fileno()) if sys.__stderr__ else None


def rearm() -> None:
    """Begin to wait anew, for `SECONDS`."""
    if _stderr is not None:
        faulthandler.dump_traceback_later(SECONDS, exit=True, file=_stderr)


def pytest_sessionstart() -> None:
    """A process begins."""
    rearm()


def pytest_runtest_logstart() -> None:
    """A test begins; the process that hands out the tests is told of each."""
    rearm()


def pytest_runtest_logfinish() -> None:
    """A test has ended."""
    rearm()


def pytest_unconfigure() -> None:
    """What is left is the end of the process, which may hang, too."""
    rearm()
