"""What Pigsty 2 and 3 left for programs that have a successor here, and that can read it.

The facts are in infra/legacy.yaml, below ``carried``. The original stays where it is.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra_formula import paths, systemd
from infra_formula.fileset import atomic

Check = Callable[[str, str], str | None]
"""Is called with name and text of a file; returns why the successor refuses it, or None."""


@dataclass(frozen=True)
class Carried:
    """What can be copied.

    files
        Source → destination.
    refused
        Source → why it stays behind.
    """

    files: dict[str, str]
    refused: dict[str, str]


def _record() -> Path:
    return paths.STATE_DIR / "carried.json"


def _known() -> set[str]:
    """Sources that were copied once: what is removed here afterwards stays removed."""
    try:
        return set(map(str, json.loads(_record().read_text(encoding="utf-8"))["carried"]))
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def compare(rows: Iterable[Mapping[str, Any]], check: Check | None = None) -> Carried:
    """Compare what predecessors have with what their successors have.

    rows
        Each ``from`` (a pattern) below ``below`` (a directory), ``to`` (a directory), ``except``
        (patterns of relative paths), and ``restart``, a unit that writes the file when it ends.
    check
        Has a successor check a file.

    A file that exists at its destination stays. A source counts only if it is a plain file that the
    owner of its directory may read, so that a link in a directory of an account gives away nothing.
    """
    known = _known()
    difference = Carried({}, {})
    for row in rows:
        below = Path(row["below"])
        for source in _sources(row):
            relative = Path(source).relative_to(below)
            target = str(Path(row["to"]) / relative)
            if any(relative.match(pattern) for pattern in row.get("except", [])):
                continue
            if source in known or os.path.lexists(target):
                continue
            problem = _unreadable(source, below) if os.path.lexists(source) else None
            if problem is None and check is not None:
                problem = check(source, Path(source).read_text(encoding="utf-8", errors="replace"))
            if problem is None:
                difference.files[source] = target
            else:
                difference.refused[source] = problem
    return difference


def _sources(row: Mapping[str, Any]) -> list[str]:
    pattern = str(Path(row["below"], row["from"]))
    sources = sorted(glob.glob(pattern))
    unit = row.get("restart")
    if not sources and unit and row["below"] in " ".join(systemd.unit_state(unit)["command"]):
        return [pattern]  # it writes the file when it ends
    return sources


def _unreadable(source: str, below: Path) -> str | None:
    """Why a file is not to be copied; None if it may be."""
    real = Path(os.path.realpath(below)) / Path(source).relative_to(below)
    if os.path.realpath(source) != str(real):
        return "it is a symbolic link"
    status = os.lstat(source)
    if not stat.S_ISREG(status.st_mode):
        return "it is no plain file"
    if status.st_uid != below.stat().st_uid and not status.st_mode & stat.S_IROTH:
        return "another account owns it"
    return None


def copy(files: Mapping[str, str], user: str, group: str, mode: int, restart: str | None) -> None:
    """Copy files, and record that.

    files
        Source → destination.
    user, group, mode
        Of the copies, and of directories that are made for them.
    restart
        Unit that runs on the sources, and writes what it has in memory when it ends.
    """
    if restart and systemd.unit_state(restart)["active"]:
        systemd.systemctl("restart", restart)
    for source, target in files.items():
        if not os.path.lexists(source):
            continue
        folder = Path(target).parent
        if not folder.exists():
            atomic.make_directories(folder, 0o750)
            shutil.chown(folder, user, group)
        temporary = atomic.temporary_path(Path(target))
        temporary.unlink(missing_ok=True)
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with (
            os.fdopen(descriptor, "rb") as stream,
            os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new,
        ):
            shutil.copyfileobj(stream, new)
            os.fchmod(new.fileno(), mode)
        shutil.chown(temporary, user, group)
        os.replace(temporary, target)
    carried = sorted(_known() | set(files))
    atomic.write(_record(), json.dumps({"carried": carried}))
