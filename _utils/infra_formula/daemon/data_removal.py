"""Deletion of a daemon's data, once, as ``<name>_clean`` asks for it."""

from __future__ import annotations

import json
from pathlib import Path

from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, manifest


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
    atomic.write(str(path), json.dumps({"confirm": confirm}), 0o644)
