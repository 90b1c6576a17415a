"""The page about the dashboards: docs/dashboards.md."""

from __future__ import annotations

from collections.abc import Sequence

from .model import LOGS, TRACES, Board, Panel

HEAD = """\
# Dashboards

For operators who use the dashboards. After this page you know which dashboard shows what, and how one links to
the next. `make dashboards` writes this page from the code in `tools/dashboards`; do not edit it.

Grafana reads the dashboards from files (`infra/grafana/dashboards`). Each has a fixed uid, so that a link such as
`/ui/d/node-instance?var-ins=node-1` stays valid. An alert links to the dashboard that shows it. Every dashboard has
links up (to an overview), down (to its parts) and across (to logs and alerts). A link keeps the time range, and the
variables that mean the same there. In panels about a dead instance, a failed probe or a full disk, click the value
for details.

![Four panels: what a machine's CPU and memory are spent on, samples that VictoriaMetrics takes in, and
the time that an answer of the portal takes](pictures/dashboards.svg)

Four of the panels, drawn from a lab machine's metrics by `test/support/pictures.py`; Grafana draws them itself.

The data source of metrics is `ds-metrics`, of logs `ds-vlogs` (LogsQL), of traces `ds-vtraces`. Charts mark the
firing alerts of what they show.

A site adds its own dashboards as [Grafana](grafana.md#add-dashboards) describes. To add one to the formula, copy
the most similar module below `tools/dashboards/infra` or `tools/dashboards/node`, run `make dashboards`, and commit
both. Tests check it against Grafana's schema, run each query on a real VictoriaMetrics, and boot a machine on which
every panel about a program of Debian has to show data. `test/unit/cases/dashboard_metrics.yaml` lists what Pigsty's
dashboards show and these do not, with the reasons.
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
