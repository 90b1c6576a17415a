"""What evaluates the rules: one vmalert over metrics, one over logs."""

from .. import parts
from ..model import Board, Column, Row
from ..parts import query, series, stat, table

OWN = 'up{job="infra", cls=~"vmalert.*"'

BOARD = Board(
    uid="vmalert-instance",
    title="vmalert Instance",
    folder="infra",
    about="vmalert",
    purpose="Whether rules are evaluated in time and without a fault, what fires, and whether it reaches Alertmanager.",
    selector='job="infra", cls=~"vmalert.*", ins=~"$ins"',
    variables=(parts.ins(f"{OWN}}}"), parts.ip(f'{OWN}, ins=~"$ins"}}')),
    alerts='ip=~"$ip",category="infra"',
    links=(*parts.around("vmalert"), parts.Link("alertmanager-instance", "across", carry=("ip",))),
    rows=(
        parts.overview(
            parts.aliveness("Aliveness", "Whether it answers its scrape.", "up{@}", width=4),
            stat("Configuration", "Whether the rules of the last reload were accepted.",
                 "vmalert_config_last_reload_successful{@}", legend="{{ins}}", mapping=parts.OK),
            stat("Firing", "Alerts that fire, as the fullest of the chosen sees them.",
                 "max(sum by (ins) (vmalert_alerts_firing{@}))", steps=parts.NONE_IS_GOOD),
            stat("Pending", "Alerts whose condition holds, but not for long enough yet.",
                 "max(sum by (ins) (vmalert_alerts_pending{@}))", steps=((None, parts.GOOD), (1, parts.WARN))),
            stat("Failed evaluations, 1 h", "Evaluations that failed in the last hour.",
                 "sum(increase(vmalert_execution_errors_total{@}[1h]))", steps=parts.NONE_IS_GOOD),
            stat("Not sent, 1 h", "Alerts that did not reach an Alertmanager in the last hour.",
                 "sum(increase(vmalert_alerts_send_errors_total{@}[1h])) or vector(0)", steps=parts.NONE_IS_GOOD),
            table("Firing", "Alerts that fire or are about to, and since when.",
                  ("alertname", "severity", "alertstate", "cls", "ins", "ip"),
                  Column("since", 'ALERTS_FOR_STATE{ip=~"$ip"} * 1000 * ignoring (alertstate) group_right () ALERTS{ip=~"$ip"}',
                         "dateTimeFromNow"),
                  height=8, quiet="Nothing fires."),
        ),
        Row("Evaluation", (
            series("Evaluations", "Groups of rules that are evaluated per second.",
                   query("sum by (ins) (rate(vmalert_iteration_total{@}[$__rate_interval]))"), unit="ops", width=8),
            series("Duration", "How long 99 of 100 evaluations of a group take at most; longer than the interval, "
                   "the next is missed.",
                   query('vmalert_iteration_duration_seconds{@, quantile="0.99"}', "{{ins}} {{group}}"), unit="s", width=8),
            series("Missed", "Evaluations per second that were left out.",
                   query("sum by (ins, group) (rate(vmalert_iteration_missed_total{@}[$__rate_interval]))", "{{ins}} {{group}}"),
                   unit="ops", width=8, steps=parts.ANY_WARNS),
            series("Rules", "Rules that are evaluated per second, and those that fail.",
                   query("sum by (ins) (rate(vmalert_execution_total{@}[$__rate_interval]))", "{{ins}}"),
                   query("sum by (ins) (rate(vmalert_execution_errors_total{@}[$__rate_interval]))", "{{ins}} failed"),
                   unit="ops", width=12),
            series("Share of the interval", "How much of the interval a group needs; above 1 evaluations are missed.",
                   query("max by (ins, group) (rate(vmalert_iteration_duration_seconds_sum{@}[$__rate_interval]) / "
                         "(rate(vmalert_iteration_duration_seconds_count{@}[$__rate_interval]) > 0)) "
                         "/ max by (ins, group) (vmalert_iteration_interval_seconds{@})", "{{ins}} {{group}}"),
                   unit="percentunit", width=12, steps=((None, parts.GOOD), (0.5, parts.WARN), (1, parts.BAD))),
        )),
        Row("Alerting rules", (
            series("Firing", "Alerts that fire, by rule.",
                   query("sum by (alertname) (vmalert_alerts_firing{@}) > 0 or vector(0)", "{{alertname}}"), width=8, stack=True),
            series("Pending", "Alerts that are about to fire, by rule.",
                   query("sum by (alertname) (vmalert_alerts_pending{@}) > 0 or vector(0)", "{{alertname}}"), width=8, stack=True),
            series("Failing rules", "Alerting rules whose last evaluation failed.",
                   query("sum by (ins, alertname) (rate(vmalert_alerting_rules_errors_total{@}[$__rate_interval])) > 0 or vector(0)",
                         "{{ins}} {{alertname}}"), width=8, steps=parts.ANY_WARNS),
            series("Fired", "Alerts that began to fire, per second.",
                   query("sum by (ins) (rate(vmalert_alerts_fired_total{@}[$__rate_interval]))"), unit="ops", width=8),
            series("Sent", "Alerts per second to each Alertmanager.",
                   query("sum by (ins, addr) (rate(vmalert_alerts_sent_total{@}[$__rate_interval]))", "{{ins}} → {{addr}}"),
                   unit="ops", width=8),
            series("Not sent", "Alerts per second that an Alertmanager did not take.",
                   query("sum by (ins, addr) (rate(vmalert_alerts_send_errors_total{@}[$__rate_interval]))", "{{ins}} → {{addr}}"),
                   unit="ops", width=8, steps=parts.ANY_WARNS),
        )),
        Row("Recording rules", (
            parts.bars("Series by rule", "Series that a rule wrote at its last evaluation: the twenty largest.",
                       "topk(20, max by (recording) (vmalert_recording_rules_last_evaluation_samples{@}))",
                       "{{recording}}", width=12, height=12),
            table("Rules without a series", "Recording rules that find nothing: what they are about is not there, or its name is wrong.",
                  ("ins", "group", "recording"),
                  Column("series", "vmalert_recording_rules_last_evaluation_samples{@} == 0"), width=12, height=12),
            series("Failing rules", "Recording rules whose evaluation fails.",
                   query("sum by (ins, recording) (rate(vmalert_recording_rules_errors_total{@}[$__rate_interval])) > 0 or vector(0)",
                         "{{ins}} {{recording}}"), width=24, height=6, steps=parts.ANY_WARNS),
        ), folded=True),
        Row("Remote write", (
            series("Samples written", "Samples per second that are written back: recordings, and the state of alerts.",
                   query("sum by (ins) (rate(vmalert_remotewrite_sent_rows_total{@}[$__rate_interval]))"), unit="recps", width=8),
            series("Samples lost", "Samples per second that could not be written.",
                   query("sum by (ins) (rate(vmalert_remotewrite_dropped_rows_total{@}[$__rate_interval]))"), unit="recps", width=8,
                   steps=parts.ANY_WARNS),
            series("Failed writes", "Requests per second that the store refused.",
                   query("sum by (ins) (rate(vmalert_remotewrite_errors_total{@}[$__rate_interval]))"), unit="ops", width=8,
                   steps=parts.ANY_WARNS),
        ), folded=True),
        Row("Flags", (
            table("Flags", "Flags that were given to it.", ("ins", "name", "value"),
                  Column("set", 'flag{@, is_set="true"}', mapping={1: ("yes", parts.GOOD)}, width=80), height=8),
        ), folded=True),
        parts.process(victoria=True),
        parts.journal("vmalert", "vmalert"),
    ),
)  # fmt: skip
