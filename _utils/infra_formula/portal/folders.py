"""Folders of static sites and of the home page: which are missing, empty, or closed to nginx."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from infra_formula.parameters import schema
from infra_formula.portal import streams
from infra_formula.portal.entries import Settings
from infra_formula.portal.views import View, served

_ACL = "system.posix_acl_access"


def missing(portal: dict[str, Any], settings: Settings) -> tuple[list[str], list[str]]:
    """Missing folders: those below the web root, which the formula creates, and the others.

    Those that cannot be created, since something else has their place, are in neither.
    """
    all_views = served(portal, settings).values()
    paths = sorted({path for view in all_views for _, path in _folders(view)})
    absent = [path for path in paths if not Path(path).is_dir() and not _in_the_way(path)]
    home = Path(settings["nginx_home"])
    below = [path for path in absent if home in Path(path).parents]
    return below, [path for path in absent if path not in below]


def warnings(portal: dict[str, Any], settings: Settings) -> list[str]:
    """What keeps nginx from serving a folder, one line for each entry."""
    _below, elsewhere = missing(portal, settings)
    lines = []
    for key, view in served(portal, settings).items():
        for attribute, path in _folders(view):
            where = f"infra_portal.{key}.{attribute}"
            if path in elsewhere:
                lines.append(f"{where}: {path} does not exist; put the site there")
            elif other := _in_the_way(path):
                lines.append(f"{where}: {other} is no directory, so that nothing is served")
        for attribute, path in _paths(view):
            # Of a folder that is missing, that is the news; the web root is the formula's own.
            closed = closed_folder(path, settings["nginx_user"]) if Path(path).exists() else None
            if closed and path != settings["nginx_home"]:
                lines.append(
                    f"infra_portal.{key}.{attribute}: the account of nginx, "
                    f"{settings['nginx_user']}, cannot enter {closed}"
                )
    for name, stream in streams.of_settings(settings).items():
        for endpoint in streams.listed(stream["endpoint"]):
            socket = endpoint.removeprefix("unix:")
            closed = closed_folder(socket, settings["nginx_user"]) if socket != endpoint else None
            if closed:
                lines.append(
                    f"{schema.join('infra_streams', name)}.endpoint: the account of nginx, "
                    f"{settings['nginx_user']}, cannot enter {closed}"
                )
    home = served(portal, settings)["home"]
    if home["kind"] == "home" and is_empty_home(home, settings):
        lines.append(
            f"infra_portal.home.path: {home['path']} has no index.html; the home page is answered "
            "with 404 until it has one"
        )
    return lines


def _in_the_way(path: str) -> str | None:
    """The first part of a path that exists and is no directory; None if there is none."""
    parts = [*reversed(Path(path).parents), Path(path)]
    return next((str(p) for p in parts if os.path.lexists(p) and not p.is_dir()), None)


def is_empty_home(home: View, settings: Settings) -> bool:
    """Whether the home page is the site's own (``path``), and not there yet."""
    is_own = home["path"].rstrip("/") != settings["nginx_home"].rstrip("/")
    return is_own and not Path(home["path"], "index.html").exists()


def closed_folder(path: str, account: str) -> str | None:
    """The first folder on a path that an account cannot enter; None if it can enter all.

    path
        A folder, or a socket. What does not exist is not looked at.
    account
        Name of the account. Of one that does not exist nothing is known.
    """
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        return None
    groups = {entry.pw_gid, *(g.gr_gid for g in grp.getgrall() if account in g.gr_mem)}
    folders = [*reversed(Path(path).parents), Path(path)]
    for folder in folders:
        try:
            status = folder.stat()
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode) and not _may_enter(folder, status, entry.pw_uid, groups):
            return str(folder)
    return None


def _may_enter(folder: Path, status: os.stat_result, uid: int, groups: set[int]) -> bool:
    if uid in (0, status.st_uid):
        return uid == 0 or bool(status.st_mode & stat.S_IXUSR)
    try:
        os.getxattr(folder, _ACL)
    except OSError:
        bit = stat.S_IXGRP if status.st_gid in groups else stat.S_IXOTH
        return bool(status.st_mode & bit)
    return True  # a list of its own decides, which may name the account


def _folders(view: View) -> list[tuple[str, str]]:
    """Folders of an entry, each with its attribute."""
    folders = [("path", view["path"])] if view["kind"] in ("static", "home") else []
    for location in view["locations"]:
        if location["number"] and location["files"]:
            attribute = schema.join("locations", location["path_text"] or location["match"])
            folders.append((f"{attribute}.path", location["files"]))
    return folders


def _paths(view: View) -> list[tuple[str, str]]:
    """Folders and sockets of an entry, each with its attribute."""
    sockets = [
        (f"{location['key_path']}.endpoint".lstrip("."), endpoint.removeprefix("unix:"))
        for location in view["locations"]
        if location["key_path"] or not location["number"]
        for endpoint in location["endpoints"]
        if endpoint.startswith("unix:")
    ]
    return _folders(view) + sockets
