"""The formula's library for the tools: where it lies, and what it needs of Salt."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "_utils"))

from infra_formula.minion import Minion  # noqa: E402 - found by the line above


def minion(name: str = "tools") -> Minion:
    """A minion that has the formula's own files, and nothing else of Salt."""
    grains = {"id": name, "os_family": "Debian", "ipv4": [], "ipv6": []}
    return Minion({"cp.get_file_str": _served}, {"id": name, "file_client": "local"}, grains)


def _served(path: str) -> str | bool:
    """What Salt's own function answers: the text of a file of the formula, False for none."""
    file = ROOT / path.removeprefix("salt://")
    return file.read_text(encoding="utf-8") if file.is_file() else False
