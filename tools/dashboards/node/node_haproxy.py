"""The HAProxys on the machines."""

from .. import machines, parts
from ..model import Board, Column, Link, Row
from ..parts import query, series, stat, table

OWN = 'cls=~"$cls", ins=~"$ins", ip=~"$ip"'

BOARD = Board(
    uid="node-haproxy",
    title="Node HAProxy",
    folder="node",
    about="haproxy",
    purpose="Whether HAProxy runs, which of its backends and servers are up, and what goes through it.",
    selector=f'{OWN}, proxy=~"$proxy"',
    variables=(*machines.variables('__name__="haproxy_up"'),
               parts.Variable("proxy", "Frontends and backends: the label proxy", '{__name__=~"haproxy_(frontend|backend)_status", ins=~"$ins"}')),
    alerts='alertname="HaproxyDown",ins=~"$ins"',
    links=(*machines.links(), Link("node-instance", "up", "Machine", carry=("ip",))),
    rows=(
        parts.overview(
            parts.aliveness("Aliveness", "Whether each answers its scrape.", f"haproxy_up{{{OWN}}}", width=6),
            stat("Uptime", "Time since the last of them was started.", f"min(haproxy:ins:uptime{{{OWN}}})", "s", width=4),
            stat("Connections", "Open connections, as a share of those allowed.", f"max(haproxy:ins:usage{{{OWN}}})", "percentunit",
                 steps=parts.USAGE, width=4),
            stat("Servers up", "Servers that pass their check.", 'sum(haproxy_server_status{@, state="UP"})', width=5, steps=((None, "blue"),)),
            stat("Servers down", "Servers that do not.", 'sum(haproxy_server_status{@, state="DOWN"}) or vector(0)', width=5, steps=parts.NONE_IS_GOOD),
            table("Backends", "A line for each backend.", ("ins", "ip", "proxy"), Column("ip", to="node-instance"),
                  Column("up", 'haproxy_backend_status{@, state="UP"}', mapping=parts.UP, width=80),
                  Column("servers", "haproxy_backend_active_servers{@}"),
                  Column("sessions", "haproxy_backend_current_sessions{@}"),
                  Column("waiting", "haproxy_backend_current_queue{@}", steps=((None, parts.GOOD), (1, parts.WARN))),
                  Column("requests", "rate(haproxy_backend_http_requests_total{@}[5m])", "reqps"),
                  Column("in", "rate(haproxy_backend_bytes_in_total{@}[5m])", "binBps"),
                  Column("out", "rate(haproxy_backend_bytes_out_total{@}[5m])", "binBps"), height=8, carry=("ip",)),
        ),
        Row("Frontends", (
            series("Requests", "Requests per second.", query("rate(haproxy_frontend_http_requests_total{@}[$__rate_interval])", "{{ins}} {{proxy}}"),
                   unit="reqps", width=8),
            series("Answers", "Answers per second, by class of status.",
                   query("sum by (ins, proxy, code) (rate(haproxy_frontend_http_responses_total{@}[$__rate_interval]))", "{{ins}} {{proxy}} {{code}}"),
                   unit="reqps", width=8),
            series("Errors", "Requests per second that could not be read, and that were refused.",
                   query("rate(haproxy_frontend_request_errors_total{@}[$__rate_interval])", "{{ins}} {{proxy}} unreadable"),
                   query("rate(haproxy_frontend_requests_denied_total{@}[$__rate_interval])", "{{ins}} {{proxy}} refused"),
                   unit="reqps", width=8, steps=parts.ANY_WARNS),
            series("Sessions", "Open sessions, and how many there may be.",
                   query("haproxy_frontend_current_sessions{@}", "{{ins}} {{proxy}}"), query("haproxy_frontend_limit_sessions{@}", "{{ins}} {{proxy}} may be"),
                   width=12),
            series("Bytes", "Bytes in (above) and out (below zero) per second.",
                   query("rate(haproxy_frontend_bytes_in_total{@}[$__rate_interval])", "{{ins}} {{proxy}} in"),
                   query("-rate(haproxy_frontend_bytes_out_total{@}[$__rate_interval])", "{{ins}} {{proxy}} out"), unit="binBps", width=12, low=None),
        )),
        Row("Backends", (
            series("Duration", "Mean time of the last 1024 requests: in the queue, connecting, and until the answer.",
                   query("haproxy_backend_queue_time_average_seconds{@}", "{{ins}} {{proxy}} queue"),
                   query("haproxy_backend_connect_time_average_seconds{@}", "{{ins}} {{proxy}} connect"),
                   query("haproxy_backend_response_time_average_seconds{@}", "{{ins}} {{proxy}} answer"), unit="s", width=8),
            series("Errors", "Connections per second that failed, and answers that could not be used.",
                   query("rate(haproxy_backend_connection_errors_total{@}[$__rate_interval])", "{{ins}} {{proxy}} connections"),
                   query("rate(haproxy_backend_response_errors_total{@}[$__rate_interval])", "{{ins}} {{proxy}} answers"), unit="ops", width=8,
                   steps=parts.ANY_WARNS),
            series("Tried again", "Requests per second that were sent again, to the same server and to another.",
                   query("rate(haproxy_backend_retry_warnings_total{@}[$__rate_interval])", "{{ins}} {{proxy}} same"),
                   query("rate(haproxy_backend_redispatch_warnings_total{@}[$__rate_interval])", "{{ins}} {{proxy}} another"), unit="ops", width=8),
        )),
        Row("Servers", (
            parts.timeline("Servers", "When each server passed its check.", 'haproxy_server_status{@, state="UP"}', "{{ins}} {{proxy}} {{server}}"),
            series("Sessions", "Open sessions of each server.", query("haproxy_server_current_sessions{@}", "{{proxy}} {{server}}"), width=8),
            series("Weight", "Share of the sessions that a server is given.", query("haproxy_server_weight{@}", "{{proxy}} {{server}}"), width=8),
            series("Check's duration", "How long the last check of a server took.",
                   query("haproxy_server_check_duration_seconds{@}", "{{proxy}} {{server}}"), unit="s", width=8),
        )),
        Row("Process", (
            series("Connections", "Open connections, and how many there may be.",
                   query(f"haproxy_process_current_connections{{{OWN}}}", "{{ins}}"), query(f"haproxy_process_max_connections{{{OWN}}}", "{{ins}} may be"), width=8),
            series("Idle", "Share of time in which it has nothing to do.", query(f"haproxy_process_idle_time_percent{{{OWN}}} / 100"), unit="percentunit",
                   high=1, width=8),
            series("Memory", "Memory of its pools.", query(f"haproxy_process_pool_used_bytes{{{OWN}}}"), unit="bytes", width=8),
        ), folded=True),
        Row("Log", (
            parts.lines("Journal", "What HAProxy writes to the journal; newest first.",
                        '{job="syslog",ip=~`${ip:regex}`} unit:="haproxy"', height=10),
        ), folded=True),
    ),
)  # fmt: skip
