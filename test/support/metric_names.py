"""Which metrics the dashboards show, and which of those that Pigsty's show they leave out."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import panels
import yaml

CASES = Path(__file__).parents[1] / "unit/cases/dashboard_metrics.yaml"
_GIVEN = yaml.safe_load(CASES.read_text(encoding="utf-8"))
NAMED = [name for names in _GIVEN["named"].values() for name in names]
LEFT_OUT: dict[str, str] = _GIVEN["left_out"]
LEFT_OUT_NEWER: dict[str, str] = _GIVEN["left_out_newer"]


def shown() -> set[str]:
    """Names in the questions of all panels; in a regular expression of names, each of them."""
    words = set()
    for board in panels.load().values():
        for target in panels.targets(board):
            if target.source == "ds-metrics":
                words |= set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", target.expr))
    return words


def named(metric: str) -> bool:
    """Whether Pigsty's dashboards show it."""
    return any(fnmatchcase(metric, pattern) for pattern in NAMED)


def left_out(metric: str) -> bool:
    """Whether ours leave it out, for a reason."""
    return any(fnmatchcase(metric, pattern) for pattern in (*LEFT_OUT, *LEFT_OUT_NEWER))
