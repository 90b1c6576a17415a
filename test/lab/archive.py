"""Downloaded packages, shared between machines and runs without being shared while in use.

A machine's root file system has, over its image, a layer of hard links to each package that was
ever downloaded for its platform; the machine cannot write to that layer. What it downloads besides
is taken over when it goes. apt checks what it finds against the archive's index as always.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

FOLDER = "var/cache/apt/archives"


def layer(pool: Path, folder: Path) -> None:
    """Make a layer of all packages of a platform.

    Args:
        pool: the platform's packages.
        folder: where the layer is made; a folder that a run left unfinished is completed.
    """
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    if pool.is_dir():
        for package in pool.glob("*.deb"):
            _share(package, target / package.name)


def harvest(upper: Path, pool: Path) -> None:
    """Take over what a machine downloaded.

    Args:
        upper: what the machine, which is not running, has written.
        pool: the platform's packages.
    """
    pool.mkdir(parents=True, exist_ok=True)
    for package in (upper / FOLDER).glob("*.deb"):
        kept = pool / package.name
        if not kept.exists() and package.is_file() and not package.is_symlink():
            beside = pool / f".{package.name}.{os.getpid()}"
            _share(package, beside)
            beside.replace(kept)


def _share(source: Path, target: Path) -> None:
    """Link a file, or copy it where the two places are on different file systems."""
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)
