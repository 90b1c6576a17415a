"""dpkg on this machine: which process holds its lock, and what an interrupted run left unfinished.

After a power cut, or if the package manager was killed, packages may be unpacked and not
configured; apt then refuses everything until they are.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
from pathlib import Path

import salt.utils.path

from infra_formula import process, redaction
from infra_formula.errors import CommandFailed
from infra_formula.state import Plan

log = redaction.logger(__name__)
ADMIN = Path("/var/lib/dpkg")
_LOCKS = ("lock-frontend", "lock")
_FLOCK = "hhqqi4x"  # struct flock of fcntl(2) on 64-bit Linux
_LOG_EVERY = 30.0  # seconds
_TO_DO = re.compile(rb"(?m)^Status:(?! \S+ ok (?:installed|config-files|not-installed)$)")
_UNFINISHED = (
    *("half-installed", "unpacked", "half-configured"),
    *("triggers-awaited", "triggers-pending"),
)


def holder() -> int | None:
    """Process that holds dpkg's lock; None if it is free."""
    for name in _LOCKS:
        try:
            fd = os.open(ADMIN / name, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_GETLK, request))
        finally:
            os.close(fd)
        if kind != fcntl.F_UNLCK:
            return int(pid)
    return None


def wait(seconds: float = 900.0, pause: float = 0.5) -> float:
    """Wait until dpkg's lock is free, and log for which process.

    seconds
        How long at most.
    pause
        Seconds between two looks.

    Returns the seconds that it took. Raises CommandFailed that names the process.
    """
    begun = time.monotonic()
    logged = -_LOG_EVERY
    while (pid := holder()) is not None:
        waited = time.monotonic() - begun
        who = f"process {pid} ({_command(pid)})"
        if waited > seconds:
            raise CommandFailed(f"{who} has held the package manager's lock for {seconds:.0f} s")
        if waited - logged >= _LOG_EVERY:
            log.warning("Waiting for %s, which holds the package manager's lock", who)
            logged = waited
        time.sleep(pause)
    return time.monotonic() - begun


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "of another user or container"


def unfinished() -> list[str]:
    """Packages that dpkg did not finish, each with its state; empty if there are none."""
    if salt.utils.path.which("dpkg-query") is None:
        return []
    updates = sorted(p.name for p in (ADMIN / "updates").glob("[0-9]*"))
    pending = [f"not yet recorded: {', '.join(updates)}"] if updates else []
    if not updates and _is_finished():
        return []
    form = "${binary:Package} ${db:Status-Status} ${db:Status-Eflag}\\n"
    outcome = process.run(["dpkg-query", "-W", "-f", form])
    rows = [line.split() for line in outcome["stdout"].splitlines()]
    return pending + [
        f"{row[0]} is {row[1] if row[1] in _UNFINISHED else row[2]}"
        for row in rows
        if len(row) == 3 and (row[1] in _UNFINISHED or row[2] == "reinstreq")
    ]


def _is_finished() -> bool:
    """Whether dpkg's record has only states in which nothing is left to do; else dpkg is asked."""
    try:
        return _TO_DO.search((ADMIN / "status").read_bytes()) is None
    except OSError:
        return False


def finish() -> None:
    """Finish what dpkg began; configuration files that exist stay.

    Raises CommandFailed with dpkg's message.
    """
    keep = ["--force-confdef", "--force-confold"]
    message = _run(["dpkg", *keep, "--configure", "--pending"])
    if unfinished():
        # What was not even unpacked whole has to be unpacked again.
        options = [f"-oDpkg::Options::={option}" for option in keep]
        message = _run(["apt-get", "-q", "-y", *options, "--fix-broken", "install"])
    left = unfinished()
    if left:
        raise CommandFailed("\n".join([*left, message]))


def _run(command: list[str]) -> str:
    outcome = process.run(command, env={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})
    return f"{' '.join(command)}: {outcome['stderr'] or outcome['stdout']}".strip()


def plan_finished(seconds: float, test: bool) -> Plan:
    """Plan to finish what an interrupted run left, once the lock is free.

    seconds
        How long to wait for the lock.
    test
        Whether only to report: the lock is not waited for.
    """
    if test and holder() is not None:
        return Plan(comment="Another process holds the package manager's lock now.")
    waited = 0.0 if test else wait(seconds)
    prefix = f"Waited {waited:.0f} s for the package manager's lock. " if waited >= 1 else ""
    packages = unfinished()
    done = "What dpkg began is finished." if packages else "No package is unfinished."
    return Plan(
        changes={"finished": packages} if packages else {},
        comment=f"{prefix}{done}",
        would="What dpkg began would be finished.",
        apply=finish,
    )
