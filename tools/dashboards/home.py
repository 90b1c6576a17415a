"""The home: the first page of Grafana."""

from . import parts
from .model import Board, Column, Row
from .parts import series, stat, table

NODE_UP = 'up{job="node"}'

BOARD = Board(
    uid="pigsty",
    title="Home",
    folder="",
    purpose="Whether all is well, and the way to where it is not.",
    alerts='severity=~"CRIT|WARN"',
    links=(
        parts.Link("infra-overview", "down", carry=()),
        parts.Link("node-overview", "down", carry=()),
        parts.Link("portal", "down", carry=()),
        parts.logs_of(carry=()),
        parts.Link("node-alert", "across", carry=()),
    ),
    rows=(
        parts.overview(
            stat(
                "INFRA services", "Services of the INFRA nodes that answer.",
                'sum(up{job="infra"})', to="infra-overview", steps=((None, "blue"),), width=3,
            ),
            stat(
                "… down", "Services of the INFRA nodes that do not.",
                'count(up{job="infra"} == 0) or vector(0)', to="infra-overview",
                steps=parts.NONE_IS_GOOD, width=3,
            ),
            stat(
                "Machines", "Machines whose exporter answers.",
                "sum(node_up)", to="node-overview", steps=((None, "blue"),), width=3,
            ),
            stat(
                "… down", "Machines whose exporter does not.",
                "count(node_up == 0) or vector(0)", to="node-overview", steps=parts.NONE_IS_GOOD, width=3,
            ),
            stat(
                "Probes failing", "Names, ports and addresses that do not answer.",
                'count(probe_success{job="probe"} == 0) or vector(0)', to="blackbox",
                steps=parts.NONE_IS_GOOD, width=3,
            ),
            stat(
                "First certificate to end", "Time that the certificate which ends first has left.",
                "min(probe_ssl_earliest_cert_expiry) - time()", "s", to="portal",
                steps=((None, parts.BAD), (7 * 86400, parts.WARN), (14 * 86400, parts.GOOD)), width=3,
            ),
            stat(
                "Critical alerts", "Firing alerts of severity CRIT.",
                'count(ALERTS{alertstate="firing", severity="CRIT"}) or vector(0)', to="node-alert",
                steps=parts.NONE_IS_GOOD, width=3,
            ),
            stat(
                "Warnings", "Firing alerts of severity WARN.",
                'count(ALERTS{alertstate="firing", severity="WARN"}) or vector(0)', to="node-alert",
                steps=((None, parts.GOOD), (1, parts.WARN)), width=3,
            ),
        ),
        Row("What runs", (
            table(
                "Services", "Services of the INFRA nodes: a click on one leads to its overview.",
                ("cls", "ins", "ip"),
                Column("cls", to="infra-overview"),
                Column("up", 'up{job="infra"}', mapping=parts.UP, width=80),
                Column("failed scrapes, 1 h", '(1 - avg_over_time(up{job="infra"}[1h]))', "percentunit",
                       steps=((None, parts.GOOD), (0.01, parts.WARN)), width=140),
                width=12, height=12, carry=("ins",),
            ),
            table(
                "Machines", "Machines, the busiest in colour: a click on one leads to it.",
                ("cls", "ins", "ip"),
                Column("ins", to="node-instance"),
                Column("up", "node_up", mapping=parts.UP, width=80),
                Column("CPU", "node:ins:cpu_usage_1m", "percentunit", steps=parts.USAGE, bar=True, most=1),
                Column("memory", "node:ins:mem_usage", "percentunit", steps=parts.USAGE, bar=True, most=1),
                Column("disk", "node:ins:space_usage_max", "percentunit", steps=parts.USAGE, bar=True, most=1),
                width=12, height=12, carry=("ins",),
            ),
        )),
        Row("Over time", (
            series(
                "Firing alerts", "Firing alerts by severity.",
                parts.query('count by (severity) (ALERTS{alertstate="firing"}) or label_replace(vector(0), "severity", "none", "", "")', "{{severity}}"),
                width=8,
            ),
            series(
                "CPU of each cluster", "Share of all cores of the cluster that is busy.",
                parts.query("node:cls:cpu_usage_1m", "{{cls}}"), unit="percentunit", width=8,
            ),
            series(
                "Requests to the portal", "Requests per second, of each INFRA node.",
                parts.query('rate(nginx_http_requests_total{job="infra"}[$__rate_interval])'),
                unit="reqps", width=8,
            ),
        )),
    ),
)  # fmt: skip
