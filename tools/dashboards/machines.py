"""What the dashboards of machines share."""

from __future__ import annotations

from . import parts
from .model import Link, Row, Variable
from .parts import query, series

SELECTOR = 'cls=~"$cls", ins=~"$ins", ip=~"$ip"'
PRESSURE = "share of time in which something waits for it (the kernel's pressure information)"


def variables(of: str = '__name__="node_up"', several: bool = True) -> tuple[Variable, ...]:
    """Cluster, then address, then instance: a link may name any of the last two alone.

    Args:
        of: selector of the series that have them as labels, without its braces.
        several: whether more than one instance can be chosen.
    """
    return (
        parts.cls(f"{{{of}}}"),
        parts.ip(f'{{{of}, cls=~"$cls"}}'),
        parts.ins(f'{{{of}, cls=~"$cls", ip=~"$ip"}}', several),
    )


def links(*others: str, up: str = "node-overview") -> tuple[Link, ...]:
    """Up to the overview, across to logs, alerts and the other dashboards of the same machines."""
    return (
        parts.HOME,
        Link(up, "up", carry=("cls",)),
        *(Link(uid, "across", carry=("ip",)) for uid in others),
        parts.logs_of(),
        parts.ALERTS,
    )


def cpu() -> Row:
    """Processor and scheduling (USE)."""
    return Row("CPU", (
        series("CPU", "Share of all cores that is busy.",
               query("node:ins:cpu_usage_1m{@}"), unit="percentunit", width=8, high=1, steps=parts.USAGE),
        series("Load", "What runs or waits, per core; above 1 something waits.",
               query("node:ins:stdload1{@}", "{{ins}} 1 min"), query("node:ins:stdload5{@}", "{{ins}} 5 min"),
               query("node:ins:stdload15{@}", "{{ins}} 15 min"), width=8,
               steps=((None, parts.GOOD), (1, parts.WARN), (2, parts.BAD))),
        series("What it is spent on", "Share of all cores in user code, in the kernel, waiting for disks, and taken by "
               "the hypervisor.",
               query("node:ins:cpu_user_1m{@}", "{{ins}} user"), query("node:ins:cpu_system_1m{@}", "{{ins}} kernel"),
               query("node:ins:cpu_iowait_1m{@}", "{{ins}} waits for disk"), query("node:ins:cpu_steal_1m{@}", "{{ins}} stolen"),
               unit="percentunit", width=8),
        series("Pressure", f"CPU: {PRESSURE}.",
               query("rate(node_pressure_cpu_waiting_seconds_total{@}[$__rate_interval])"), unit="percentunit", width=8),
        series("Switches and interrupts", "Context switches and interrupts per second.",
               query("node:ins:ctx_switch_rate1m{@}", "{{ins}} switches"), query("node:ins:interrupt_rate1m{@}", "{{ins}} interrupts"),
               unit="ops", width=8),
        series("Processes", "Processes that run, and that wait for a disk; new ones per second.",
               query("node:ins:procs_running{@}", "{{ins}} run"), query("node:ins:procs_blocked{@}", "{{ins}} blocked"),
               query("node:ins:forks_rate1m{@}", "{{ins}} new per second"), width=8),
    ))  # fmt: skip


