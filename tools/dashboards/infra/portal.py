"""The portal as its visitors see it."""

from .. import parts
from ..model import Board, Column, Row, Variable
from ..parts import query, series, stat, table

LEFT = ((None, parts.BAD), (7 * 86400, parts.WARN), (14 * 86400, parts.GOOD))

BOARD = Board(
    uid="portal",
    title="Portal",
    folder="infra",
    about="blackbox",
    purpose="Whether every name that the portal serves answers on every INFRA node, and when its certificates end.",
    selector='job="probe", cls="portal", ins=~"$ins", hostname=~"$hostname"',
    variables=(
        parts.ins('probe_success{job="probe", cls="portal"}'),
        parts.ip('probe_success{job="probe", cls="portal", ins=~"$ins"}'),
        Variable("hostname", "Names that the portal serves", 'probe_success{job="probe", cls="portal", ins=~"$ins"}'),
    ),
    alerts='alertname=~"ProbeFailed|Cert.*",ins=~"$ins"',
    links=(*parts.around("nginx"), parts.Link("nginx-instance", "across", carry=("ip",)),
           parts.Link("blackbox", "across", carry=("ip",))),
    rows=(
        parts.overview(
            stat("Names", "Names that are served.", "count(count by (hostname) (probe_success{@}))",
                 steps=((None, "blue"),)),
            stat("Failing", "Names that do not answer, on any of the nodes.",
                 "count(probe_success{@} == 0) or vector(0)", steps=parts.NONE_IS_GOOD),
            stat("First certificate to end", "Time that the certificate which ends first has left.",
                 "min(probe_ssl_earliest_cert_expiry{@}) - time()", "s", steps=LEFT, width=5),
            stat("Slowest", "Mean time of the slowest name, over five minutes.",
                 "max(avg_over_time(probe_duration_seconds{@}[5m]))", "s",
                 steps=((None, parts.GOOD), (1, parts.WARN), (3, parts.BAD))),
            stat("Answered, 1 d", "Share of probes that were answered in the last day.",
                 "avg(avg_over_time(probe_success{@}[1d]))", "percentunit",
                 steps=((None, parts.BAD), (0.99, parts.WARN), (0.999, parts.GOOD))),
            stat("Upgraded", "Names that are served encrypted.", "sum(probe_http_ssl{@})", width=3),
            table("Names", "A line for each name and node. What answers with an error is up, but what is behind it is not.",
                  ("hostname", "entry", "ins", "ip"), Column("ip", to="node-instance"),
                  Column("answers", "probe_success{@}", mapping=parts.UP, width=90),
                  Column("status", "probe_http_status_code{@}", "none",
                         steps=((None, parts.GOOD), (400, parts.WARN), (500, parts.BAD))),
                  Column("duration", "probe_duration_seconds{@}", "s"),
                  Column("certificate left", "probe_ssl_earliest_cert_expiry{@} - time()", "s", steps=LEFT),
                  Column("answered, 1 d", "avg_over_time(probe_success{@}[1d])", "percentunit",
                         steps=((None, parts.BAD), (0.99, parts.WARN), (0.999, parts.GOOD))),
                  height=11, carry=("ip",)),
        ),
        Row("Answers", (
            parts.timeline("Answering", "When each name answered, and when not.", "probe_success{@}", "{{hostname}} {{ins}}"),
            series("Duration", "How long each name takes, from end to end.",
                   query("probe_duration_seconds{@}", "{{hostname}} {{ins}}"), unit="s", right=True,
                   steps=((None, parts.GOOD), (1, parts.WARN), (3, parts.BAD))),
            series("Duration by phase", "What takes the time, over all chosen names.",
                   query("avg by (phase) (probe_http_duration_seconds{@})", "{{phase}}"), unit="s", stack=True),
            series("Status", "The status that each name answers with.",
                   query("probe_http_status_code{@}", "{{hostname}} {{ins}}"), unit="none", right=True,
                   steps=((None, parts.GOOD), (400, parts.WARN), (500, parts.BAD))),
            series("Size", "Size of each answer.",
                   query("probe_http_uncompressed_body_length{@}", "{{hostname}} {{ins}}"), unit="bytes", right=True),
        )),
        Row("Certificates", (
            series("Time left", "Time until each certificate ends. Ours are issued anew with 30 days left, which "
                   "this shows as a jump.",
                   query("probe_ssl_earliest_cert_expiry{@} - time()", "{{hostname}} {{ins}}"), unit="s", right=True,
                   steps=LEFT),
            table("Certificates", "Whose they are, and who has issued them.",
                  ("hostname", "ins", "subject", "issuer", "subjectalternative"),
                  Column("seen", "probe_ssl_last_chain_info{@}", mapping={1: ("yes", parts.GOOD)}, width=80), width=12),
            table("Encryption", "Versions of TLS that are spoken; the probe takes the newest that is offered.",
                  ("hostname", "ins", "version"),
                  Column("spoken", "probe_tls_version_info{@}", mapping={1: ("yes", parts.GOOD)}, width=80), width=12),
            series("Protocol", "Version of HTTP that each name is served with.",
                   query("probe_http_version{@}", "{{hostname}} {{ins}}"), unit="none", right=True),
        )),
    ),
)  # fmt: skip
