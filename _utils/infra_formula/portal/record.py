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
    try:
        recorded = json.loads(path().read_text(encoding="utf-8"))["portal"].get(key)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return recorded if isinstance(recorded, dict) else {}
