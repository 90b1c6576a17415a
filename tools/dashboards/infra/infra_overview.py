"""All services of the INFRA nodes."""

from .. import parts
from ..model import Board, Column, Row
from ..parts import query, series, stat, table


def services(cls: str) -> str:
    """A selector of one component among the chosen."""
    return f'job="infra", cls="{cls}", ins=~"$ins", ip=~"$ip"'


BOARD = Board(
    uid="infra-overview",
    title="Infra Overview",
    folder="infra",
    purpose="Which services the INFRA nodes run, whether each is well, and what each costs its machine.",
    selector='job="infra", cls=~"$cls", ins=~"$ins", ip=~"$ip"',
    variables=(
        parts.cls('up{job="infra"}'),
        parts.ins('up{job="infra", cls=~"$cls"}'),
        parts.ip('up{job="infra", ins=~"$ins"}'),
    ),
    alerts='category="infra",ip=~"$ip"',
    links=(
        parts.HOME,
        *(parts.Link(uid, "down", carry=("ip",)) for uid in (
            "nginx-instance", "grafana-instance", "vmetrics-instance", "vlogs-instance",
            "vtraces-instance", "vmalert-instance", "alertmanager-instance", "blackbox", "portal",
            "dns", "ntp", "repo")),
        parts.logs_of(),
        parts.ALERTS,
    ),
    rows=(
        parts.overview(
            stat("Services up", "Chosen services that answer their scrape.", "sum(up{@})",
                 steps=((None, "blue"),)),
            stat("Services down", "Chosen services that do not.", "count(up{@} == 0) or vector(0)",
                 steps=parts.NONE_IS_GOOD),
            stat("Firing alerts", "Firing alerts about what the INFRA nodes run.",
                 'count(ALERTS{alertstate="firing", category="infra", ip=~"$ip"}) or vector(0)',
                 steps=parts.NONE_IS_GOOD, to="node-alert"),
            stat("Probes failing", "Probes of the portal, of DNS and of the repository that fail.",
                 'count(probe_success{job="probe", ip=~"$ip"} == 0) or vector(0)',
                 steps=parts.NONE_IS_GOOD, to="blackbox"),
            stat("Configuration refused", "Services that run with an older configuration, since the newer "
                 "one was refused at their last reload.",
                 '(count({__name__=~"vm_promscrape_config_last_reload_successful|vmalert_config_last_reload_successful|'
                 'alertmanager_config_last_reload_successful|blackbox_exporter_config_last_reload_successful", @} == 0)) '
                 "or vector(0)".replace("@", 'job="infra", cls=~"$cls", ins=~"$ins", ip=~"$ip"'),
                 steps=parts.NONE_IS_GOOD),
            stat("Stores read-only", "Stores that take nothing in, since their disk is full.",
                 '(sum({__name__=~"vm_storage_is_read_only|vl_storage_is_read_only|vt_storage_is_read_only", ip=~"$ip"})) or vector(0)',
                 steps=parts.NONE_IS_GOOD),
            table(
                "Services", "A line for each service; a click on its address leads to the machine. Each kind of service "
                "has a dashboard of its own, see the links above.",
                ("cls", "ins", "ip"),
                Column("ip", to="node-instance"),
                Column("up", "up{@}", mapping=parts.UP, width=80),
                Column("CPU", "rate(process_cpu_seconds_total{@}[5m])"),
                Column("memory", "process_resident_memory_bytes{@}", "bytes"),
                Column("open files", "process_open_fds{@} / process_max_fds{@}", "percentunit",
                       steps=parts.USAGE),
                Column("goroutines", "go_goroutines{@}"),
                Column("scrape", "scrape_duration_seconds{@}", "s",
                       steps=((None, parts.GOOD), (4, parts.WARN), (8, parts.BAD))),
                Column("restarts, 1 d", "resets(process_cpu_seconds_total{@}[1d])",
                       steps=((None, parts.GOOD), (1, parts.WARN))),
                height=11, carry=("ip",),
            ),
            parts.timeline("Aliveness", "When each service answered its scrape, and when not.", "up{@}",
                           height=10),
        ),
        Row("Versions", (
            table(
                "Versions", "What runs where: services of one kind should be of one version.",
                ("cls", "ins", "ip", "version", "short_version"),
                Column("running", "vm_app_version{@} or alertmanager_build_info{@} or blackbox_exporter_build_info{@} "
                       "or nginx_exporter_build_info{@} or grafana_build_info{@}",
                       mapping={1: ("yes", parts.GOOD)}, width=90),
                height=9,
            ),
        ), folded=True),
        Row("Resources", (
            series("CPU", "Cores that each service keeps busy.",
                   query("rate(process_cpu_seconds_total{@}[$__rate_interval])"),
                   stack=True, right=True),
            series("Memory", "Resident memory of each service.",
                   query("process_resident_memory_bytes{@}"), unit="bytes", stack=True, right=True),
            series("Network", "Bytes that the exporters and Alertmanager receive and send.",
                   query("rate(process_network_receive_bytes_total{@}[$__rate_interval])", "{{ins}} in"),
                   query("rate(process_network_transmit_bytes_total{@}[$__rate_interval])", "{{ins}} out"),
                   unit="binBps", right=True),
            series("Data on disk", "What each store holds on disk.",
                   query('sum by (ins) ({__name__=~"vm_data_size_bytes|vl_data_size_bytes|vt_data_size_bytes", ip=~"$ip"})'),
                   unit="bytes", right=True),
        )),
        Row("Portal", (
            series("Requests", "Requests per second to nginx.",
                   query(f"rate(nginx_http_requests_total{{{services('nginx')}}}[$__rate_interval])"),
                   unit="reqps", width=8, to="nginx-instance", carry=("ins",)),
            series("Connections", "Open connections to nginx.",
                   query(f"nginx_connections_active{{{services('nginx')}}}"), width=8,
                   to="nginx-instance", carry=("ins",)),
            series("Grafana's answers", "Requests to Grafana per second, by class of status.",
                   query(f"sum by (ins, status_code) (rate(grafana_http_request_duration_seconds_count{{{services('grafana')}}}[$__rate_interval]))",
                         "{{ins}} {{status_code}}"),
                   unit="reqps", width=8, about="grafana", to="grafana-instance", carry=("ins",)),
        )),
        Row("Metrics, logs and traces", (
            series("Samples taken in", "Samples per second that VictoriaMetrics stores.",
                   query(f"sum by (ins) (rate(vm_rows_inserted_total{{{services('vmetrics')}}}[$__rate_interval]))"),
                   unit="recps", width=8, to="vmetrics-instance", carry=("ins",)),
            series("Active series", "Series that got a sample within the last hour.",
                   query(f'vm_cache_entries{{{services("vmetrics")}, type="storage/hour_metric_ids"}}'),
                   width=8, to="vmetrics-instance", carry=("ins",)),
            series("Targets", "Targets that VictoriaMetrics scrapes: up, and down.",
                   query(f"sum by (ins, status) (vm_promscrape_targets{{{services('vmetrics')}}})", "{{ins}} {{status}}"),
                   width=8, to="vmetrics-instance", carry=("ins",)),
            series("Log lines taken in", "Lines per second that VictoriaLogs stores.",
                   query(f"sum by (ins) (rate(vl_rows_ingested_total{{{services('vlogs')}}}[$__rate_interval]))"),
                   unit="recps", width=8, about="vlogs", to="vlogs-instance", carry=("ins",)),
            series("Spans taken in", "Spans per second that VictoriaTraces stores.",
                   query(f"sum by (ins) (rate(vt_rows_ingested_total{{{services('vtraces')}}}[$__rate_interval]))"),
                   unit="recps", width=8, about="vtraces", to="vtraces-instance", carry=("ins",)),
            series("Thrown away", "Samples, lines and spans per second that the stores refuse.",
                   query('sum by (ins) (rate({__name__=~"vm_rows_ignored_total|vl_rows_dropped_total|vt_rows_dropped_total", ip=~"$ip"}[$__rate_interval]))'),
                   unit="recps", width=8, steps=parts.ANY_WARNS),
        )),
        Row("Alerting", (
            series("Evaluations", "Groups of rules that vmalert evaluates per second.",
                   query(f"sum by (ins) (rate(vmalert_iteration_total{{{services('vmalert')}}}[$__rate_interval]))"),
                   unit="ops", width=8, to="vmalert-instance", carry=("ins",)),
            series("Evaluations missed", "Evaluations that were left out, since the one before took too long.",
                   query(f"sum by (ins) (rate(vmalert_iteration_missed_total{{{services('vmalert')}}}[$__rate_interval]))"),
                   unit="ops", width=8, steps=parts.ANY_WARNS, to="vmalert-instance", carry=("ins",)),
            series("Alerts sent", "Alerts per second from vmalert to Alertmanager.",
                   query(f"sum by (ins) (rate(vmalert_alerts_sent_total{{{services('vmalert')}}}[$__rate_interval]))"),
                   unit="ops", width=8, to="vmalert-instance", carry=("ins",)),
        )),
    ),
)  # fmt: skip
