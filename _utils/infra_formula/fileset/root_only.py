"""Files that nobody but root can have changed, opened without a race."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import signal
import stat
from pathlib import Path

from salt.exceptions import CommandExecutionError, SaltInvocationError

from infra_formula.errors import CommandFailed, InvalidInput

_LINKS = 40
"""As many symbolic links as the kernel follows."""


def open_file(path: str, links: bool = False) -> int:
    """Open a file for reading if nobody but root can have changed it.

    path
        Absolute path of a regular file.
    links
        Whether the path, or its last part, may be a symbolic link of root's, and the file may have
        several names (keys and certificates); otherwise neither is accepted (archives).

    Each directory of the path is opened below the one before it and checked by its descriptor: it
    has to belong to root, and nobody else may write to it. A sticky directory such as ``/tmp`` is
    accepted for a file of root's, because others can neither rename nor remove it there. The file
    is checked by the descriptor that is returned: owner, permissions (the mask of a POSIX ACL is
    the group's part of them), kind, number of hard links, and whether a process has it open for
    writing. So the content that is read is the content that was checked, whatever happens to the
    path. If Salt does not run as root, its own user counts as root.

    Returns the descriptor, which the caller closes.

    Raises FileNotFoundError, CommandExecutionError with the path and the reason, and
    SaltInvocationError for a path that is not absolute.
    """
    if not os.path.isabs(path):
        raise InvalidInput(f"{path!r}: expected an absolute path")
    rest = [part for part in path.split("/") if part not in ("", ".")]
    here, where, followed, shared = _root_folder(), "/", 0, False
    try:
        while rest:
            part = rest.pop(0)
            where = os.path.join(where, part)
            try:
                fd = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            except NotADirectoryError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
            try:
                kind = os.fstat(fd)
                if stat.S_ISLNK(kind.st_mode):
                    _check_link(path, where, kind, allowed=bool(rest) or links, shared=shared)
                    followed += 1
                    target = os.readlink("", dir_fd=fd)
                    rest = [p for p in target.split("/") if p not in ("", ".")] + rest
                    where = "/" if os.path.isabs(target) else os.path.dirname(where)
                    if os.path.isabs(target):
                        os.close(here)
                        here, shared = _root_folder(), False
                    if followed > _LINKS:
                        raise _untrusted(path, "its path has too many symbolic links")
                    continue
                if not rest:
                    _check_file(path, kind, single=not links or shared)
                    return _opened_same(path, part, here, kind, single=not links or shared)
                shared = _check_folder(path, where, fd, kind)
                os.close(here)
                here, fd = fd, -1
            finally:
                if fd >= 0:
                    os.close(fd)
    finally:
        os.close(here)
    raise _untrusted(path, "it is a folder; expected a file")


def fault(path: str, links: bool = True) -> str:
    """Why root may not trust the content of a file; empty if it may.

    path, links
        As for :func:`open_file`.
    """
    try:
        os.close(open_file(path, links))
    except (CommandExecutionError, SaltInvocationError) as exc:
        return str(exc)
    except OSError as exc:
        return f"{path}: {exc.strerror}"
    return ""


def _untrusted(path: str, reason: str) -> CommandExecutionError:
    return CommandFailed(
        f"{path} is not trusted: {reason}. Root reads it, so nobody else may be able to change it. "
        "See where it comes from, then copy it as root into a folder that only root can write to, "
        "such as /root"
    )


def _root_folder() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _is_root(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _check_link(path: str, where: str, kind: os.stat_result, allowed: bool, shared: bool) -> None:
    if not allowed:
        raise _untrusted(path, "it is a symbolic link; name the file itself")
    if shared or not _is_root(kind.st_uid):
        raise _untrusted(
            path,
            f"{where} is a symbolic link of {_account(kind.st_uid)} in a folder that others can "
            "write to" if shared else f"{where} is a symbolic link of {_account(kind.st_uid)}",
        )  # fmt: skip


def _check_folder(path: str, where: str, fd: int, kind: os.stat_result) -> bool:
    """Check a directory of the path; returns whether others may create files in it."""
    if not stat.S_ISDIR(kind.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if not _is_root(kind.st_uid):
        raise _untrusted(path, f"the folder {where} belongs to {_account(kind.st_uid)}")
    others = bool(kind.st_mode & 0o022)
    if others and not kind.st_mode & stat.S_ISVTX:
        raise _untrusted(
            path, f"others can write to the folder {where} (mode {stat.S_IMODE(kind.st_mode):04o})"
        )
    _check_mount(path, where, fd)
    return others


def _check_file(path: str, kind: os.stat_result, single: bool) -> None:
    if not stat.S_ISREG(kind.st_mode):
        word = "a folder" if stat.S_ISDIR(kind.st_mode) else "a device, a socket or a named pipe"
        raise _untrusted(path, f"it is {word}; expected a file")
    if not _is_root(kind.st_uid):
        raise _untrusted(path, f"it belongs to {_account(kind.st_uid)}")
    if kind.st_mode & 0o022:
        mode = f"mode {stat.S_IMODE(kind.st_mode):04o}, of which an ACL may be a part"
        raise _untrusted(path, f"others can write to it ({mode})")
    if single and kind.st_nlink != 1:
        raise _untrusted(path, f"it has {kind.st_nlink} names (hard links)")


def _opened_same(path: str, part: str, here: int, kind: os.stat_result, single: bool) -> int:
    """Open for reading what was checked, and check again what was opened."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(part, flags, dir_fd=here)
    except OSError as exc:
        raise _untrusted(path, f"it cannot be opened ({exc.strerror})") from exc
    try:
        now = os.fstat(fd)
        if (now.st_dev, now.st_ino) != (kind.st_dev, kind.st_ino):
            raise _untrusted(path, "it was replaced while it was opened")
        _check_file(path, now, single)
        _check_mount(path, path, fd)
        if _has_writer(fd):
            raise CommandFailed(
                f"{path} is open for writing in another process: a copy that is still running, or "
                "a user who could write to it earlier. Try again when it is closed"
            )
    except BaseException:
        os.close(fd)
        raise
    os.set_blocking(fd, True)
    return fd


def _check_mount(path: str, where: str, fd: int) -> None:
    """Refuse a file system that a user mounted (FUSE): it reports owners as that user likes."""
    owner = _mount_owner(
        Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii"),
        Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"),
    )
    if not _is_root(owner):
        raise _untrusted(path, f"{where} lies on a file system that {_account(owner)} mounted")


def _mount_owner(fdinfo: str, mountinfo: str) -> int:
    """The user who mounted the file system of a descriptor; 0 (root) for all but FUSE."""
    mount = next((line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id")), "")
    for line in mountinfo.splitlines():
        if mount and line.split(" ", 1)[0] == mount:
            options = line.rpartition(" ")[2].split(",")
            owners = [o.partition("=")[2] for o in options if o.startswith("user_id=")]
            return int(owners[-1]) if owners and owners[-1].isdigit() else 0
    return 0


def _has_writer(fd: int) -> bool:
    """Whether a process has a file open for writing; False if the file system does not know.

    A user who opened a file while he owned it can write to it after it was given to root. The
    kernel grants a lease for reading only on a file that no process has open for writing.
    """
    try:
        # While the lease is held, a writer raises a signal: one that is ignored by default, in
        # place of one that would end this process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as exc:
        return exc.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
