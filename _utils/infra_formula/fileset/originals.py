"""Backups of replaced files that others wrote; below /var/lib/infra/replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from infra_formula import paths
from infra_formula.fileset import atomic, contents


def backup_path(path: str) -> Path:
    """Where the backup of an absolute path lies."""
    return paths.STATE_DIR / "replaced" / path.lstrip("/")


def backup(files: Iterable[str]) -> None:
    """Back up the originals of files that are about to be replaced or removed.

    files
        Absolute paths of files or symbolic links. Only the first version is backed up, and none
        that this formula wrote.
    """
    for path in map(Path, files):
        saved = backup_path(str(path))
        if os.path.lexists(saved) or not os.path.lexists(path):
            continue
        if (path.is_dir() and not path.is_symlink()) or contents.has_managed_header(path):
            continue
        atomic.make_directories(saved.parent.parent)
        atomic.make_directories(saved.parent, 0o700)
        # Renamed when it is complete: half of it would be restored as the original one day.
        temporary = atomic.temporary_path(saved)
        temporary.unlink(missing_ok=True)
        shutil.copy2(path, temporary, follow_symlinks=False)
        status = path.lstat()
        os.chown(temporary, status.st_uid, status.st_gid, follow_symlinks=False)
        os.replace(temporary, saved)


def restore(path: str) -> bool:
    """Restore the original of an absolute path; returns False if there is no backup."""
    saved, live = backup_path(path), Path(path)
    if not os.path.lexists(saved):
        return False
    live.parent.mkdir(parents=True, exist_ok=True)
    os.replace(atomic.copy_beside(saved, live), live)
    saved.unlink()
    folder = saved.parent
    while folder != paths.STATE_DIR and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
    return True
