"""Where the lab keeps what it makes: cache, state, the checkout it serves."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from . import preconditions
from .host import LabError

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent


def cache() -> Path:
    """Return the folder for what is expensive and can be made again; INFRA_CACHE names another."""
    named = os.environ.get("INFRA_CACHE")
    if named:
        return Path(named).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).resolve() / "infra-formula"


def state() -> Path:
    """Return the folder that holds a folder per lab; INFRA_LAB_STATE names another."""
    return preconditions.state_folder()


@contextmanager
def locked(path: Path) -> Iterator[TextIO]:
    """Hold an exclusive lock on a file, made if need be.

    A child that is given the yielded file keeps the lock for as long as it runs.

    Args:
        path: the lock file; it stays behind.

    Yields:
        The open file that holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle


def remove_tree(path: Path) -> None:
    """Remove a folder that is ours, unless something is still mounted below it.

    Args:
        path: the folder; it need not be there.

    Raises:
        LabError: a file system is mounted below it, so that more would go than is ours.
    """
    if not path.exists():
        return
    inside = f"{path.resolve()}/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mounted = line.split()[4].encode().decode("unicode_escape")
        if f"{mounted}/".startswith(inside):
            raise LabError(f"{path} is not removed: {mounted} is still mounted.")
    shutil.rmtree(path)
