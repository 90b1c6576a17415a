"""The clocks of all machines."""

from .. import parts
from ..model import Board, Column, Row
from ..parts import query, series, stat, table

BOARD = Board(
    uid="ntp",
    title="NTP",
    folder="infra",
    about="node_exporter",
    purpose="Whether the clock of every machine is kept in step, and how far each is off.",
    selector='job="node", cls=~"$cls", ins=~"$ins", ip=~"$ip"',
    variables=(
        parts.cls("node_up"),
        parts.ins('node_up{cls=~"$cls"}'),
        parts.ip('node_up{ins=~"$ins"}'),
    ),
    alerts='alertname=~"NodeTimeDrift|NodeTimeSourceLost",ip=~"$ip"',
    links=(
        parts.HOME,
        parts.Link("infra-overview", "up", carry=("ip",)),
        parts.Link("node-instance", "down", "Machine", carry=("ip",)),
        parts.logs_of("unit:in(chrony,chronyd)"),
        parts.ALERTS,
    ),
    rows=(
        parts.overview(
            stat("In step", "Machines whose kernel says that its clock is kept.",
                 "sum(node_timex_sync_status{@})", steps=((None, "blue"),)),
            stat("Not in step", "Machines whose clock nobody corrects.",
                 "count(node_timex_sync_status{@} != 1) or vector(0)", steps=parts.NONE_IS_GOOD),
            stat("Farthest off", "The largest offset that a kernel knows of its clock.",
                 "max(abs(node_timex_offset_seconds{@}))", "s",
                 steps=((None, parts.GOOD), (0.1, parts.WARN), (1, parts.BAD))),
            stat("Apart", "How far the clocks of a cluster are apart, at most.",
                 'max(node:cls:time_drift_range{cls=~"$cls"})', "s",
                 steps=((None, parts.GOOD), (0.1, parts.WARN), (1, parts.BAD))),
            stat("Source lost", "Machines whose possible error grows, since no source answers.",
                 "count(node_timex_maxerror_seconds{@} > 1 and node_timex_sync_status{@} == 1) or vector(0)",
                 steps=parts.NONE_IS_GOOD),
            stat("Firing alerts", "Firing alerts about clocks.",
                 'count(ALERTS{alertstate="firing", alertname=~"NodeTimeDrift|NodeTimeSourceLost"}) or vector(0)',
                 steps=parts.NONE_IS_GOOD),
            table("Clocks", "A line for each machine: a click on its name leads to it.",
                  ("cls", "ins", "ip"), Column("ins", to="node-instance"),
                  Column("in step", "node_timex_sync_status{@}", mapping=parts.YES, width=90),
                  Column("offset", "node_timex_offset_seconds{@}", "s"),
                  Column("possible error", "node_timex_maxerror_seconds{@}", "s",
                         steps=((None, parts.GOOD), (0.5, parts.WARN), (1, parts.BAD))),
                  Column("estimated error", "node_timex_estimated_error_seconds{@}", "s"),
                  Column("against this store", "node_time_seconds{@} - timestamp(node_time_seconds{@})", "s",
                         steps=((None, parts.GOOD), (2, parts.WARN), (5, parts.BAD))),
                  Column("frequency", "node_timex_frequency_adjustment_ratio{@} - 1", "percentunit"),
                  carry=("ins",)),
        ),
        Row("Clocks", (
            parts.timeline("In step", "When the kernel of each machine said that its clock is kept.",
                           "node_timex_sync_status{@}"),
            series("Offset", "How far the kernel knows its clock to be off; chrony brings it to zero slowly.",
                   query("node_timex_offset_seconds{@}"), unit="s", low=None),
            series("Possible error", "The kernel's bound of the error: it grows by half a millisecond each second "
                   "that nobody corrects the clock.",
                   query("node_timex_maxerror_seconds{@}"), unit="s", steps=((None, parts.GOOD), (1, parts.WARN))),
            series("Against this store", "The machine's clock less that of the store which scrapes it: a coarse "
                   "view, to a second, that no kernel can embellish.",
                   query("node_time_seconds{@} - timestamp(node_time_seconds{@})"), unit="s", low=None),
            series("Frequency", "How much faster (above 1) the kernel is told to let its clock run.",
                   query("node_timex_frequency_adjustment_ratio{@}"), unit="none", low=None),
            series("Apart, by cluster", "The fastest clock of a cluster less the slowest.",
                   query('node:cls:time_drift_range{cls=~"$cls"}', "{{cls}}"), unit="s", width=24, height=6),
        )),
        parts.journal("chrony", "chrony"),
    ),
)  # fmt: skip
