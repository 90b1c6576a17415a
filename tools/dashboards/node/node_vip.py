"""Virtual addresses, and the keepalived that moves them."""

from .. import machines, parts
from ..model import Board, Column, Link, Row
from ..parts import query, series, stat, table

BOARD = Board(
    uid="node-vip",
    title="Node VIP",
    folder="node",
    about="keepalived",
    purpose="Whether virtual addresses answer, which machine holds each, and how often they move.",
    selector='cls=~"$cls", ins=~"$ins", ip=~"$ip"',
    variables=machines.variables('__name__=~"keepalived_up|node_up"'),
    alerts='alertname=~"KeepalivedDown|PingFailed",ins=~"$ins"',
    links=(*machines.links(), Link("node-instance", "up", "Machine", carry=("ip",)), Link("blackbox", "across", carry=("ip",))),
    rows=(
        parts.overview(
            parts.aliveness("Keepalived", "Whether keepalived runs, as its exporter sees it.", "keepalived_up{@}", width=8),
            parts.aliveness("Exporter", "Whether the exporter of keepalived answers.", "keepalived_exporter_up{@}", width=8),
            stat("Virtual addresses", "Virtual addresses that answer pings.", 'sum(max by (vip) (probe_success{@, job=~".*-vip"}))', width=8),
            table("Candidates", "A line for each machine that may hold an address.", ("cls", "ins", "ip", "iname", "ip_address"),
                  Column("ins", to="node-instance"),
                  Column("state", "keepalived_vrrp_state{@}",
                         mapping={0: ("init", "text"), 1: ("backup", "blue"), 2: ("master", parts.GOOD), 3: ("fault", parts.BAD)}),
                  height=8, carry=("ins",)),
        ),
        Row("Addresses", (
            parts.timeline("Answers", "When each virtual address answered pings.", 'probe_success{@, job=~".*-vip"}', "{{vip}} {{ins}}"),
            series("Round trip", "Time of a ping there and back.", query('probe_icmp_duration_seconds{@, job=~".*-vip", phase="rtt"}', "{{vip}}"), unit="s"),
            series("Loss", "Share of pings that were not answered, over ten minutes.",
                   query('1 - avg_over_time(probe_success{@, job=~".*-vip"}[10m])', "{{vip}}"), unit="percentunit", high=1,
                   steps=((None, parts.GOOD), (0.1, parts.WARN), (0.5, parts.BAD))),
        )),
        Row("VRRP", (
            parts.timeline("State", "Which machine held the address when.", "keepalived_vrrp_state{@}", "{{ins}} {{iname}}",
                           mapping={0: ("init", "text"), 1: ("backup", "blue"), 2: ("master", parts.GOOD), 3: ("fault", parts.BAD)}),
            series("Became master", "How often a machine took an address, in an hour.",
                   query("increase(keepalived_become_master_total{@}[1h])", "{{ins}} {{iname}}"), width=8),
            series("Gave it up", "How often a machine gave an address up, in an hour.",
                   query("increase(keepalived_release_master_total{@}[1h])", "{{ins}} {{iname}}"), width=8),
            series("Advertisements", "Advertisements per second, received and sent.",
                   query("rate(keepalived_advertisements_received_total{@}[$__rate_interval])", "{{ins}} {{iname}} received"),
                   query("rate(keepalived_advertisements_sent_total{@}[$__rate_interval])", "{{ins}} {{iname}} sent"), unit="ops", width=8),
        )),
        Row("Log", (
            parts.lines("Journal", "What keepalived writes to the journal; newest first.",
                        '{job="syslog",ip=~`${ip:regex}`} unit:="keepalived"', height=10),
        ), folded=True),
    ),
)  # fmt: skip
