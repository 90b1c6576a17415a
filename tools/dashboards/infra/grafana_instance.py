"""Grafana itself."""

from .. import parts
from ..model import Board, Column, Row
from ..parts import query, series, stat, table

BOARD = Board(
    uid="grafana-instance",
    title="Grafana Instance",
    folder="infra",
    about="grafana",
    purpose="Who uses Grafana, how fast it answers, and which of its data sources fail.",
    selector='job="infra", cls="grafana", ins=~"$ins"',
    variables=parts.of_component("grafana"),
    alerts='ip=~"$ip",category="infra"',
    links=parts.around("grafana-server"),
    rows=(
        parts.overview(
            parts.aliveness("Aliveness", "Whether it answers its scrape.", "up{@}", width=4),
            stat("Dashboards", "Dashboards that it knows.", "max(grafana_stat_totals_dashboard{@})"),
            stat("Folders", "Folders of dashboards.", "max(grafana_stat_totals_folder{@})"),
            stat("Data sources", "Data sources that it knows.", "max(grafana_stat_totals_datasource{@})"),
            stat("Users", "Users that it knows.", "max(grafana_stat_total_users{@})"),
            stat("Organisations", "Organisations that it knows.", "max(grafana_stat_total_orgs{@})"),
            table("Instances", "A line for each instance; a click on its address leads to the machine.",
                  ("ins", "ip", "version"), Column("ip", to="node-instance"),
                  Column("running", "grafana_build_info{@}", mapping={1: ("yes", parts.GOOD)}, width=90),
                  height=5, width=12, carry=("ip",)),
            table("Plugins", "Plugins that are loaded.", ("ins", "plugin_id", "version"),
                  Column("loaded", "grafana_plugin_build_info{@}", mapping={1: ("yes", parts.GOOD)}, width=90),
                  height=5, width=12),
        ),
        Row("Requests", (
            series("Requests", "Requests per second, by status.",
                   query("sum by (ins, status_code) (rate(grafana_http_request_duration_seconds_count{@}[$__rate_interval]))",
                         "{{ins}} {{status_code}}"), unit="reqps", width=8),
            series("Failed requests", "Share of requests that are answered with 5xx.",
                   query('sum by (ins) (rate(grafana_http_request_duration_seconds_count{@, status_code=~"5.."}[$__rate_interval]))'
                         " / sum by (ins) (rate(grafana_http_request_duration_seconds_count{@}[$__rate_interval]))"),
                   unit="percentunit", width=8, steps=((None, parts.GOOD), (0.01, parts.WARN), (0.05, parts.BAD))),
            series("Duration", "How long half, and 99 of 100, requests take at most.",
                   query("histogram_quantile(0.5, sum by (ins, le) (rate(grafana_http_request_duration_seconds_bucket{@}[$__rate_interval])))", "{{ins}} half"),
                   query("histogram_quantile(0.99, sum by (ins, le) (rate(grafana_http_request_duration_seconds_bucket{@}[$__rate_interval])))", "{{ins}} 99 %"),
                   unit="s", width=8),
            series("Users at work", "Users who were active lately, and their sessions.",
                   query("grafana_stat_active_users{@}", "{{ins}} users"),
                   query("grafana_stat_active_sessions{@}", "{{ins}} sessions"), width=24, height=6),
        )),
        Row("Data sources", (
            series("Questions", "Requests to data sources per second.",
                   query("sum by (ins, datasource) (rate(grafana_datasource_request_total{@}[$__rate_interval]))",
                         "{{ins}} {{datasource}}"), unit="reqps", width=8),
            series("Failed questions", "Requests to data sources per second that are answered with an error.",
                   query('sum by (ins, datasource, code) (rate(grafana_datasource_request_total{@, code!~"2.."}[$__rate_interval]))',
                         "{{ins}} {{datasource}} {{code}}"), unit="reqps", width=8, steps=parts.ANY_WARNS),
            series("Duration", "Mean time of a data source's answer.",
                   query("sum by (ins, datasource) (rate(grafana_datasource_request_duration_seconds_sum{@}[$__rate_interval]))"
                         " / sum by (ins, datasource) (rate(grafana_datasource_request_duration_seconds_count{@}[$__rate_interval]))",
                         "{{ins}} {{datasource}}"), unit="s", width=8),
            series("Questions to plugins", "Requests to plugins per second, by their end.",
                   query("sum by (ins, plugin_id, status) (rate(grafana_plugin_request_total{@}[$__rate_interval]))",
                         "{{ins}} {{plugin_id}} {{status}}"), unit="reqps"),
            series("Duration of plugins", "Mean time that a plugin takes.",
                   query("sum by (ins, plugin_id) (rate(grafana_plugin_request_duration_milliseconds_sum{@}[$__rate_interval]))"
                         " / sum by (ins, plugin_id) (rate(grafana_plugin_request_duration_milliseconds_count{@}[$__rate_interval]))",
                         "{{ins}} {{plugin_id}}"), unit="ms"),
        )),
        parts.process(),
        Row("Log", (
            parts.volume("Lines by level", "How much Grafana writes to its log, by level.",
                         '{job="grafana",ins=~`${ins:regex}`} | stats by (level) count() lines', "{{level}}"),
            parts.lines("Errors and warnings", "What Grafana complains of; newest first.",
                        '{job="grafana",ins=~`${ins:regex}`} level:in(error, warn)', height=10),
        ), folded=True),
    ),
)  # fmt: skip
