"""What a dashboard is made of, before it is Grafana's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

METRICS, LOGS, TRACES = "ds-metrics", "ds-vlogs", "ds-vtraces"
SOURCES = {
    METRICS: "prometheus",
    LOGS: "victoriametrics-logs-datasource",
    TRACES: "jaeger",
}
"""Data source's uid → its type."""

Steps = tuple[tuple[float | None, str], ...]
"""Thresholds: from which value on (None: from the beginning), which colour."""

Mapping = dict[float, tuple[str, str]]
"""Value → text that takes its place, and its colour."""


@dataclass(frozen=True)
class Query:
    """A question to a data source.

    Attributes:
        expr: MetricsQL or LogsQL; for traces the service. `@` at the beginning of a selector, as in
            `up{@}`, stands for the dashboard's own selector.
        legend: name of a series, in Grafana's form: `{{ins}}`.
        source: uid of the data source.
        form: metrics: `range`, `instant`, `table` or `heatmap`; logs: `instant` (the lines), `stats` or
            `statsRange`; traces: `search`.
    """

    expr: str
    legend: str = ""
    source: str = METRICS
    form: str = "range"


@dataclass(frozen=True)
class Column:
    """A column of a table, or the look of a label's column.

    Attributes:
        title: what stands above it.
        expr: its values, one for each row; empty for a label.
        unit: Grafana's name of the unit.
        steps, mapping: as of a panel; they colour the cell.
        bar: draw the value as a bar.
        to: uid of the dashboard that a click leads to.
        width: in pixels; 0: as it comes.
        most: value of a full bar.
    """

    title: str
    expr: str = ""
    unit: str = "short"
    steps: Steps = ()
    mapping: Mapping = field(default_factory=dict)
    bar: bool = False
    to: str = ""
    width: int = 0
    most: float | None = None


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        kind: Grafana's name of the visualisation.
        title, says: its title and description.
        queries: what is asked.
        unit: Grafana's name of the unit.
        width, height: of the grid's 24 columns; rows of 30 pixels.
        steps, mapping: colours by value.
        low, high: ends of the axis; None: as the values are.
        stack: series lie on each other.
        right: legend beside the series, for many of them.
        columns, keys: of a table: its columns, and the labels that make a row.
        to, carry: dashboard that a click leads to; labels that choose there, each `variable=label`
            or a name for both.
        about: program whose metrics are shown, where it is not the dashboard's.
        quiet: why it shows nothing, or may, where all is well.
    """

    kind: str
    title: str
    says: str
    queries: tuple[Query, ...] = ()
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: Steps = ()
    mapping: Mapping = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    stack: bool = False
    right: bool = False
    columns: tuple[Column, ...] = ()
    keys: tuple[str, ...] = ()
    to: str = ""
    carry: tuple[str, ...] = ()
    about: str = ""
    quiet: str = ""


@dataclass(frozen=True)
class Row:
    """A row: a heading and its panels; a folded one asks nothing until it is opened."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard.

    Attributes:
        name: of the variable; also of the label whose values it offers.
        says: what it chooses.
        query: series (metrics) or filter (logs) whose label's values are offered; empty: free text.
        source: uid of the data source.
        several: more than one can be chosen, and All.
        default: of a free text.
    """

    name: str
    says: str
    query: str = ""
    source: str = METRICS
    several: bool = True
    default: str = ""


@dataclass(frozen=True)
class Link:
    """A way to another dashboard, at the top of one; the time range goes along.

    Attributes:
        to: uid of the dashboard.
        way: up, down or across.
        title: what it is called; the other dashboard's title where it is empty.
        carry: variables that go along, each a name, or `there=here`; `*`: all of them.
        fixed: further choices there, in the form of a query string.
    """

    to: str
    way: str
    title: str = ""
    carry: tuple[str, ...] = ("*",)
    fixed: str = ""


@dataclass(frozen=True)
class Board:
    """A dashboard.

    Attributes:
        uid: its fixed identity, and the name of its file.
        title: its title.
        folder: `infra` or `node`; empty for the home.
        purpose: what it is for, in one sentence.
        rows: its panels.
        selector: what `@` in a query's selector stands for.
        variables: choices.
        links: ways to others.
        about: program whose metrics it shows (see Panel.about).
        alerts: selector of the alerts that are marked in its charts; empty: none are.
        since: how far back it looks at first.
    """

    uid: str
    title: str
    folder: str
    purpose: str
    rows: tuple[Row, ...]
    selector: str = ""
    variables: tuple[Variable, ...] = ()
    links: tuple[Link, ...] = ()
    about: str = ""
    alerts: str = ""
    since: str = "now-1h"

    @property
    def path(self) -> str:
        """Its file, below infra/grafana/dashboards; the home is the one without a folder."""
        return f"{self.folder}/{self.uid}.json" if self.folder else "home.json"

    def panels(self) -> Iterator[Panel]:
        """Every panel, with the program that it is about."""
        for row in self.rows:
            for panel in row.panels:
                yield replace(panel, about=panel.about or self.about)

    def filled(self, expr: str) -> str:
        """A query with the dashboard's own selector in it."""
        return expr.replace("{@", "{" + self.selector)
