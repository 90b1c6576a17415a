"""Where the portal that was applied last is recorded, and what it says of an entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra_formula.fileset import manifest


def path() -> Path:
    """The record of the portal that was applied last."""
    return manifest.manifest_path("portal-entries")


def entry(key: str) -> dict[str, Any]:
    """An entry as it was applied last; empty if there was none, or its record cannot be read."""
    return _recorded("portal", key)


def stream(name: str) -> dict[str, Any]:
    """A stream as it was applied last; empty if there was none, or its record cannot be read."""
    return _recorded("settings", "infra_streams", name)


def _recorded(*keys: str) -> dict[str, Any]:
    try:
        value = json.loads(path().read_text(encoding="utf-8"))
        for key in keys:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
