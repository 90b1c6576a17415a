"""Snapshots: what a machine wrote until the formula was applied, for a later one to start from.

A snapshot is a layer between the image of a machine and what that machine writes. Its name has a
digest of everything that led to it: image, states, pillar, settings. If one of them is another, the
machine starts from its image alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from . import archive, paths
from .host import run
from .record import every

KEEP_SECONDS = 7 * 24 * 3600
"""How old a snapshot may be: the packages in it are no newer."""
LEFT_OUT = ("var/log/journal", archive.FOLDER)
"""What is not copied: messages of the first machine, and packages, which a later one gets anew."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot, taken or not.

    Attributes:
        name: what it is of: snapshots of one name replace each other.
        digest: of everything that leads to it.
    """

    name: str
    digest: str

    @property
    def folder(self) -> Path:
        """The folder that it is in once it is taken."""
        return _snapshots() / f"{self.name}-{self.digest}"

    def usable(self) -> bool:
        """Tell whether it is taken, whole, and not too old; the caller has the lock."""
        try:
            age = time.time() - _mark(self.folder).stat().st_mtime
        except FileNotFoundError:
            return False
        return age < KEEP_SECONDS and self.folder.is_dir()

    def take(self, written: Path) -> None:
        """Copy what a machine wrote, and remove other snapshots of that name that no lab uses.

        Args:
            written: the folder, to which nothing writes meanwhile.
        """
        with locked():
            _remove_others(self)
            if self.folder.exists():
                return
            work = _snapshots() / f"{self.name}.making"
            paths.remove_tree(work)
            work.mkdir(parents=True)
            # With devices, which mark what was deleted, and attributes, which are overlayfs's own.
            run(["cp", "--archive", "--reflink=auto", f"{written}/.", str(work)], timeout=300)
            for part in LEFT_OUT:
                paths.remove_tree(work / part)
            work.rename(self.folder)
            _mark(self.folder).touch()


def digest(image: Path, folders: Iterable[Path], texts: Mapping[str, str]) -> str:
    """Return a digest of what leads to a snapshot.

    Args:
        image: the image, whose name has the digest of its content.
        folders: the states and what they import.
        texts: further content by its path.
    """
    found = hashlib.sha256(image.name.encode())
    content = {path: text.encode() for path, text in texts.items()}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                content[f"{folder.name}/{path.relative_to(folder)}"] = path.read_bytes()
    for name, data in sorted(content.items()):
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()[:12]


def discard(name: str) -> None:
    """Have no later machine start from the snapshots of a name; one that runs keeps its own."""
    with locked():
        for mark in _snapshots().glob(f"{name}-*.taken"):
            mark.unlink()


def locked() -> AbstractContextManager[TextIO]:
    """Hold the lock under which snapshots are chosen for a lab, taken and removed."""
    _snapshots().mkdir(parents=True, exist_ok=True)
    _snapshots().chmod(0o700)  # keys of the machines are in it
    return paths.locked(_snapshots() / "lock")


def _snapshots() -> Path:
    return paths.cache() / "snapshots"


def _mark(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.taken")


def _remove_others(kept: Snapshot) -> None:
    in_use = {path for record in every() for path in record.snapshots.values()}
    for folder in _snapshots().glob(f"{kept.name}-*"):
        if folder.is_dir() and str(folder) not in in_use and not (
            folder == kept.folder and kept.usable()
        ):  # fmt: skip
            _mark(folder).unlink(missing_ok=True)
            paths.remove_tree(folder)
