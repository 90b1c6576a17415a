"""dpkg's state on this machine: who has its lock, and what an interrupted run left unfinished.

A machine whose power was cut, or whose package manager was killed, has packages that are unpacked
and not configured; apt then refuses everything until somebody finishes them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import time
from pathlib import Path

import salt.utils.path

from infra_formula import process
from infra_formula.errors import CommandFailed

log = logging.getLogger(__name__)
ADMIN = Path("/var/lib/dpkg")
_LOCKS = ("lock-frontend", "lock")
_FLOCK = "hhqqi4x"  # struct flock of fcntl(2) on 64-bit Linux
_TOLD_EVERY = 30.0  # seconds
_UNFINISHED = (
    *("half-installed", "unpacked", "half-configured"),
    *("triggers-awaited", "triggers-pending"),
)


def holder() -> int | None:
    """The process that has dpkg's lock; None where nobody has."""
    for name in _LOCKS:
        try:
            fd = os.open(ADMIN / name, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        finally:
            os.close(fd)
        if kind != fcntl.F_UNLCK:
            return int(pid)
    return None


def wait(seconds: float = 900.0, pause: float = 0.5) -> float:
    """Wait until nobody has dpkg's lock, and say in the log for whom.

    seconds
        How long at most.
    pause
        Seconds between two looks.

    Returns the seconds that it took. Raises CommandExecutionError that names the process.
    """
    begun = told = time.monotonic()
    said = False
    while (pid := holder()) is not None:
        now = time.monotonic()
        who = f"process {pid} ({_command(pid)})"
        if now - begun > seconds:
            raise CommandFailed(f"{who} has had the package manager for {seconds:.0f} s")
        if not said or now - told > _TOLD_EVERY:
            log.warning("waiting for %s, which has the package manager", who)
            said, told = True, now
        time.sleep(pause)
    return time.monotonic() - begun


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "of another user or container"


def unfinished() -> list[str]:
    """What dpkg has begun and not finished; empty where all is well.

    Returns package and state of each, and names of what it had not yet written down.
    """
    if salt.utils.path.which("dpkg-query") is None:
        return []
    found = sorted(p.name for p in (ADMIN / "updates").glob("[0-9]*"))
    told = [f"not yet written down: {', '.join(found)}"] if found else []
    form = "${binary:Package} ${db:Status-Status} ${db:Status-Eflag}\\n"
    outcome = process.run(["dpkg-query", "-W", "-f", form])
    rows = [line.split() for line in outcome["stdout"].splitlines()]
    return told + [
        f"{row[0]} is {row[1] if row[1] in _UNFINISHED else row[2]}"
        for row in rows
        if len(row) == 3 and (row[1] in _UNFINISHED or row[2] == "reinstreq")
    ]


def finish() -> None:
    """Have dpkg finish what it began; configuration files that are there are kept.

    Raises CommandExecutionError that quotes it where it cannot.
    """
    keep = ["--force-confdef", "--force-confold"]
    said = _run(["dpkg", *keep, "--configure", "--pending"])
    if unfinished():
        # What was not even unpacked whole has to be unpacked again.
        options = [f"-oDpkg::Options::={option}" for option in keep]
        said = _run(["apt-get", "-q", "-y", *options, "--fix-broken", "install"])
    left = unfinished()
    if left:
        raise CommandFailed("\n".join([*left, said]))


def _run(command: list[str]) -> str:
    outcome = process.run(
        command,
        env={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
    )
    return f"{' '.join(command)}: {outcome['stderr'] or outcome['stdout']}".strip()
