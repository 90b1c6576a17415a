"""What another product, Pigsty, left on this machine; the facts are in infra/legacy.yaml.

``filled`` is pure.
"""

from __future__ import annotations

import glob
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra_formula import process
from infra_formula.minion import Minion


def filled(value: Any, parameters: Mapping[str, str]) -> Any:
    """A value with ``{parameter}`` replaced in every text of it; pure."""
    if isinstance(value, str):
        for key, text in parameters.items():
            value = value.replace(f"{{{key}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: filled(one, parameters) for key, one in value.items()}
    return [filled(one, parameters) for one in value]


def present(patterns: Iterable[str]) -> list[str]:
    """Paths that are there of patterns."""
    return sorted(path for pattern in patterns for path in glob.glob(pattern))


def left_over(minion: Minion, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What is there of what has to go: path → why. What a package brought is not in it, nor a
    directory that holds something else than what goes, too.

    rows
        Each ``paths`` (patterns), ``why`` and ``versions``.
    """
    found: dict[str, str] = {}
    for row in rows:
        for path in (path for pattern in row["paths"] for path in present([pattern])):
            here = Path(path)
            if here.is_dir() and not here.is_symlink():
                if all(str(child) in found for child in here.iterdir()):
                    found[path] = row["why"]
            elif not here.is_symlink() and not _of_a_package(minion, path):
                found[path] = row["why"]
    return found


def _of_a_package(minion: Minion, path: str) -> bool:
    """Whether the package manager knows whose a file is; without one, nobody does."""
    real = os.path.realpath(path)
    # Debian's package lists know files by the path before /usr was merged, too.
    names = {path, real, path.removeprefix("/usr")}
    command = (
        ["dpkg", "--search"]
        if minion.grains["os_family"] == "Debian"
        else ["rpm", "--query", "--file"]
    )
    for name in sorted(names):
        outcome = process.run([*command, name])
        if outcome["retcode"] == 0:
            return True
    return False


def belongs_to_root(path: str) -> bool:
    """Whether root owns something in a directory."""
    return any(one.lstat().st_uid == 0 for one in Path(path).rglob("*"))


def hand_over(path: str, user: str) -> None:
    """Have all that lies in a directory belong to an account; links are not followed."""
    account = pwd.getpwnam(user)
    for one in Path(path).rglob("*"):
        os.chown(one, account.pw_uid, account.pw_gid, follow_symlinks=False)
