"""The local software repository."""

from .. import parts
from ..model import Board, Column, Row
from ..parts import query, series, stat, table

ACCESS = '{job="nginx",ip=~`${ip:regex}`} cls:="nginx" request:pigsty'

BOARD = Board(
    uid="repo",
    title="Repository",
    folder="infra",
    about="blackbox",
    purpose="Whether the local repository of each INFRA node is complete, how old it is, and who fetches from it.",
    selector='job="probe", cls="repo", ins=~"$ins"',
    variables=(
        parts.ins('probe_success{job="probe", cls="repo"}'),
        parts.ip('probe_success{job="probe", cls="repo", ins=~"$ins"}'),
    ),
    alerts='alertname=~"Repo.*",ins=~"$ins"',
    links=(*parts.around("nginx"), parts.Link("nginx-instance", "across", carry=("ip",))),
    rows=(
        parts.overview(
            stat("Complete", "Whether repo_complete, which a build writes last, is served.",
                 "probe_success{@}", legend="{{ins}}",
                 mapping={1: ("complete", parts.GOOD), 0: ("incomplete", parts.BAD)}, width=8),
            stat("Age", "Time since it was last completed, of the oldest: security updates since then are not in it.",
                 "max(time() - probe_http_last_modified_timestamp_seconds{@})", "s",
                 steps=((None, parts.GOOD), (30 * 86400, parts.WARN), (90 * 86400, parts.BAD)), width=4),
            stat("Apart", "Time between the builds of the INFRA nodes.",
                 "max(probe_http_last_modified_timestamp_seconds{@}) - min(probe_http_last_modified_timestamp_seconds{@})",
                 "s", width=4),
            stat("Room left", "Free bytes of the fullest disk of these machines.",
                 'min(node:fs:avail_bytes{ip=~"$ip"})', "bytes", about="node_exporter",
                 steps=((None, parts.BAD), (5e9, parts.WARN), (2e10, parts.GOOD)), width=4),
            stat("Firing alerts", "Firing alerts about the repository.",
                 'count(ALERTS{alertstate="firing", alertname=~"Repo.*"}) or vector(0)', steps=parts.NONE_IS_GOOD),
            table("Repositories", "A line for each INFRA node; a click on its address leads to the machine.",
                  ("ins", "ip", "instance"), Column("ip", to="node-instance"),
                  Column("complete", "probe_success{@}", mapping=parts.YES, width=90),
                  Column("completed", "probe_http_last_modified_timestamp_seconds{@} * 1000", "dateTimeAsIso"),
                  Column("status", "probe_http_status_code{@}", "none"),
                  Column("list's size", "probe_http_content_length{@}", "bytes"),
                  height=6, carry=("ip",)),
        ),
        Row("Over time", (
            parts.timeline("Complete", "When each was complete.", "probe_success{@}", height=5),
            series("Age", "Time since each was last completed.",
                   query("time() - probe_http_last_modified_timestamp_seconds{@}"), unit="s",
                   steps=((None, parts.GOOD), (30 * 86400, parts.WARN), (90 * 86400, parts.BAD))),
            series("Duration of the probe", "How long it takes to fetch the list of what is complete, by phase.",
                   query("sum by (ins, phase) (probe_http_duration_seconds{@})", "{{ins}} {{phase}}"), unit="s", stack=True),
        )),
        Row("Use", (
            parts.volume("Requests", "Requests for files of the repository, by status.",
                         f"{ACCESS} | stats by (status) count() lines", "{{status}}", width=12),
            parts.volume("Clients", "Requests for files of the repository, by client.",
                         f"{ACCESS} | stats by (client) count() lines", "{{client}}", width=12),
            parts.lines("Not found", "Requests for what is not in it; newest first.",
                        f"{ACCESS} status:>=400", height=9),
        )),
    ),
)  # fmt: skip
