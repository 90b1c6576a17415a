"""Records in directories of Pigsty's earlier and later releases."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from infra_formula.errors import CommandFailed
from infra_formula.state import Plan

DIRECTORIES = ("/etc/dnsmasq.d/pigsty", "/infra/hosts")


def plan(directory: str) -> Plan:
    """Plan to move files of records to the directory that the name server reads.

    directory
        Absolute path of it. A file whose name is in use there stays where it is. ``default`` is
        not moved: ``dns_records`` replaces it.
    """
    moves: dict[str, str] = {}
    warnings = []
    for folder in map(Path, DIRECTORIES):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.is_file() or path.name.startswith(".") or path.name == "default":
                continue
            target = f"{directory}/{path.name}"
            if Path(target).exists() or target in moves.values():
                warnings.append(f"{path} stays: {target} exists already")
            else:
                moves[str(path)] = target
    return Plan(
        changes=dict(moves),
        comment=f"{len(moves)} files of records moved." if moves else "No records to move.",
        would=f"{len(moves)} files of records would be moved.",
        apply=lambda: _move(moves),
        warnings=warnings,
    )


def _move(moves: dict[str, str]) -> None:
    try:
        for source, target in moves.items():
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.move(source, target)
            os.chmod(target, 0o644)
    except OSError as err:
        raise CommandFailed(f"{err.filename}: {err.strerror}") from err