def memory() -> Row:
    """Memory and swap (USE)."""
    return Row("Memory", (
        series("Memory", "Share that is not available.",
               query("node:ins:mem_usage{@}"), unit="percentunit", width=8, high=1,
               steps=((None, parts.GOOD), (0.8, parts.WARN), (0.9, parts.BAD))),
        series("What it is used for", "Of programs, cache that can be given back, and the kernel's own.",
               query("node:ins:mem_rss{@}", "{{ins}} programs"), query("node:ins:mem_cache{@}", "{{ins}} cache"),
               query("node:ins:mem_kernel{@}", "{{ins}} kernel"), query("node:ins:mem_avail{@}", "{{ins}} available"),
               unit="bytes", width=8),
        series("Promised", "Memory that programs asked for, as a share of what could be given.",
               query("node:ins:mem_commit_ratio{@}"), unit="percentunit", width=8),
        series("Swap", "Share of swap that is used; nothing for a machine without swap.",
               query("node:ins:swap_usage{@}"), unit="percentunit", width=8, high=1, steps=parts.USAGE,
               quiet="No machine here has swap."),
        series("Paging", "Pages per second read and written, and swapped in and out.",
               query("node:ins:pgin_rate1m{@}", "{{ins}} in"), query("node:ins:pgout_rate1m{@}", "{{ins}} out"),
               query("node:ins:swap_in_rate1m{@}", "{{ins}} swapped in"), query("node:ins:swap_out_rate1m{@}", "{{ins}} swapped out"),
               unit="ops", width=8),
        series("Faults", "Pages per second that were not in memory, and that had to be read from a disk.",
               query("node:ins:pgfault_rate1m{@}", "{{ins}}"), query("node:ins:pgmajfault_rate1m{@}", "{{ins}} from disk"),
               unit="ops", width=8),
        series("Pressure", f"Memory: {PRESSURE}; and that in which nothing else runs.",
               query("rate(node_pressure_memory_waiting_seconds_total{@}[$__rate_interval])", "{{ins}} some wait"),
               query("rate(node_pressure_memory_stalled_seconds_total{@}[$__rate_interval])", "{{ins}} all wait"),
               unit="percentunit", width=12),
        series("Killed for want of memory", "Processes that the kernel ended, in five minutes.",
               query("increase(node_vmstat_oom_kill{@}[5m])"), width=12, steps=parts.ANY_WARNS),
    ))  # fmt: skip


def disks(by: str = "{{ins}} {{device}}") -> Row:
    """Disks and file systems (USE)."""
    return Row("Disks", (
        series("Busy", "Share of time in which a disk has something to do.",
               query("node:dev:disk_util_1m{@}", by), unit="percentunit", width=8, high=1, steps=parts.USAGE),
        series("Queue", "Requests that wait or are served, on average.",
               query("node:dev:disk_avg_queue_size{@}", by), width=8),
        series("Time of a request", "Reads, and writes; nothing where there are none.",
               query("node:dev:disk_read_rt_1m{@}", f"{by} read"), query("node:dev:disk_write_rt_1m{@}", f"{by} write"),
               unit="s", width=8, steps=((None, parts.GOOD), (0.032, parts.WARN), (0.1, parts.BAD)),
               quiet="No disk was asked for anything."),
        series("Requests", "Reads and writes per second.",
               query("node:dev:disk_read_rate1m{@}", f"{by} read"), query("node:dev:disk_write_rate1m{@}", f"{by} write"),
               unit="iops", width=8),
        series("Bytes", "Bytes read and written per second.",
               query("node:dev:disk_read_bytes_rate1m{@}", f"{by} read"), query("node:dev:disk_write_bytes_rate1m{@}", f"{by} write"),
               unit="binBps", width=8),
        series("Pressure", f"Disks: {PRESSURE}; and that in which nothing else runs.",
               query("rate(node_pressure_io_waiting_seconds_total{@}[$__rate_interval])", "{{ins}} some wait"),
               query("rate(node_pressure_io_stalled_seconds_total{@}[$__rate_interval])", "{{ins}} all wait"),
               unit="percentunit", width=8),
        series("Space", "Share of each file system that is used.",
               query("node:fs:space_usage{@}", by), unit="percentunit", width=8, high=1, steps=parts.USAGE),
        series("Inodes", "Share of each file system's inodes that is used.",
               query("node:fs:inode_usage{@}", by), unit="percentunit", width=8, high=1, steps=parts.USAGE),
        series("Space in a day", "What is left in a day, at the pace of the last six hours; below zero it is full.",
               query("node:fs:space_predict_1d{@}", by), unit="bytes", width=8, low=None,
               steps=((None, parts.BAD), (0, parts.GOOD))),
    ))  # fmt: skip


