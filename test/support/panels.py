"""Dashboards as Grafana has them: panels, and their questions with the variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "infra/grafana/dashboards"
# What Grafana fills in by itself, as for a panel of an hour.
BUILT_IN = {
    "__rate_interval": "1m",
    "__interval": "30s",
    "__interval_ms": "30000",
    "__range": "1h",
    "__range_s": "3600",
    "__range_ms": "3600000",
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::(\w+))?\}|(\w+))")


@dataclass(frozen=True)
class Target:
    """A question of a panel.

    Attributes:
        board, number: uid of the dashboard, position of the panel among all of it.
        panel, kind, unit: the panel's title, its kind and its unit.
        name: the question's letter.
        source: uid of the data source.
        expr: the question.
        instant: asked for now, not for a range of time.
        legend: name of a series, in Grafana's form.
        form: of a question for logs.
    """

    board: str
    number: int
    panel: str
    kind: str
    unit: str
    name: str
    source: str
    expr: str
    instant: bool
    legend: str = ""
    form: str = ""


@lru_cache(maxsize=1)
def load() -> dict[str, dict[str, Any]]:
    """Every committed dashboard, by its uid."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.rglob("*.json"))
    ]
    return {board["uid"]: board for board in found}


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Its panels, those of folded rows among them, without the rows themselves."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or []
        else:
            yield panel


def targets(board: Mapping[str, Any]) -> Iterator[Target]:
    """Every question of every panel."""
    for number, panel in enumerate(panels(board)):
        for target in panel.get("targets", []):
            yield Target(
                board["uid"],
                number,
                panel["title"],
                panel["type"],
                panel.get("fieldConfig", {}).get("defaults", {}).get("unit", ""),
                target["refId"],
                target["datasource"]["uid"],
                target.get("expr", target.get("service", "")),
                bool(target.get("instant")),
                target.get("legendFormat", ""),
                target.get("queryType", ""),
            )


def filled(text: str, values: Mapping[str, str]) -> str:
    """A question with its variables filled in.

    Raises KeyError for a variable that the dashboard does not have.
    """
    known = {**BUILT_IN, **values}
    return _VARIABLE.sub(lambda match: known[match[1] or match[3]], text)
