"""Accounts and groups that a removal can take away."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable


def removable(
    accounts: Iterable[str], groups: Iterable[str], data: Iterable[str], stopped: bool = False
) -> dict[str, dict[str, str]]:
    """Find out which accounts and groups can be removed.

    accounts, groups
        Names; those that do not exist are ignored.
    data
        Absolute paths of data; their owners stay.
    stopped
        Treat their processes as ended.

    Returns ``accounts`` and ``groups``: name → why it stays, empty if it can be removed.
    """
    owners, members = set(), set()
    for path in data:
        if os.path.lexists(path):
            st = os.lstat(path)
            owners.add(st.st_uid)
            members.add(st.st_gid)
    busy = {
        os.stat(entry.path).st_uid for entry in os.scandir("/proc") if entry.name.isdigit()
        if os.path.exists(entry.path)
    }  # fmt: skip
    result: dict[str, dict[str, str]] = {"accounts": {}, "groups": {}}
    for name in accounts:
        try:
            uid = pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
        owns = "its data stays" if uid in owners else ""
        busy -= {uid} if stopped else set()
        result["accounts"][name] = owns or ("it has processes" if uid in busy else "")
    for name in groups:
        try:
            gid = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
        primary = [p.pw_name for p in pwd.getpwall() if p.pw_gid == gid]
        stays = [p for p in primary if result["accounts"].get(p, "not managed")]
        owns = "its data stays" if gid in members else ""
        result["groups"][name] = owns or (f"the group of {stays[0]}" if stays else "")
    return result
