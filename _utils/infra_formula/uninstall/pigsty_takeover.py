"""Takeover from Pigsty: what it left on this machine; the facts are in infra/legacy.yaml."""

from __future__ import annotations

import glob
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra_formula import process, systemd
from infra_formula.fileset import contents
from infra_formula.minion import Minion


def substitute(value: Any, parameters: Mapping[str, str]) -> Any:
    """Replace ``{parameter}`` in every text of a value."""
    if isinstance(value, str):
        for key, text in parameters.items():
            value = value.replace(f"{{{key}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: substitute(one, parameters) for key, one in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    return [substitute(one, parameters) for one in value]


def existing_paths(patterns: Iterable[str]) -> list[str]:
    """Paths that match patterns."""
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


_PACKAGE_UNITS, _OWN_UNITS = Path("/usr/lib/systemd/system"), Path("/etc/systemd/system")
_OFF = ("disabled", "masked")
_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def predecessors(rows: Iterable[Mapping[str, Any]], folders: Iterable[str] = _UNITS) -> list[str]:
    """One message for each program of Pigsty 2 and 3 that this machine still runs, or would.

    rows
        Each ``unit``, ``data`` (a path) and ``successor``.
    folders
        Where units are.
    """
    units = []
    for row in rows:
        if not any(Path(folder, f"{row['unit']}.service").exists() for folder in folders):
            continue
        unit = systemd.SNAPSHOT.show(row["unit"])
        if unit.get("ActiveState") == "inactive" and unit.get("UnitFileState") in _OFF:
            continue
        data = f", and its data in {row['data']}" if Path(row["data"]).exists() else ""
        units.append(
            f"{row['unit']}.service stays as it is{data}; {row['successor']} takes its place. See "
            "docs/migrating-from-pigsty.md for what can be taken along, and stop it then"
        )
    return units


def leftovers(minion: Minion, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Paths that are to be removed, and why.

    rows
        Each ``paths`` (patterns), ``why`` and ``versions``. Files of packages stay, and so do
        directories that hold anything else.
    """
    paths: dict[str, str] = {}
    for row in rows:
        for path in (path for pattern in row["paths"] for path in existing_paths([pattern])):
            here = Path(path)
            if here.is_dir() and not here.is_symlink():
                if all(str(child) in paths for child in here.iterdir()):
                    paths[path] = row["why"]
            elif here.parent == _PACKAGE_UNITS and not (_OWN_UNITS / here.name).exists():
                continue  # its successor is not there: an apply failed before it
            elif not here.is_symlink() and not _is_packaged(minion, path):
                paths[path] = row["why"]
    return paths


def superseded_targets(root: str) -> dict[str, str]:
    """Files of targets that Pigsty wrote for a machine that registered the same ones itself.

    root
        The directory of the targets; one directory below it for each job.

    Returns path → why it can go. A file with any other target in it stays.
    """
    targets = {}
    for job in sorted(path for path in Path(root).glob("*") if path.is_dir()):
        files = sorted(job.glob("*.yml"))
        managed = {path for path in files if contents.has_managed_header(path)}
        registered = {address for path in managed for address in _addresses(path)}
        for path in files if registered else ():
            addresses = set() if path in managed or path.is_symlink() else _addresses(path)
            if addresses and addresses <= registered:
                targets[str(path)] = "its machine registered the same targets itself"
    return targets


def _addresses(path: Path) -> set[str]:
    """Addresses in a file of targets; none if it has another form."""
    try:
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {str(address) for group in groups for address in group["targets"]}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError):
        return set()


def _is_packaged(minion: Minion, path: str) -> bool:
    """Whether a file belongs to an installed package."""
    real = os.path.realpath(path)
    # Debian's package lists have some files under the path before /usr was merged.
    names = {path, real, path.removeprefix("/usr")}
    command = (
        ["dpkg", "--search"]
        if minion.grains["os_family"] == "Debian"
        else ["rpm", "--query", "--file"]
    )
    return any(process.run([*command, name])["retcode"] == 0 for name in sorted(names))


def has_files_of_root(path: str) -> bool:
    """Whether root owns anything in a directory."""
    return any(one.lstat().st_uid == 0 for one in Path(path).rglob("*"))


def change_owner(path: str, user: str) -> None:
    """Give everything in a directory to an account; links are not followed."""
    account = pwd.getpwnam(user)
    for one in Path(path).rglob("*"):
        os.chown(one, account.pw_uid, account.pw_gid, follow_symlinks=False)
