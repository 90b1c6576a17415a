"""Why a machine cannot run the demo, the tests or an apply: found out before anything is done.

Nothing here needs more than Python itself: it runs before tools/prepare has installed anything.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import aptconf
from .host import LabError, cgroup_roots, systemd_runs_here

NEEDED_MIB = {"lab": 0, "demo": 3072, "test": 12288, "apply": 1024}
"""Room on disk. A new image of the demo, its packages and its machine take about 1.5 GiB; images of
all releases, the tests' programs and their labs about 9 GiB."""
MACHINES = ("x86_64", "aarch64")
BOOTS = ("lab", "demo", "test")
"""What boots machines on this one."""


@dataclass(frozen=True)
class Facts:
    """What a machine is like.

    Attributes:
        kernel: `Linux`, as `uname` says it.
        machine: its architecture, `x86_64`.
        distribution: ID and ID_LIKE of its os-release, `("ubuntu", "debian")`.
        name: what the distribution calls itself, `Ubuntu 24.04 LTS`.
        root: whether root asks.
        apt: whether it has apt and dpkg.
        systemd: whether systemd is its first process.
        namespaces: whether network and mount namespaces can be made.
        overlay: why no overlay file system can be mounted in `folder`; empty if it can.
        cgroups: whether a cgroup2 file system is mounted that can be written to.
        archive: why the archive of packages does not answer; empty if it does.
        folder: where room is needed.
        free: MiB of room there.
    """

    kernel: str = "Linux"
    machine: str = "x86_64"
    distribution: tuple[str, ...] = ("debian",)
    name: str = "Debian GNU/Linux 12"
    root: bool = True
    apt: bool = True
    systemd: bool = True
    namespaces: bool = True
    overlay: str = ""
    cgroups: bool = True
    archive: str = ""
    folder: str = "/var/lib"
    free: int = 1 << 20


def refusal(purpose: str, facts: Facts) -> str | None:
    """Return the sentence that says why a machine cannot be used, None if it can.

    Args:
        purpose: `demo`, `test`, `apply` (this very machine), or `lab`: to boot a machine.
        facts: what the machine is like.
    """
    command = "The lab" if purpose == "lab" else f"`make {purpose}`"
    if facts.kernel != "Linux":
        return f"{command} needs Linux; this machine runs {facts.kernel}."
    if not facts.root:
        why = (
            "it configures the whole machine"
            if purpose == "apply"
            else "it makes network namespaces and mounts"
        )
        again = "Use sudo." if purpose == "lab" else f"Run `sudo make {purpose}`."
        return f"{command} needs root: {why}. {again}"
    if purpose == "apply":
        if not facts.systemd:
            return (
                "systemd does not run this machine, so that nothing could start the services; "
                "`make demo` shows the formula on a machine of its own."
            )
        if not {"debian", "rhel"} & set(facts.distribution):
            return f"The formula supports Debian, Ubuntu and EL; this machine runs {facts.name}."
    elif purpose in ("demo", "test"):
        if facts.machine not in MACHINES:
            return (
                f"{command} boots a Debian machine of this machine's architecture, and supports "
                f"{' and '.join(MACHINES)}; this one is {facts.machine}."
            )
        if not facts.apt:
            return (
                f"{command} needs apt and dpkg, as on Debian and Ubuntu; {facts.name} does not "
                "have them. `make apply` applies the formula to this machine itself."
            )
    if purpose in BOOTS:
        if not facts.namespaces:
            return (
                f"{command} needs network and mount namespaces, which this machine does not "
                "permit: in a container, run it as a privileged one."
            )
        if facts.overlay:
            return (
                f"{command} needs to mount overlayfs in {facts.folder}, and cannot: "
                f"{facts.overlay}. In a container that folder must be a volume; INFRA_LAB_STATE "
                "names another folder."
            )
        if not facts.cgroups:
            return f"{command} needs a writable cgroup2 file system, and there is none."
    if facts.free < NEEDED_MIB[purpose]:
        return (
            f"{command} needs {NEEDED_MIB[purpose]} MiB of free disk space in {facts.folder}; "
            f"{facts.free} MiB are free."
        )
    if purpose in ("demo", "test") and facts.archive:
        return f"{command} needs Debian's archive of packages, and {facts.archive}"
    return None


def look(purpose: str) -> Facts:
    """Return what this machine is like, as far as it matters for a purpose."""
    release = _os_release()
    root = os.geteuid() == 0
    boots = purpose in BOOTS and root
    folder = _existing(state_folder() if purpose in BOOTS else Path("/"))
    return Facts(
        kernel=platform.system(),
        machine=platform.machine(),
        distribution=(release.get("ID", ""), *release.get("ID_LIKE", "").split()),
        name=release.get("PRETTY_NAME", "an unknown distribution"),
        root=root,
        apt=all(shutil.which(name) for name in ("apt-get", "dpkg-query")),
        systemd=systemd_runs_here(),
        namespaces=not boots or not _error(["unshare", "--net", "--mount", "true"]),
        overlay=_overlay_error(folder) if boots else "",
        cgroups=not boots or any(os.access(root, os.W_OK) for root in cgroup_roots()),
        archive=_archive_error() if boots and purpose != "lab" else "",
        folder=str(folder),
        free=_free(folder),
    )


def state_folder() -> Path:
    """Return the folder that holds a folder per lab; INFRA_LAB_STATE names another."""
    return Path(os.environ.get("INFRA_LAB_STATE", "/var/lib/infra-lab")).resolve()


def main(arguments: Sequence[str]) -> int:
    """Say on standard error why this machine cannot be used; 0 if it can.

    Args:
        arguments: the purpose.
    """
    (purpose,) = arguments
    why = refusal(purpose, look(purpose))
    if why:
        print(f"make {purpose}: {why}", file=sys.stderr)
    return 1 if why else 0


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _existing(folder: Path) -> Path:
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >> 20


def _error(argv: Sequence[str], timeout: float = 30) -> str:
    """Return the last line of what a failing command said, empty if it did not fail."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=timeout, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return (lines[-1] if lines else f"it ended with {done.returncode}") if done.returncode else ""


def _overlay_error(folder: Path) -> str:
    """Return why no overlay can be mounted in a folder, which is tried; empty if it can."""
    try:
        with tempfile.TemporaryDirectory(prefix=".infra-lab-", dir=folder) as work:
            for part in ("lower", "upper", "work", "root"):
                Path(work, part).mkdir()
            options = f"lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/work"
            mount = ["mount", "-t", "overlay", "overlay", "-o", options, f"{work}/root"]
            private = ["unshare", "--mount", "--propagation", "private", "--"]
            return _error([*private, *mount])
    except OSError as error:
        return f"{error.strerror}"


def _archive_error() -> str:
    """Return why Debian's archive cannot be read; apt fetches, with its own proxy and keys."""
    try:
        source = aptconf.for_release(aptconf.FIRST_RELEASE)[0]
    except LabError as error:
        return f"{error}"
    url = f"{source.uri}/dists/{source.suite}/InRelease"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "InRelease")
        fetch = ["/usr/lib/apt/apt-helper", *aptconf.QUICK, "download-file", url, str(target)]
        failure = _error(fetch, timeout=60)
        if not failure and "BEGIN PGP SIGNED MESSAGE" not in target.read_text(errors="replace"):
            failure = "what answers is not an archive"
    return f"{url} cannot be read: {failure}." if failure else ""
