"""Real programs of Debian's packages, for tests that ask the program itself.

A program that is installed is taken as it is. Else its package is downloaded and unpacked (not
installed: nothing starts) below the cache, `${INFRA_CACHE:-~/.cache/infra-formula}/programs`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab import aptconf

PACKAGES = {
    "victoria-metrics": "victoria-metrics",
    "vmalert": "victoria-metrics",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "prometheus-nginx-exporter": "prometheus-nginx-exporter",
    "prometheus-node-exporter": "prometheus-node-exporter",
}


def program(name: str, release: str = "") -> str:
    """Path of a real program.

    Args:
        name: the program.
        release: Debian's name of the release whose package it is to be, `trixie`; without it what
            is installed, or this machine's own release.

    Raises RuntimeError, saying why, where it is not to be had: the test fails then.
    """
    installed = shutil.which(name)
    if installed and not release:
        return installed
    path = unpacked(PACKAGES[name], release) / "usr/bin" / name
    if not path.exists():
        raise RuntimeError(f"Debian's package {PACKAGES[name]} has no /usr/bin/{name}")
    return str(path)


def unpacked(package: str, release: str = "") -> Path:
    """Folder below which a Debian package lies unpacked."""
    cache = Path(os.environ.get("INFRA_CACHE") or Path.home() / ".cache/infra-formula")
    folder = cache / "programs" / (release or "own") / package
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "usr").exists():
            _unpack(package, folder, release)
    return folder


def _unpack(package: str, folder: Path, release: str) -> None:
    with tempfile.TemporaryDirectory(prefix="infra-programs-") as work:
        options = _options(Path(work), release) if release else []
        got = subprocess.run(
            ["apt-get", *options, "download", package],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        archives = sorted(Path(work).glob(f"{package}_*.deb"))
        if got.returncode or not archives:
            raise RuntimeError(f"apt-get download {package}: {got.stderr.strip()}")
        subprocess.run(["dpkg", "-x", str(archives[-1]), str(folder)], check=True)


def _options(work: Path, release: str) -> list[str]:
    """Have apt look at another release, with a state of its own: this machine's is not touched."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (work / name).mkdir(parents=True)
    (work / "parts/other.sources").write_text(aptconf.deb822(aptconf.for_release(release)))
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{work}/parts",
        "Dir::State::lists": f"{work}/lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": f"{work}/cache",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    done = subprocess.run(
        ["apt-get", *flags, "update"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"apt-get update for {release}: {done.stderr.strip()}")
    return flags
