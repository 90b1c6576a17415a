"""The page about the dashboards: docs/dashboards.md."""

from __future__ import annotations

from collections.abc import Sequence

from .model import LOGS, TRACES, Board, Panel

HEAD = """\
# Dashboards

Written by `make dashboards` from the code in `tools/dashboards`; do not edit this page.

Grafana reads them from files (`infra/grafana/dashboards`), each under a fixed uid, so that a link to
one, like `/ui/d/node-instance?var-ins=node-1`, holds. An alert links to the dashboard that shows it.
Every dashboard leads up (to an overview), down (to what it is made of) and across (to logs and alerts);
the time range goes along, and so do the variables that mean the same there. Panels about a dead
instance, a failed probe or a full disk lead further by a click on the value.

![Four panels: what a machine's CPU and memory are spent on, samples that VictoriaMetrics takes in, and
the time that an answer of the portal takes](pictures/dashboards.svg)

Four of the panels, drawn from a lab machine's metrics by `test/support/pictures.py`; Grafana draws them itself.

Metrics are asked for from `ds-metrics`, logs from `ds-vlogs` (LogsQL), traces from `ds-vtraces`.
Firing alerts of what is shown are marked in the charts.

A dashboard of ours is a module below `tools/dashboards/infra` or `tools/dashboards/node`: copy the nearest
one, run `make dashboards`, commit both. Tests hold it to Grafana's schema, have a real VictoriaMetrics read
each question, and boot a machine on which every panel about a program of Debian has to show something. What
Pigsty's dashboards show and ours leave out stands in `test/unit/cases/dashboard_metrics.yaml`, with the
reasons. How a site adds its own is in [Grafana](grafana.md).
"""

KINDS = {
    "bargauge": "bars",
    "heatmap": "heat map",
    "logs": "log",
    "stat": "number",
    "state-timeline": "states over time",
    "table": "table",
    "timeseries": "chart",
}


def text_of(boards: Sequence[Board]) -> str:
    """The whole page, in Markdown."""
    titles = {board.uid: board.title for board in boards}
    out = [HEAD, _index(boards)]
    for board in boards:
        out.append(_section(board, titles))
    return "\n".join(out)


def _index(boards: Sequence[Board]) -> str:
    rows = ["| dashboard | uid | panels | purpose |", "|---|---|---:|---|"]
    for board in boards:
        panels = sum(1 for _ in board.panels())
        rows.append(
            f"| [{board.title}](#{_anchor(board)}) | `{board.uid}` | {panels} | {board.purpose} |"
        )
    total = sum(1 for board in boards for _ in board.panels())
    rows.append(f"| {len(boards)} dashboards | | {total} | |")
    return "\n".join(rows) + "\n"


def _anchor(board: Board) -> str:
    return board.title.lower().replace(" ", "-")


def _section(board: Board, titles: dict[str, str]) -> str:
    out = [f"## {board.title}", "", board.purpose, ""]
    variables = [f"`{one.name}` ({_small(one.says)})" for one in board.variables]
    if variables:
        out.append(f"Variables: {', '.join(variables)}.")
    for way in ("up", "down", "across"):
        there = [link for link in board.links if link.way == way]
        if there:
            names = ", ".join(f"[{titles[one.to]}](#{titles[one.to].lower().replace(' ', '-')})"
                              for one in there)  # fmt: skip
            out.append(f"{way.capitalize()}: {names}.")
    out += ["", "| panel | | shows |", "|---|---|---|"]
    for row in board.rows:
        out.append(f"| **{row.title}** | | |")
        out += [_line(panel) for panel in row.panels]
    return "\n".join(out) + "\n"


def _line(panel: Panel) -> str:
    kind = KINDS[panel.kind]
    sources = {query.source for query in panel.queries}
    if LOGS in sources and panel.kind != "logs":
        kind += ", of logs"
    if TRACES in sources:
        kind += ", of traces"
    return f"| {panel.title} | {kind} | {panel.says.replace('|', chr(92) + '|')} |"


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
