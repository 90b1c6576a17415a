"""Which unmanaged files (Pigsty's) a file set may overwrite; see uninstall/pigsty_takeover.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra_formula import paths
from infra_formula.fileset import atomic

Patterns = Mapping[str, Sequence[str]]

_assumed: dict[str, Sequence[str]] = {}


def _record() -> Path:
    return paths.STATE_DIR / "legacy.json"


def overwritable() -> Patterns:
    """Name of a file set → patterns of relative paths that it may overwrite."""
    if _assumed:
        return dict(_assumed)
    try:
        data = json.loads(_record().read_text(encoding="utf-8"))["replaced"]
        return {str(name): [str(one) for one in patterns] for name, patterns in data.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # if the record is lost, such files are unmanaged, and a state reports them


def allow_overwrite(patterns: Patterns) -> None:
    """Record on disk what :func:`overwritable` returns."""
    atomic.write(_record(), json.dumps({"replaced": patterns}, sort_keys=True))


def assume_overwritable(patterns: Patterns) -> None:
    """Have :func:`overwritable` return this for the rest of a run with ``test=True``.

    patterns
        Empty to end it.
    """
    _assumed.clear()
    _assumed.update(patterns)
