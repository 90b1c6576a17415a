"""Commands on the host, and what the host must have for a lab to run on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

PROGRAMS = ("systemd-nspawn", "mmdebstrap", "ip", "nft", "nsenter", "unshare")
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES = 1024
"""Every machine's systemd, journald and udevd take some of these, all of them root's; the kernel's
128 are enough for about ten machines."""

# A root that came by a plain `su` does not have these in its search path.
os.environ["PATH"] = ":".join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/sbin", "/sbin"])


class LabError(Exception):
    """The lab cannot do what was asked; the message is a sentence for a person."""


class CommandError(LabError):
    """A command failed; carries its exit status and what it said.

    Attributes:
        returncode: the command's exit status, or None if its time was up.
        stdout: what it wrote to standard output.
        stderr: what it wrote to standard error.
    """

    def __init__(
        self, argv: Sequence[str], returncode: int | None, stdout: str, stderr: str, where: str = ""
    ) -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        ending = "ran out of time" if returncode is None else f"ended with {returncode}"
        place = f" on {where}" if where else ""
        said = (stderr.strip() or stdout.strip())[-4000:]
        super().__init__(f"`{' '.join(argv)[:300]}`{place} {ending}: {said or 'it said nothing'}")


def run(
    argv: Sequence[str],
    *,
    input: str | None = None,
    check: bool = True,
    timeout: float | None = 120,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command on the host.

    Args:
        argv: the command and its arguments.
        input: text for its standard input; none means an empty one.
        check: raise when it ends with anything but 0.
        timeout: seconds that it may take.
        env: its whole environment; the caller's if not given.

    Returns:
        The completed process, with text output.

    Raises:
        CommandError: it failed (with `check`) or took too long.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=input or "",
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=env,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(argv, None, text(error.stdout), text(error.stderr)) from error
    if check and done.returncode != 0:
        raise CommandError(argv, done.returncode, done.stdout, done.stderr)
    return done


def text(output: str | bytes | None) -> str:
    """Return captured output as text, whatever form subprocess has it in."""
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def kill(pid: int) -> None:
    """End a process at once; one that has ended meanwhile is fine."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def require() -> None:
    """Check that a lab can run on this host, and raise the one limit of it that machines share.

    Raises:
        LabError: it cannot; the message names everything that is missing.
    """
    if why := _refusal():
        raise LabError(why)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise LabError(f"The lab needs {', '.join(missing)}; tools/prepare installs them.")
    if int(INOTIFY.read_text()) < INSTANCES and os.access(INOTIFY, os.W_OK):
        # Until the host's next boot. In a container it is read-only: few machines boot there.
        INOTIFY.write_text(f"{INSTANCES}\n")


@cache
def _refusal() -> str | None:
    from . import preconditions  # it imports this module

    return preconditions.refusal("lab", preconditions.look("lab"))


def systemd_runs_here() -> bool:
    """Tell whether systemd runs this host."""
    return Path("/run/systemd/system").is_dir()


def cgroup_roots() -> list[Path]:
    """Return the mount points of the cgroup hierarchies that systemd-nspawn divides.

    That is cgroup2, and systemd's own named one where the host still has it. Empty without cgroup2.
    """
    unified: list[Path] = []
    named: list[Path] = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2":
            unified.append(Path(where))
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            named.append(Path(where))
    return unified[:1] + named[:1] if unified else []
