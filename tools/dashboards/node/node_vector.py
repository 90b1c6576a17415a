"""The Vectors that ship logs."""

from .. import machines, parts
from ..model import Board, Column, Link, Row
from ..parts import query, series, stat, table

# What waits has two names: an older Vector tells vector_buffer_byte_size and vector_buffer_events.
BY = "sum by (ins, component_id) "
NAME = "{{ins}} {{component_id}}"

BOARD = Board(
    uid="node-vector",
    title="Node Vector",
    folder="node",
    about="vector",
    purpose="Whether the logs of each machine are shipped, where they are held up, and what is lost.",
    selector='cls=~"$cls", ins=~"$ins", ip=~"$ip"',
    variables=machines.variables('__name__="vector_up"'),
    alerts='alertname=~"VectorDown|LogsDropped",ins=~"$ins"',
    links=(*machines.links("vlogs-instance"), Link("node-instance", "up", "Machine", carry=("ip",))),
    rows=(
        parts.overview(
            parts.aliveness("Aliveness", "Whether each answers its scrape.", "vector_up{@}", width=8),
            stat("Lines read", "Lines per second that are read.", 'sum(rate(vector_component_sent_events_total{@, component_kind="source", component_type!="internal_metrics"}[5m]))', "recps"),
            stat("Lines sent", "Lines per second that receivers took.", 'sum(rate(vector_component_sent_events_total{@, component_type="http"}[5m]))', "recps"),
            stat("Lines lost, 1 h", "Lines that were thrown away in the last hour.",
                 'sum(increase(vector_component_discarded_events_total{@, intentional="false"}[1h])) or vector(0)', steps=parts.NONE_IS_GOOD),
            stat("Held back", "Bytes that wait on disk for a receiver.", "sum(vector_buffer_size_bytes{@} or vector_buffer_byte_size{@})", "bytes"),
            table("Machines", "A line for each machine; a click on one leads to it.", ("cls", "ins", "ip"),
                  Column("ins", to="node-instance"),
                  Column("up", "vector_up{@}", mapping=parts.UP, width=80),
                  Column("lines sent", 'sum by (cls, ins, ip) (rate(vector_component_sent_events_total{@, component_type="http"}[5m]))', "recps"),
                  Column("errors", "sum by (cls, ins, ip) (rate(vector_component_errors_total{@}[5m]))", "ops", steps=parts.ANY_WARNS),
                  Column("held back", "sum by (cls, ins, ip) (vector_buffer_size_bytes{@} or vector_buffer_byte_size{@})", "bytes"),
                  Column("busiest part", "max by (cls, ins, ip) (vector_utilization{@})", "percentunit", steps=parts.USAGE),
                  height=8, carry=("ins",)),
        ),
        Row("Flow", (
            series("Received", "Lines per second into each part.", query(f"{BY}(rate(vector_component_received_events_total{{@}}[$__rate_interval]))", NAME), unit="recps", right=True),
            series("Sent", "Lines per second out of each part.", query(f"{BY}(rate(vector_component_sent_events_total{{@}}[$__rate_interval]))", NAME), unit="recps", right=True),
            series("Bytes sent", "Bytes per second to the receivers.", query(f"{BY}(rate(vector_component_sent_bytes_total{{@}}[$__rate_interval]))", NAME), unit="binBps", right=True),
            series("Busy", "Share of time in which a part has something to do; at 1 it holds up what is before it.",
                   query("vector_utilization{@}", NAME), unit="percentunit", high=1, right=True, steps=parts.USAGE),
        )),
        Row("Faults", (
            series("Errors", "Errors per second, by part and kind.",
                   query("sum by (ins, component_id, error_type) (rate(vector_component_errors_total{@}[$__rate_interval]))", "{{ins}} {{component_id}} {{error_type}}"),
                   unit="ops", width=8, steps=parts.ANY_WARNS),
            series("Lost", "Lines per second that were thrown away, by part.",
                   query(f'{BY}(rate(vector_component_discarded_events_total{{@, intentional="false"}}[$__rate_interval]))', NAME), unit="recps", width=8, steps=parts.ANY_WARNS),
            series("Answers of receivers", "Answers per second of the stores of logs, by status.",
                   query("sum by (ins, status) (rate(vector_http_client_responses_total{@}[$__rate_interval]))", "{{ins}} {{status}}"), unit="reqps", width=8),
        )),
        Row("Buffers", (
            series("Bytes", "Bytes that wait on disk, for each receiver.", query("vector_buffer_size_bytes{@} or vector_buffer_byte_size{@}", NAME), unit="bytes", width=8),
            series("Lines", "Lines that wait on disk, for each receiver.", query("vector_buffer_size_events{@} or vector_buffer_events{@}", NAME), width=8),
            series("Lost when full", "Lines per second that a full buffer threw away: the receiver is away for longer than vector_buffer_size lasts.",
                   query(f"{BY}(rate(vector_buffer_discarded_events_total{{@}}[$__rate_interval]))", NAME), unit="recps", width=8, steps=parts.ANY_WARNS),
        )),
        Row("Log", (
            parts.lines("Journal", "What Vector writes to the journal; newest first.", '{job="syslog",ip=~`${ip:regex}`} unit:="vector"', height=10),
        ), folded=True),
    ),
)  # fmt: skip
