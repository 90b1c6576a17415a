"""Files that are replaced whole: written beside their place, flushed to disk, renamed."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

_FSYNC_LIMIT = 16  # files that are flushed one by one


def write(path: str | Path, text: str, mode: int = 0o600) -> None:
    """Write a small file of the formula's own: afterwards it is complete on disk, or as before.

    path
        Absolute path; missing directories are created.
    text
        The whole content. A file that has it already is not touched.
    mode
        Its permissions.

    Raises OSError.
    """
    path = Path(path)
    make_directories(path.parent)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    temporary = temporary_path(path)
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as stream:
            os.fchmod(fd, mode)
            stream.write(text.encode())
            stream.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def temporary_path(path: Path) -> Path:
    """Where the next version of a file is written.

    Include globs, dnsmasq and file_sd ignore names with a dot in front. The name is always the
    same, so that what a killed run left is overwritten.
    """
    return path.with_name(f".{path.name}.infra-new")


def make_directories(path: Path, mode: int = 0o755) -> None:
    """Create missing directories with the same mode under any umask."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; on another file system, a copy with the same owner and mode."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as err:
        if err.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target, follow_symlinks=False)
        status = source.lstat()
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


def copy_beside(source: Path, live: Path) -> Path:
    """Link or copy a file to the temporary path of another one, and return that."""
    temporary = temporary_path(live)
    temporary.unlink(missing_ok=True)
    try:
        link_or_copy(source, temporary)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def flush(files: Sequence[Path], folder: Path) -> None:
    """Flush files to disk; many of them by one sync of the file system that has the folder."""
    if len(files) > _FSYNC_LIMIT:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(fd) == 0:
                return
        finally:
            os.close(fd)
    for path in files:
        _fsync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Flush the entries of a directory to disk."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
