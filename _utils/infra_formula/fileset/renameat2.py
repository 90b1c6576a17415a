"""The system call ``renameat2(2)`` with ``RENAME_EXCHANGE``."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from infra_formula.errors import CommandFailed

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = {errno.EXDEV, errno.EINVAL, errno.EBUSY, errno.ENOSYS, errno.EPERM}


def exchange(one: str | Path, other: str | Path) -> bool:
    """Exchange two paths of one file system in one step, so that neither is ever missing.

    one, other
        Absolute paths, of any kind.

    Returns False, with nothing done, if the file system does not support it (a mount point, the
    lower layer of an overlay).

    Raises CommandFailed for any other error.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    args = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if libc.renameat2(*args) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise CommandFailed(f"{other}: cannot be exchanged with {one}: {os.strerror(code)}")
