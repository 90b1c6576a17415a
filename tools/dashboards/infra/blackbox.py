"""The blackbox exporter and all that it asks."""

from .. import parts
from ..model import Board, Column, Row, Variable
from ..parts import query, series, stat, table

OF_EXPORTER = 'job="infra", cls="blackbox"'

BOARD = Board(
    uid="blackbox",
    title="Blackbox",
    folder="infra",
    about="blackbox",
    purpose="Which addresses, ports and names can be reached from the INFRA nodes, and how well.",
    selector='job=~"probe|ping|.*-vip", cls=~"$cls", ins=~"$ins", module=~"$module"',
    variables=(
        parts.cls('probe_success{job=~"probe|ping|.*-vip"}'),
        parts.ins('probe_success{job=~"probe|ping|.*-vip", cls=~"$cls"}'),
        parts.ip('probe_success{job=~"probe|ping|.*-vip", ins=~"$ins"}'),
        Variable("module", "How it is asked: the exporter's module", 'probe_success{cls=~"$cls", ins=~"$ins"}'),
    ),
    alerts='alertname=~"Probe.*|Ping.*|DnsNotAnswering|Cert.*",ins=~"$ins"',
    links=(
        *parts.around("blackbox_exporter"),
        parts.Link("portal", "down", carry=("ip",)),
        parts.Link("dns", "down", carry=("ip",)),
    ),
    rows=(
        parts.overview(
            stat("Exporters", "Whether the exporter of each INFRA node answers.",
                 f"up{{{OF_EXPORTER}}}", legend="{{ins}}", mapping=parts.UP, width=5),
            stat("Configuration", "Whether the configuration of the last reload was accepted.",
                 "blackbox_exporter_config_last_reload_successful", legend="{{ins}}", mapping=parts.OK, width=5),
            stat("Probes", "What is asked.", "count(probe_success{@})", steps=((None, "blue"),)),
            stat("Failing", "What does not answer.", "count(probe_success{@} == 0) or vector(0)", steps=parts.NONE_IS_GOOD),
            stat("Answered, 1 h", "Share of probes that were answered in the last hour.",
                 "avg(avg_over_time(probe_success{@}[1h]))", "percentunit",
                 steps=((None, parts.BAD), (0.99, parts.WARN), (0.999, parts.GOOD)), width=6),
            table("Failing now", "What does not answer, and since when it is so, in the last day.",
                  ("cls", "ins", "instance", "module", "ip"), Column("ip", to="node-instance"),
                  Column("answered, 1 d", "avg_over_time(probe_success{@}[1d]) and probe_success{@} == 0", "percentunit",
                         steps=((None, parts.BAD), (0.99, parts.WARN))),
                  height=6, carry=("ip",), quiet="Everything answers."),
        ),
        Row("Probes", (
            parts.timeline("Answering", "When each answered, and when not.", "probe_success{@}", "{{ins}} {{module}} {{instance}}", height=12),
            series("Duration", "How long each probe takes, from end to end.",
                   query("probe_duration_seconds{@}", "{{ins}} {{module}}"), unit="s", right=True),
            series("Answered", "Share of probes that were answered, over five minutes, by cluster.",
                   query("avg by (cls, module) (avg_over_time(probe_success{@}[5m]))", "{{cls}} {{module}}"),
                   unit="percentunit", high=1, right=True),
        )),
        Row("ICMP", (
            series("Round trip", "Time of a ping there and back.",
                   query('probe_icmp_duration_seconds{cls=~"$cls", ins=~"$ins", phase="rtt"}'), unit="s", right=True,
                   steps=((None, parts.GOOD), (0.1, parts.WARN), (0.5, parts.BAD))),
            series("Loss", "Share of pings that were not answered, over ten minutes.",
                   query('1 - avg_over_time(probe_success{job=~"ping|.*-vip", cls=~"$cls", ins=~"$ins"}[10m])'),
                   unit="percentunit", right=True, steps=((None, parts.GOOD), (0.1, parts.WARN), (0.5, parts.BAD))),
            series("Hops", "Hops that a reply has left; a change means another way.",
                   query('probe_icmp_reply_hop_limit{cls=~"$cls", ins=~"$ins"}'), unit="none", width=24, height=6, right=True),
        )),
        Row("HTTP", (
            series("Duration by phase", "What takes the time, by cluster.",
                   query('avg by (cls, phase) (probe_http_duration_seconds{cls=~"$cls", ins=~"$ins"})', "{{cls}} {{phase}}"),
                   unit="s", stack=True, right=True),
            series("Status", "The status that each answers with; 0 is no answer.",
                   query('probe_http_status_code{cls=~"$cls", ins=~"$ins"}', "{{ins}} {{hostname}}"), unit="none", right=True,
                   steps=((None, parts.GOOD), (400, parts.WARN), (500, parts.BAD))),
        )),
        Row("Certificates", (
            series("Time left", "Time until the certificate of each HTTPS address ends; it is told with 14 days left, and again with 7.",
                   query('probe_ssl_earliest_cert_expiry{cls=~"$cls", ins=~"$ins"} - time()', "{{ins}} {{hostname}}"), unit="s",
                   width=24, height=7, right=True,
                   steps=((None, parts.BAD), (7 * 86400, parts.WARN), (14 * 86400, parts.GOOD))),
        )),
        Row("Exporter", (
            series("CPU", "Cores that the exporter keeps busy.",
                   query(f"rate(process_cpu_seconds_total{{{OF_EXPORTER}}}[$__rate_interval])"), width=8),
            series("Memory", "Resident memory of the exporter.",
                   query(f"process_resident_memory_bytes{{{OF_EXPORTER}}}"), unit="bytes", width=8),
            series("Unknown modules", "Probes per second that name a module which the exporter does not know.",
                   query("rate(blackbox_module_unknown_total[$__rate_interval])"), unit="ops", width=8, steps=parts.ANY_WARNS),
        ), folded=True),
        parts.journal("blackbox_exporter", "the blackbox exporter"),
    ),
)  # fmt: skip
