"""From `model` to Grafana's JSON, by Grafana's own SDK."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    logs,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LogsSortOrder,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    GridPos,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

from . import datasources
from .model import (
    LOGS,
    METRICS,
    SOURCES,
    TRACES,
    Board,
    Column,
    Link,
    Mapping,
    Panel,
    Query,
    Row,
    Steps,
    Variable,
)

WIDTH = 24
ARROWS = {"up": "↑", "down": "↓", "across": "→"}
STAMP = "infra-formula"
"""Tag of every dashboard of ours; the SDK's links and searches go by it."""


def text_of(board: Board, titles: dict[str, str]) -> str:
    """A dashboard as the JSON that is committed.

    Args:
        board: the dashboard.
        titles: title of every dashboard, by uid.

    Raises:
        KeyError: it links to a dashboard that is not among titles.
        ValueError: a panel is wider than the grid, or of a kind that is not known.
    """
    made = json.loads(JSONEncoder().encode(built(board, titles).build()))
    return _lines(made) + "\n"


def _lines(value: Any, depth: int = 0) -> str:
    """JSON of which a panel, a link, a variable is a line: so it can be compared, and is not long."""
    if depth < 3 and isinstance(value, list | dict) and value:
        pad = "\n" + " " * (depth + 1)
        if isinstance(value, list):
            return "[" + ",".join(f"{pad}{_line(one)}" for one in value) + pad[:-1] + "]"
        inner = (f"{pad}{json.dumps(k)}: {_lines(v, depth + 1)}" for k, v in sorted(value.items()))
        return "{" + ",".join(inner) + pad[:-1] + "}"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def built(board: Board, titles: dict[str, str]) -> dashboard.Dashboard:
    """The SDK's builder of a dashboard; arguments and errors as of `text_of`."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.purpose)
        .tags([STAMP, *([board.folder] if board.folder else [])])
        .time(board.since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .version(1)
        .readonly()
        .variables([])
        .annotations([])
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    if board.alerts:
        made.annotation(_alerts(board.alerts))
    for link in board.links:
        made.link(_link(link, titles))
    number, top = 0, 0
    for row in board.rows:
        places = layout(row, top + 1)
        panels = []
        for panel, place in zip(row.panels, places, strict=True):
            number += 1
            panels.append(_panel(board, panel, titles).id(number).grid_pos(place))
        number += 1
        heading = dashboard.Row(row.title).id(number).grid_pos(GridPos(h=1, w=WIDTH, x=0, y=top))
        if row.folded:
            for one in panels:
                heading.with_panel(one)
            made.with_row(heading.collapsed(True))
            top += 1
            continue
        made.with_row(heading.collapsed(False))
        for one in panels:
            made.with_panel(one)
        top = max(place.y + place.h for place in places)
    return made


def layout(row: Row, top: int) -> list[GridPos]:
    """Where the panels of a row stand: from left to right, and on when a line is full.

    Raises ValueError where a panel is wider than the grid.
    """
    places = []
    x, y, tallest = 0, top, 0
    for panel in row.panels:
        if panel.width > WIDTH:
            raise ValueError(f"{panel.title}: {panel.width} columns are more than {WIDTH}")
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        places.append(GridPos(h=panel.height, w=panel.width, x=x, y=y))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return places


# -- around the panels ---------------------------------------------------------------------------


def _reference(uid: str) -> DataSourceRef:
    return DataSourceRef(type_val=SOURCES[uid], uid=uid)


def _variable(given: Variable) -> dashboard.QueryVariable | dashboard.TextBoxVariable:
    if not given.query:
        free = dashboard.TextBoxVariable(given.name).default_value(given.default)
        return free.label(given.name).description(given.says)
    asked: str | dict[str, object] = f"label_values({given.query}, {given.name})"
    if given.source == LOGS:
        asked = {"type": "fieldValue", "field": given.name, "query": given.query, "limit": 1000,
                 "refId": f"values-of-{given.name}"}  # fmt: skip
    made = (
        dashboard.QueryVariable(given.name)
        .label(given.name)
        .description(given.says)
        .datasource(_reference(given.source))
        .query(asked)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
    )
    if not given.several:
        return made
    everything = VariableOption(text=["All"], value=["$__all"])
    return made.multi(True).include_all(True).all_value(".*").current(everything)


def _alerts(selector: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(_reference(METRICS))
        .expr(f'ALERTS{{alertstate="firing",{selector}}}')
        .enable(True)
        .icon_color("red")
    )


def _link(link: Link, titles: dict[str, str]) -> dashboard.DashboardLink:
    title = f"{ARROWS[link.way]} {link.title or titles[link.to]}"
    everything = link.carry == ("*",)
    chosen = [] if everything else [f"${{{name}:queryparam}}" for name in link.carry]
    query = "&".join([*chosen, *([link.fixed] if link.fixed else [])])
    return (
        dashboard.DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(titles[link.to])
        .url(f"/d/{link.to}" + (f"?{query}" if query else ""))
        .keep_time(True)
        .include_vars(everything)
    )


def _way_down(uid: str, carry: Sequence[str], titles: dict[str, str], fields: bool) -> Any:
    """A link of a value: to a dashboard, with labels of the value and the time range."""
    place = "__data.fields" if fields else "__field.labels"
    chosen = []
    for name in carry:
        there, _, here = name.partition("=")
        chosen.append(f"var-{there}=${{{place}.{here or there}}}")
    url = f"/d/{uid}?" + "&".join([*chosen, "${__url_time_range}"])
    return dashboard.DashboardLink(titles[uid]).type(DashboardLinkType.LINK).url(url)


# -- panels --------------------------------------------------------------------------------------


def _steps(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _mapping(mapping: Mapping) -> list[ValueMap]:
    options = {
        f"{value:g}": ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(mapping.items())
    }
    return [ValueMap(options=options)]


def _legend(panel: Panel) -> common.VizLegendOptions:
    few = len(panel.queries) == 1 and not panel.queries[0].legend.count("{{")
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST if few else LegendDisplayMode.TABLE)
        .placement(LegendPlacement.RIGHT if panel.right else LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([] if few else ["mean", "max", "lastNotNull"])
    )


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)


def _series(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .legend(_legend(panel))
        .tooltip(_tooltip())
        .fill_opacity(30 if panel.stack else 8)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
    )
    if panel.stack:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if panel.steps:
        made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    return made


def _reduce(panel: Panel) -> common.ReduceDataOptions:
    # The last value; of logs, which are counted per row of an answer, every one.
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)


def _stat(panel: Panel) -> stat.Panel:
    several = any("{{" in query.legend for query in panel.queries) or len(panel.queries) > 1
    return (
        stat.Panel()
        .reduce_options(_reduce(panel))
        .color_mode(
            BigValueColorMode.BACKGROUND
            if panel.mapping or panel.steps
            else BigValueColorMode.VALUE
        )
        .graph_mode(BigValueGraphMode.NONE if panel.mapping else BigValueGraphMode.AREA)
        .text_mode(BigValueTextMode.VALUE_AND_NAME if several else BigValueTextMode.VALUE)
    )


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel().reduce_options(_reduce(panel)).display_mode(BarGaugeDisplayMode.GRADIENT)
    )


def _timeline(panel: Panel) -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .show_value(VisibilityMode.NEVER)
        .row_height(0.8)
        .merge_values(True)
        .legend(common.VizLegendOptions().show_legend(False).calcs([]))
        .tooltip(_tooltip())
    )


def _heat(panel: Panel) -> heatmap.Panel:
    colours = (
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    axis = heatmap.YAxisConfig().unit(panel.unit)
    return heatmap.Panel().calculate(False).color(colours).y_axis(axis)


def _logs(panel: Panel) -> logs.Panel:
    return (
        logs.Panel()
        .show_time(True)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(LogsSortOrder.DESCENDING)
    )


def _table(panel: Panel) -> table.Panel:
    return table.Panel().filterable(True)


KINDS: dict[str, Callable[[Panel], Any]] = {
    "bargauge": _bars,
    "heatmap": _heat,
    "logs": _logs,
    "stat": _stat,
    "state-timeline": _timeline,
    "table": _table,
    "timeseries": _series,
}


def _panel(board: Board, panel: Panel, titles: dict[str, str]) -> Any:
    if panel.kind not in KINDS:
        raise ValueError(f"{panel.title}: no kind of panel {panel.kind!r}")
    made = KINDS[panel.kind](panel).title(panel.title).description(panel.says)
    queries = _queries(panel)
    if queries:
        made.datasource(_reference(queries[0].source))
    for index, query in enumerate(queries):
        made.with_target(_target(board, query, chr(ord("A") + index)))
    if panel.kind == "logs":
        return made
    made.unit(panel.unit)
    if panel.low is not None:
        made.min(panel.low)
    if panel.high is not None:
        made.max(panel.high)
    if panel.steps or panel.mapping:
        made.thresholds(_steps(panel.steps or ((None, "text"),)))
        if panel.kind != "timeseries":
            mode = FieldColorModeId.THRESHOLDS
            made.color_scheme(dashboard.FieldColor().mode(mode))
    elif panel.kind not in ("table", "heatmap"):
        made.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    if panel.mapping:
        made.mappings(_mapping(panel.mapping))
    if panel.quiet:
        made.no_value(panel.quiet)
    if panel.to:
        made.data_links([_way_down(panel.to, panel.carry, titles, fields=False)])
    if panel.kind == "table" and panel.columns:
        _columns(made, panel, titles)
    return made


def _queries(panel: Panel) -> list[Query]:
    """Its queries; of a table one for each column of values, with one row for each set of keys."""
    if not panel.columns:
        return list(panel.queries)
    by = ", ".join(panel.keys)
    return [
        Query(f"max by ({by}) ({column.expr})", form="table")
        for column in panel.columns
        if column.expr
    ]


def _target(board: Board, query: Query, name: str) -> Any:
    source, expr = _reference(query.source), board.filled(query.expr)
    if query.source == LOGS:
        asked = datasources.LogsQuery(expr, query.form, name, source, legend=query.legend)
        return datasources.Built(asked)
    if query.source == TRACES:
        return datasources.Built(datasources.TracesQuery(expr, name, source))
    made = (
        prometheus.Dataquery()
        .expr(expr)
        .ref_id(name)
        .datasource(source)
        .editor_mode(QueryEditorMode.CODE)
        .legend_format(query.legend or "__auto")
    )
    if query.form in ("instant", "table"):
        made.instant()
    else:
        made.range()
    form = {"table": PromQueryFormat.TABLE, "heatmap": PromQueryFormat.HEATMAP}
    return made.format(form.get(query.form, PromQueryFormat.TIME_SERIES))


def _columns(made: table.Panel, panel: Panel, titles: dict[str, str]) -> None:
    """Join the answers of a table's queries, and give each column its look."""
    valued = [column for column in panel.columns if column.expr]
    single = len(valued) == 1
    answer = {c.title: "Value" if single else f"Value #{chr(ord('A') + i)}"
              for i, c in enumerate(valued)}  # fmt: skip
    if not single:
        made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    # Labels come first, in the order of the keys, then values.
    order = [*panel.keys, *answer.values()]
    options: dict[str, object] = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(order)},
        "renameByName": {name: title for title, name in answer.items()},
    }
    made.with_transformation(DataTransformerConfig(id_val="organize", options=options))
    for column in panel.columns:
        made.override_by_name(column.title, _look(column, panel, titles))


def _look(column: Column, panel: Panel, titles: dict[str, str]) -> list[DynamicConfigValue]:
    look: dict[str, Any] = {}
    if column.expr:
        look["unit"] = column.unit
    if column.steps or column.mapping:
        look["thresholds"] = _steps(column.steps or ((None, "text"),)).build()
        look["custom.cellOptions"] = {"type": "color-text"}
    if column.mapping:
        look["mappings"] = _mapping(column.mapping)
        look["custom.cellOptions"] = {"type": "color-background", "mode": "basic"}
    if column.bar:
        look["custom.cellOptions"] = {"type": "gauge", "mode": "gradient"}
        look["min"] = 0
        if column.most is not None:
            look["max"] = column.most
    if column.width:
        look["custom.width"] = column.width
    if column.to:
        carry = panel.carry or panel.keys
        look["links"] = [_way_down(column.to, carry, titles, fields=True).build()]
    return [DynamicConfigValue(id_val=name, value=value) for name, value in look.items()]
