"""Deletion of a daemon's data, once, as ``<name>_clean`` asks for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from infra_formula import systemd
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, manifest
from infra_formula.state import Plan


def plan(name: str, directories: Sequence[str], unit: str, confirm: str) -> Plan:
    """Plan to delete a daemon's data. It takes effect once, until the switch is off in a run.

    name
        Name of the daemon.
    directories
        Paths that may be confirmed; a directory is emptied, a file deleted.
    unit
        Its unit, which is stopped first.
    confirm
        The value of ``<name>_clean_confirm``.

    Raises CommandFailed if none of the paths is confirmed.
    """
    if confirm not in directories:
        raise CommandFailed(
            f"{name}_clean: nothing was deleted; it requires {name}_clean_confirm: "
            f"{' or '.join(directories)}, got {confirm!r}"
        )
    if recorded(name) == confirm:
        return Plan(comment=f"{confirm} was deleted by an earlier run; set {name}_clean: false.")
    entries = _entries(Path(confirm))

    def apply() -> None:
        try:
            systemd.systemctl("stop", f"{unit}.service", must=False)
            for path in entries:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            record(name, confirm)
        except OSError as err:
            raise CommandFailed(f"{confirm}: {err}") from err

    return Plan(
        {confirm: f"deleted: {len(entries)} entries"},
        f"Data in {confirm} deleted.",
        f"Data in {confirm} would be deleted.",
        apply,
    )


def _entries(path: Path) -> list[Path]:
    """Entries of a directory; for a file, itself and those that its database keeps beside it."""
    return sorted(path.glob("*") if path.is_dir() else path.parent.glob(f"{path.name}*"))


def record_path(name: str) -> Path:
    """File that records for which path the data of a daemon was deleted."""
    return manifest.manifest_path(f"cleaned-{name}")


def recorded(name: str) -> str | None:
    """Path that was confirmed when a daemon's data was deleted last; None if the switch was off.

    Raises CommandFailed if the record is corrupt: nothing is deleted twice because of that.
    """
    path = record_path(name)
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["confirm"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(
            f"{path} is corrupt: it does not show whether the data was deleted before, so nothing "
            f"is deleted; set {name}_clean: false for one run"
        ) from None


def record(name: str, confirm: str | None) -> None:
    """Record that a daemon's data was deleted; with None, that its switch is off."""
    path = record_path(name)
    if confirm is None:
        path.unlink(missing_ok=True)
        return
    atomic.write(path, json.dumps({"confirm": confirm}), 0o644)
