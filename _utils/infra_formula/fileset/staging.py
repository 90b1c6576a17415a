"""Staged copies of a directory, and the switch that makes a staged copy the live one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, contents, renameat2
from infra_formula.fileset.contents import File

Undo = Callable[[], None]


def create(base: Path) -> Path:
    """Create an empty staging directory beside a directory."""
    return Path(tempfile.mkdtemp(prefix=f".{base.name}.infra-", dir=base.parent))


def discard(root: str | Path) -> None:
    """Remove staging directories that a killed run left beside a directory.

    Raises CommandFailed for one that cannot be removed.
    """
    base = Path(root).resolve()
    for path in sorted(base.parent.glob(f".{base.name}.infra-*")):
        try:
            shutil.rmtree(path)
        except OSError as err:
            raise CommandFailed(
                f"{path}: a killed run left it, and it cannot be removed: {err}"
            ) from err


def clone(source: Path, target: Path, skip: Collection[str]) -> None:
    """Copy a tree: directories with their attributes, files as hard links.

    skip
        Relative paths of files that are left out.

    Hard links keep owner, mode and security label, and cost nothing for a thousand files.
    """
    _copy_attributes(source, target)
    for folder, dirs, names in os.walk(source):
        here = Path(folder)
        rel = here.relative_to(source)
        for entry in list(dirs):
            if (here / entry).is_symlink():
                dirs.remove(entry)
                names.append(entry)
                continue
            (target / rel / entry).mkdir()
            _copy_attributes(here / entry, target / rel / entry)
        for entry in names:
            if str(rel / entry) not in skip:
                atomic.link_or_copy(here / entry, target / rel / entry)


def _copy_attributes(source: Path, target: Path) -> None:
    shutil.copystat(source, target)
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)


def write_files(stage: Path, base: Path, files: Mapping[str, File]) -> None:
    """Write files of a set into a staging directory, and flush them to disk.

    base
        The live directory, for errors.
    """
    for parent in {(stage / rel).parent for rel in files}:
        atomic.make_directories(parent)
    ids: dict[tuple[str, str], tuple[int, int] | None] = {}
    for rel, file in files.items():
        if "link" in file:
            os.symlink(file["link"], stage / rel)
            continue
        owner = contents.owner(file)
        if owner not in ids:
            ids[owner] = contents.owner_ids(*owner)
        if (owner_ids := ids[owner]) is None:
            raise CommandFailed(
                f"{base / rel}: its owner {':'.join(owner)} does not exist on this machine"
            )
        _write(stage / rel, file, owner_ids)
    atomic.flush([stage / rel for rel, file in files.items() if "link" not in file], stage)


def _write(path: Path, file: File, owner: tuple[int, int]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as stream:
        stream.write(file["text"].encode())
        os.fchown(fd, *owner)
        os.fchmod(fd, contents.mode(file))


def switch_tree(base: Path, stage: Path, touched: Collection[str]) -> Undo | None:
    """Exchange the staged tree and the live one.

    touched
        Relative paths that are written or removed. Of all others, the newest version is taken.

    Returns what undoes it; None if the file system cannot exchange them.
    """
    for rel in _changed_since(base, stage, touched):
        (stage / rel).parent.mkdir(parents=True, exist_ok=True)
        (stage / rel).unlink(missing_ok=True)
        atomic.link_or_copy(base / rel, stage / rel)
    if not renameat2.exchange(stage, base):
        return None
    atomic.sync_directory(base.parent)

    def undo() -> None:
        if not renameat2.exchange(stage, base):
            raise CommandFailed(f"{base}: cannot be rolled back; the old files are in {stage}")

    return undo


def switch_files(
    base: Path, stage: Path, changed: Collection[str], removed: Collection[str]
) -> Undo:
    """Rename each staged file into place; returns what undoes it.

    changed, removed
        Relative paths.

    Raises OSError; the live files are then as before.
    """
    old = Path(tempfile.mkdtemp(prefix="old-", dir=stage))
    gone = set(removed)
    done: list[str] = []

    def undo() -> None:
        for rel in done:
            if os.path.lexists(old / rel):
                os.replace(_on_same_device(old / rel, base / rel), base / rel)
            else:
                (base / rel).unlink(missing_ok=True)

    try:
        for rel in [*changed, *removed]:
            live = base / rel
            if os.path.lexists(live):
                (old / rel).parent.mkdir(parents=True, exist_ok=True)
                atomic.link_or_copy(live, old / rel)
            done.append(rel)
            if rel in gone:
                live.unlink(missing_ok=True)
                continue
            atomic.make_directories(live.parent)
            os.replace(_on_same_device(stage / rel, live), live)
        for folder in {base, *((base / rel).parent for rel in done)}:
            if folder.is_dir():
                atomic.sync_directory(folder)
    except OSError:
        undo()
        raise
    return undo


def _on_same_device(source: Path, live: Path) -> Path:
    """From where a file can be renamed to live: itself, or a copy beside live."""
    if source.lstat().st_dev == live.parent.stat().st_dev:
        return source
    return atomic.copy_beside(source, live)


def _changed_since(base: Path, stage: Path, touched: Collection[str]) -> list[str]:
    """Unmanaged files that appeared or were replaced in the live tree since it was cloned."""
    changed = []
    for folder, _dirs, names in os.walk(base):
        for name in names:
            rel = str(Path(folder, name).relative_to(base))
            if rel not in touched and not _is_same_inode(base / rel, stage / rel):
                changed.append(rel)
    return changed


def _is_same_inode(one: Path, other: Path) -> bool:
    try:
        a, b = one.lstat(), other.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(a.st_mode) and stat.S_ISLNK(b.st_mode):
        return os.readlink(one) == os.readlink(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
