"""The web servers of the INFRA nodes."""

from .. import parts
from ..model import Board, Row
from ..parts import query, series, stat

ACCESS = '{job="nginx",ins=~`${ins:regex}`} cls:="nginx"'
ERRORS = '{job="nginx",ins=~`${ins:regex}`} cls:="nginx-error"'

BOARD = Board(
    uid="nginx-instance",
    title="Nginx Instance",
    folder="infra",
    about="nginx",
    purpose="Whether the portal's web servers answer, how much is asked of them, and what they refuse.",
    selector='job="infra", cls="nginx", ins=~"$ins"',
    variables=parts.of_component("nginx"),
    alerts='ip=~"$ip",category="infra"',
    links=(*parts.around("nginx"), parts.Link("portal", "across", carry=("ip",))),
    rows=(
        parts.overview(
            parts.aliveness(
                "Nginx", "Whether the exporter gets an answer from nginx.", "nginx_up{@}", width=6
            ),
            parts.aliveness("Exporter", "Whether the exporter itself answers.", "up{@}", width=6),
            stat(
                "Requests", "Requests per second, of all chosen.",
                "sum(rate(nginx_http_requests_total{@}[5m]))", "reqps",
            ),
            stat(
                "Connections", "Open connections, of all chosen.",
                "sum(nginx_connections_active{@})",
            ),
            stat(
                "Not handled", "Connections that were accepted and then dropped, in the last hour: "
                "a limit (worker_connections, open files) was reached.",
                "sum(increase(nginx_connections_accepted{@}[1h]) - increase(nginx_connections_handled{@}[1h]))",
                steps=parts.NONE_IS_GOOD,
            ),
        ),
        Row("Requests and connections", (
            series(
                "Requests", "Requests per second.",
                query("rate(nginx_http_requests_total{@}[$__rate_interval])"), unit="reqps",
            ),
            series(
                "Requests per connection", "How well connections are used again; 1 means that each "
                "request opens its own.",
                query("rate(nginx_http_requests_total{@}[$__rate_interval]) / "
                      "(rate(nginx_connections_handled{@}[$__rate_interval]) > 0)"),
            ),
            series(
                "Connections by state", "Reading a request, writing an answer, or waiting for the "
                "next request.",
                query("nginx_connections_reading{@}", "{{ins}} reading"),
                query("nginx_connections_writing{@}", "{{ins}} writing"),
                query("nginx_connections_waiting{@}", "{{ins}} waiting"),
                stack=True,
            ),
            series(
                "New connections", "Accepted and handled per second; where the two part, connections "
                "are dropped.",
                query("rate(nginx_connections_accepted{@}[$__rate_interval])", "{{ins}} accepted"),
                query("rate(nginx_connections_handled{@}[$__rate_interval])", "{{ins}} handled"),
                unit="cps",
            ),
            parts.timeline(
                "Aliveness", "When nginx answered its exporter, and when not.", "nginx_up{@}", height=5
            ),
        )),
        Row("Access log", (
            parts.volume(
                "Answers by status", "Requests by the status that they were answered with.",
                f"{ACCESS} | stats by (status) count() lines", "{{status}}", width=12, height=8,
            ),
            parts.volume(
                "Requests by site", "Requests by the site: the name of its access log.",
                f"{ACCESS} | stats by (server) count() lines", "{{server}}", width=12, height=8,
            ),
            parts.lines(
                "Failed requests", "Requests that were answered with 4xx or 5xx; newest first.",
                f"{ACCESS} status:>=400",
            ),
        )),
        Row("Error log", (
            parts.volume(
                "Errors by level", "Lines of the error log, by level.",
                f"{ERRORS} | stats by (level) count() lines", "{{level}}",
            ),
            parts.lines("Error log", "What nginx complains of; newest first.", ERRORS),
        )),
        parts.process(),
    ),
)  # fmt: skip
