"""Real programs of Debian's packages, for tests that ask the program itself.

A program that is installed is taken as it is. Else its package is downloaded and unpacked (not
installed: nothing starts) below the cache, `${INFRA_CACHE:-~/.cache/infra-formula}/programs`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = {
    "victoria-metrics": "victoria-metrics",
    "vmalert": "victoria-metrics",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "prometheus-nginx-exporter": "prometheus-nginx-exporter",
    "prometheus-node-exporter": "prometheus-node-exporter",
}


def program(name: str) -> str:
    """Path of a real program.

    Raises RuntimeError, saying why, where it is not to be had: the test fails then.
    """
    installed = shutil.which(name)
    if installed:
        return installed
    package = PACKAGES[name]
    cache = Path(os.environ.get("INFRA_CACHE") or Path.home() / ".cache/infra-formula")
    folder = cache / "programs" / package
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "usr/bin" / name
        if not path.exists():
            _unpack(package, folder)
    if not path.exists():
        raise RuntimeError(f"Debian's package {package} has no /usr/bin/{name}")
    return str(path)


def _unpack(package: str, folder: Path) -> None:
    got = subprocess.run(
        ["apt-get", "download", package], cwd=folder, capture_output=True, text=True, check=False
    )
    archives = sorted(folder.glob(f"{package}_*.deb"))
    if got.returncode or not archives:
        raise RuntimeError(f"apt-get download {package}: {got.stderr.strip()}")
    subprocess.run(["dpkg", "-x", str(archives[-1]), str(folder)], check=True)
    for archive in archives:
        archive.unlink()
