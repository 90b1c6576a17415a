"""systemd-nspawn, started so that it leaves nothing behind on the host."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from . import paths
from .host import LabError, cgroup_roots, kill, run, systemd_runs_here
from .record import Process

CGROUPS = "cgroups"
PID = "pid"
END_SECONDS = 10


def start(
    folder: Path,
    name: str,
    options: Sequence[str],
    output: IO[str],
    lower: Sequence[Path] = (),
    keep: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Start systemd-nspawn on a folder's `root`, in a mount namespace and control group of its own.

    Args:
        folder: the machine's folder; its `pid` and `cgroups` say afterwards what to clean up.
        name: the container's name, unique on the host.
        options: further options of systemd-nspawn, and a command.
        output: where its output goes.
        lower: layers to have below `upper`, the topmost first; without any, `root` is taken as is.
        keep: file descriptors that it inherits.

    Returns:
        The process, which is systemd-nspawn's as soon as `pid` is written.
    """
    root = folder / "root"
    for part in ("root", "upper", "work"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for layer in (*lower, folder):
        if set(str(layer)) & set(",:\\"):
            raise LabError(f"overlayfs takes no path with commas, colons or backslashes: {layer}")
    # Two containers in one control group would each take it for theirs.
    groups = [] if systemd_runs_here() else [top / _unit(name) for top in cgroup_roots()]
    (folder / CGROUPS).write_text("".join(f"{group}\n" for group in groups))
    scope = ["systemd-run", "--quiet", "--collect", "--scope", "--property=Delegate=yes"]
    return subprocess.Popen(
        [
            *([*scope, f"--unit={_unit(name)}", "--"] if systemd_runs_here() else []),
            *("unshare", "--mount", "--propagation", "slave", "--"),
            *(str(paths.HERE / "launch"), str(folder), ":".join(map(str, lower))),
            *("systemd-nspawn", "--quiet", f"--directory={root}", f"--machine={name}"),
            *("--register=no", "--keep-unit", "--link-journal=no", "--timezone=off"),
            # A power cut is the end of processes here, so nothing needs to reach the disk.
            "--suppress-sync=yes",
            # Whoever may not set the clock may still ask how well it is kept, as on any machine.
            "--system-call-filter=adjtimex clock_adjtime",
            *options,
        ],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        pass_fds=tuple(keep),
        # Debian 13's systemd needs cgroup2, also where the host still has version 1.
        env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
    )


def process(folder: Path, boot: str) -> Process | None:
    """Return the systemd-nspawn that was last started on a folder, None if it never came so far.

    Args:
        folder: the machine's folder.
        boot: the host's boot during which it was started.
    """
    try:
        pid, started = (folder / PID).read_text().split()
    except FileNotFoundError:
        return None
    return Process(int(pid), int(started), boot)


@contextmanager
def frozen(init: int) -> Iterator[None]:
    """Stop all processes of a container while a block runs.

    Args:
        init: the id, on the host, of the container's first process.

    Raises:
        LabError: the kernel does not stop them.
    """
    # It is in the container's init.scope, beside which all its services are.
    groups = Path(f"/proc/{init}/cgroup").read_text().splitlines()
    own = next(line.removeprefix("0::") for line in groups if line.startswith("0::"))
    group = Path(f"{cgroup_roots()[0]}{own.removesuffix('/init.scope')}")
    switch = group / "cgroup.freeze"
    if not switch.exists():
        raise LabError(f"{group} cannot be frozen.")
    try:
        switch.write_text("1")
        _wait_until_frozen(group)
        yield
    finally:
        switch.write_text("0")


def _wait_until_frozen(group: Path) -> None:
    with (group / "cgroup.events").open("rb", buffering=0) as events:
        changes = select.poll()
        changes.register(events, select.POLLPRI)
        deadline = time.monotonic() + END_SECONDS
        while b"frozen 1" not in os.pread(events.fileno(), 4096, 0):
            rest = deadline - time.monotonic()
            if rest <= 0:
                raise LabError(f"The processes of {group} do not stop.")
            changes.poll(rest * 1000)


def tidy(folder: Path, name: str) -> None:
    """End what is left of a container whose systemd-nspawn has ended, and remove its traces.

    Args:
        folder: the machine's folder.
        name: the container's name.

    Raises:
        LabError: some of its processes do not end.
    """
    listing = folder / CGROUPS
    for group in map(Path, listing.read_text().splitlines() if listing.exists() else []):
        for below, _, _ in os.walk(group, topdown=False):
            _end_all(Path(below))
            os.rmdir(below)
    if systemd_runs_here():
        _end_scope(f"{_unit(name)}.scope")
    # systemd-nspawn's own, which it removes itself unless it was killed.
    propagated = Path("/run/systemd/nspawn/propagate", name)
    if propagated.exists():
        propagated.rmdir()


def forget_killed(prefix: str) -> None:
    """Remove the control groups that killed builds or machines left, which hold no process.

    Args:
        prefix: what the names of their containers begin with.
    """
    for group in (g for top in cgroup_roots() for g in top.glob(f"{_unit(prefix)}*")):
        for below, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # somebody else's, which runs, or who removes it as well
                os.rmdir(below)


def _unit(name: str) -> str:
    return f"infra-lab-{name}"


def _end_scope(scope: str) -> None:
    """End every process of a systemd scope, and wait until systemd has let go of it."""
    deadline = time.monotonic() + END_SECONDS
    state = ["systemctl", "show", "--property=LoadState", "--value", scope]
    while run(state).stdout.strip() == "loaded":
        if time.monotonic() > deadline:
            raise LabError(f"The processes of {scope} do not end.")
        # Refused when the scope is empty by now and on its way out.
        run(["systemctl", "kill", "--signal=SIGKILL", scope], check=False)
        time.sleep(0.05)


def _end_all(group: Path) -> None:
    """End every process of a control group, and wait until it is empty."""
    deadline = time.monotonic() + END_SECONDS
    while pids := (group / "cgroup.procs").read_text().split():
        if time.monotonic() > deadline:
            raise LabError(f"Processes {' '.join(pids)} of {group} do not end.")
        for pid in pids:
            kill(int(pid))
        time.sleep(0.02)
