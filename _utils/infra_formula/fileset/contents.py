"""What a file should hold and what it holds: kinds, attributes, differences.

A file of a set is a mapping:

``text``
    content (str, written as UTF-8), or
``link``
    target of a symbolic link.
``mode``, ``user``, ``group``
    permissions as an octal string (default ``"0644"``), owner and group (default ``root``);
    not for links.
``secret``
    True leaves the content out of every difference.
"""

from __future__ import annotations

import difflib
import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra_formula import credentials, redaction

File = Mapping[str, Any]

MANAGED_BY = "Managed by Salt (infra formula)"
"""Stands in the first lines of each generated file."""
_DIFF_LINES = 60


def has_managed_header(path: str | Path) -> bool:
    """Whether a regular file has the managed-by header in its first lines."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            return MANAGED_BY.encode() in stream.read(512)
    except OSError:
        return False


def desired(file: File) -> tuple[str, bytes]:
    """Kind (``text``, ``link``) and content that a file should have."""
    kind = "link" if "link" in file else "text"
    return kind, file[kind].encode()


def current(path: Path) -> tuple[str, bytes] | None:
    """Kind (``text``, ``link``, ``directory``) and content at a path; None if nothing is there."""
    try:
        if path.is_symlink():
            return ("link", os.readlink(path).encode())
        return ("text", path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        return ("directory", b"")


def digest(file: File) -> str:
    """SHA-256 of kind and content, as a hexadecimal string."""
    kind, content = desired(file)
    return hashlib.sha256(f"{kind}\0".encode() + content).hexdigest()


def owner(file: File) -> tuple[str, str]:
    """User and group that a file should have."""
    return file.get("user", "root"), file.get("group", "root")


def mode(file: File) -> int:
    """Permissions that a file should have."""
    return int(file.get("mode", "0644"), 8)


def owner_ids(user: str, group: str) -> tuple[int, int] | None:
    """uid and gid; None if the user or the group does not exist on this machine."""
    try:
        return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def attribute_difference(path: Path, file: File) -> str:
    """How mode and owner of a file differ from what they should be; empty if they do not."""
    if "link" in file:
        return ""
    status = path.stat()
    ids = (status.st_uid, status.st_gid)
    if stat.S_IMODE(status.st_mode) == mode(file) and ids == owner_ids(*owner(file)):
        return ""
    before = f"{stat.S_IMODE(status.st_mode):04o} {ids[0]}:{ids[1]}"
    return f"{before} → {file.get('mode', '0644')} {':'.join(owner(file))}"


def difference(before: tuple[str, bytes] | None, file: File) -> str:
    """Unified difference between what is at a path and what should be there.

    Without content where a credential is recognized in either: the former one may be in use
    elsewhere.
    """
    if file.get("secret"):
        return redaction.PLACEHOLDER
    if "link" in file:
        return f"→ {file['link']}"
    if before is None:
        return "created"
    former = before[1].decode("utf-8", "replace")
    if credentials.holds_credentials(former) or credentials.holds_credentials(file["text"]):
        return redaction.PLACEHOLDER
    old, new = former.splitlines(), redaction.scrub(file["text"]).splitlines()
    lines = list(difflib.unified_diff(old, new, "before", "after", lineterm=""))
    if len(lines) > _DIFF_LINES:
        lines = [*lines[:_DIFF_LINES], f"… {len(lines) - _DIFF_LINES} more lines"]
    return "\n".join(lines)
