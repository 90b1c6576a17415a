"""The name service of the INFRA nodes."""

from .. import parts
from ..model import Board, Column, Row
from ..parts import query, series, stat, table

BOARD = Board(
    uid="dns",
    title="DNS",
    folder="infra",
    about="blackbox",
    purpose="Whether the name servers of the INFRA nodes answer, over UDP and TCP, and how fast.",
    selector='job="probe", cls="dns", ins=~"$ins"',
    variables=(
        parts.ins('probe_success{job="probe", cls="dns"}'),
        parts.ip('probe_success{job="probe", cls="dns", ins=~"$ins"}'),
    ),
    alerts='alertname="DnsNotAnswering",ins=~"$ins"',
    links=parts.around("dnsmasq"),
    rows=(
        parts.overview(
            stat("Answering", "Whether each answers, by the way in which it is asked.",
                 "probe_success{@}", legend="{{ins}} {{module}}", mapping=parts.UP, width=10),
            stat("Answered, 1 d", "Share of questions that were answered in the last day.",
                 "avg(avg_over_time(probe_success{@}[1d]))", "percentunit",
                 steps=((None, parts.BAD), (0.99, parts.WARN), (0.999, parts.GOOD)), width=4),
            stat("Slowest", "The longest that a question took in the last hour.",
                 "max(max_over_time(probe_duration_seconds{@}[1h]))", "s",
                 steps=((None, parts.GOOD), (0.1, parts.WARN), (1, parts.BAD)), width=5),
            stat("Firing alerts", "Firing alerts about the name service.",
                 'count(ALERTS{alertstate="firing", alertname="DnsNotAnswering"}) or vector(0)',
                 steps=parts.NONE_IS_GOOD, width=5),
            table("Servers", "A line for each server and way; a click on its address leads to the machine.",
                  ("ins", "ip", "instance", "module"), Column("ip", to="node-instance"),
                  Column("answers", "probe_success{@}", mapping=parts.UP, width=90),
                  Column("duration", "probe_duration_seconds{@}", "s"),
                  Column("answered, 1 d", "avg_over_time(probe_success{@}[1d])", "percentunit",
                         steps=((None, parts.BAD), (0.99, parts.WARN), (0.999, parts.GOOD))),
                  Column("records in the answer", "probe_dns_answer_rrs{@}"), height=7, carry=("ip",)),
        ),
        Row("Answers", (
            parts.timeline("Answering", "When each answered, and when not.", "probe_success{@}", "{{ins}} {{module}}"),
            series("Duration", "How long a question takes, from end to end.",
                   query("probe_duration_seconds{@}", "{{ins}} {{module}}"), unit="s",
                   steps=((None, parts.GOOD), (0.1, parts.WARN), (1, parts.BAD))),
            series("Duration by phase", "What takes the time: finding the server, connecting, asking.",
                   query("sum by (ins, module, phase) (probe_dns_duration_seconds{@})", "{{ins}} {{module}} {{phase}}"),
                   unit="s", stack=True),
            series("Answered questions", "Share of questions that were answered, over five minutes.",
                   query("avg by (ins, module) (avg_over_time(probe_success{@}[5m]))", "{{ins}} {{module}}"),
                   unit="percentunit", high=1),
            series("Records", "Records in the answer; with none the name is not known any more.",
                   query("probe_dns_answer_rrs{@}", "{{ins}} {{module}}")),
        )),
        parts.journal("dnsmasq", "dnsmasq"),
    ),
)  # fmt: skip