def network(by: str = "{{ins}} {{device}}") -> Row:
    """Interfaces and protocols (USE)."""
    return Row("Network", (
        series("Bytes", "Bytes received (above) and sent (below zero) per second.",
               query("node:dev:net_rx_bytes_rate1m{@}", f"{by} in"), query("-node:dev:net_tx_bytes_rate1m{@}", f"{by} out"),
               unit="binBps", width=8, low=None),
        series("Packets", "Packets received (above) and sent (below zero) per second.",
               query("node:dev:net_rx_pps1m{@}", f"{by} in"), query("-node:dev:net_tx_pps1m{@}", f"{by} out"),
               unit="pps", width=8, low=None),
        series("Errors and drops", "Packets per second with an error, or thrown away.",
               query("node:dev:net_rx_errors_rate1m{@}", f"{by} in"), query("node:dev:net_tx_errors_rate1m{@}", f"{by} out"),
               unit="pps", width=8, steps=parts.ANY_WARNS),
        series("TCP connections", "Connections that are open; and opened, from here and from others, per second.",
               query("node:ins:tcp_estab{@}", "{{ins}} open"), query("node:ins:tcp_active_opens_rate1m{@}", "{{ins}} from here"),
               query("node:ins:tcp_passive_opens_rate1m{@}", "{{ins}} from others"), width=8),
        series("TCP sent again", "Share of segments that were sent again, since the other side did not confirm them.",
               query("node:ins:tcp_retrans_rate1m{@}"), unit="percentunit", width=8,
               steps=((None, parts.GOOD), (0.01, parts.WARN), (0.05, parts.BAD))),
        series("TCP errors", "Segments with an error, connections that a listener did not take, and resets, per second.",
               query("node:ins:tcp_error_rate1m{@}", "{{ins}} errors"), query("node:ins:tcp_outrsts_rate1m{@}", "{{ins}} resets"),
               unit="ops", width=8, steps=((None, parts.GOOD), (1, parts.WARN))),
        series("UDP", "Datagrams received and sent per second, and those with an error.",
               query("node:ins:udp_rx_rate1m{@}", "{{ins}} in"), query("node:ins:udp_tx_rate1m{@}", "{{ins}} out"),
               query("node:ins:udp_error_rate1m{@}", "{{ins}} errors"), unit="pps", width=8),
        series("Sockets", "Sockets in use; and of TCP those that wait for the end of a connection.",
               query("node_sockstat_sockets_used{@}", "{{ins}} all"), query("node_sockstat_TCP_tw{@}", "{{ins}} waiting for the end"), width=8),
        series("Connections tracked", "Share of the table of connections that the firewall keeps; full, new ones are dropped.",
               query("node_nf_conntrack_entries{@} / node_nf_conntrack_entries_limit{@}"), unit="percentunit", width=8, high=1,
               steps=parts.USAGE),
    ))  # fmt: skip


def reachable() -> Row:
    """Whether the machines can be reached."""
    return Row("Reachability", (
        parts.timeline("Answers a ping", "When each machine answered a ping of the INFRA nodes.",
                       'probe_success{@, job="ping"}', "{{ins}} {{ip}}", height=6, about="blackbox"),
        series("Round trip", "Time of a ping there and back.",
               query('probe_icmp_duration_seconds{@, job="ping", phase="rtt"}'), unit="s", about="blackbox"),
        series("Loss", "Share of pings that were not answered, over five minutes.",
               query('1 - avg_over_time(probe_success{@, job="ping"}[5m])'), unit="percentunit", high=1,
               about="blackbox", steps=((None, parts.GOOD), (0.1, parts.WARN), (0.5, parts.BAD))),
    ))  # fmt: skip


def logs() -> Row:
    """The journals of the machines."""
    where = '{job="syslog",ip=~`${ip:regex}`,ins=~`${ins:regex}`}'
    return Row("Log", (
        parts.volume("Lines by level", "How much the machines write to their journals, by level.",
                     f"{where} | stats by (level) count() lines", "{{level}}"),
        parts.lines("Warnings and worse", "Lines of level warning and worse; newest first.",
                    f"{where} level:in(emerg, alert, crit, err, warning)", height=10),
    ), folded=True)  # fmt: skip
