"""What the dashboards share: kinds of panels, colours, variables, rows that several of them have."""

from __future__ import annotations

from typing import Any

from .model import LOGS, Column, Link, Mapping, Panel, Query, Row, Steps, Variable

GOOD, WARN, BAD = "green", "orange", "red"
UP: Mapping = {1: ("UP", GOOD), 0: ("DOWN", BAD)}
YES: Mapping = {1: ("yes", GOOD), 0: ("no", BAD)}
OK: Mapping = {1: ("ok", GOOD), 0: ("failed", BAD)}
USAGE: Steps = ((None, GOOD), (0.7, WARN), (0.9, BAD))
"""A share of something that runs out."""
NONE_IS_GOOD: Steps = ((None, GOOD), (1, BAD))
"""A number of things that should not be."""
ANY_WARNS: Steps = ((None, GOOD), (1e-9, WARN))
"""A rate of things that should not be, but are no failure alone."""


def query(expr: str, legend: str = "{{ins}}") -> Query:
    """A series over time."""
    return Query(expr, legend)


def series(title: str, says: str, *queries: Query | str, unit: str = "short", **more: Any) -> Panel:
    """Lines over time; further arguments as of Panel."""
    asked = tuple(query(one) if isinstance(one, str) else one for one in queries)
    return Panel("timeseries", title, says, asked, unit, **{"width": 12, "low": 0, **more})


def stat(
    title: str, says: str, expr: str, unit: str = "short", legend: str = "", **more: Any
) -> Panel:
    """One number, or a few; further arguments as of Panel."""
    asked = (Query(expr, legend, form="instant"),)
    return Panel("stat", title, says, asked, unit, **{"width": 4, "height": 4, **more})


def aliveness(title: str, says: str, expr: str, **more: Any) -> Panel:
    """Whether each instance is up, now."""
    return stat(title, says, expr, legend="{{ins}}", mapping=UP, **more)


def timeline(title: str, says: str, expr: str, legend: str = "{{ins}}", **more: Any) -> Panel:
    """States over time, one line for each series."""
    settings = {"width": 24, "height": 8, "mapping": UP, **more}
    return Panel("state-timeline", title, says, (Query(expr, legend),), **settings)


def bars(title: str, says: str, expr: str, legend: str, unit: str = "short", **more: Any) -> Panel:
    """A bar for each series, now."""
    asked = (Query(expr, legend, form="instant"),)
    return Panel("bargauge", title, says, asked, unit, **{"low": 0, **more})


def table(title: str, says: str, keys: tuple[str, ...], *columns: Column, **more: Any) -> Panel:
    """A line for each set of keys (labels); a Column without an expression gives a key its look."""
    settings = {"width": 24, "height": 9, **more}
    return Panel("table", title, says, columns=columns, keys=keys, **settings)


def lines(title: str, says: str, expr: str, **more: Any) -> Panel:
    """Lines of logs."""
    asked = (Query(expr, source=LOGS, form="instant"),)
    return Panel(
        "logs", title, says, asked, **{"width": 24, "height": 12, "about": "vlogs", **more}
    )


def volume(title: str, says: str, expr: str, legend: str, **more: Any) -> Panel:
    """Counted lines over time; the expression ends in `stats by (…) count() lines`."""
    asked = (Query(expr, legend, LOGS, "statsRange"),)
    settings = {"width": 24, "height": 6, "low": 0, "stack": True, "about": "vlogs", **more}
    return Panel("timeseries", title, says, asked, **settings)


# -- variables -----------------------------------------------------------------------------------


def cls(series: str) -> Variable:
    """Which clusters."""
    return Variable("cls", "Clusters: the label cls", series)


def ins(series: str, several: bool = True) -> Variable:
    """Which instances."""
    return Variable("ins", "Instances: the label ins", series, several=several)


def ip(series: str) -> Variable:
    """Which addresses."""
    return Variable("ip", "Addresses of machines: the label ip", series)


def of_component(name: str, storage_node: str = "") -> tuple[Variable, ...]:
    """The instances of a component of the INFRA nodes and of its storage nodes, and where they are."""
    own = f'up{{job="infra", {of_class(name, storage_node)}'
    return ins(f"{own}}}"), ip(f'{own}, ins=~"$ins"}}')


def of_class(name: str, storage_node: str = "") -> str:
    """The matcher of a component and of its storage nodes."""
    return f'cls=~"{name}|{storage_node}"' if storage_node else f'cls="{name}"'


# -- links ---------------------------------------------------------------------------------------


HOME = Link("pigsty", "up", carry=())
ALERTS = Link("node-alert", "across", carry=("ip",))


def logs_of(search: str = "", carry: tuple[str, ...] = ("ip",)) -> Link:
    """To the logs of the chosen machines, with a LogsQL filter."""
    fixed = "var-search=" + search.replace(":", "%3A").replace(" ", "%20") if search else ""
    return Link("logs-instance", "across", "Logs", carry, fixed)


def around(unit: str) -> tuple[Link, ...]:
    """The ways from a component of the INFRA nodes; `unit` is the one that writes its journal."""
    return (
        HOME,
        Link("infra-overview", "up", carry=("ip",)),
        Link("node-instance", "down", "Machine", carry=("ip",)),
        logs_of(f"unit:{unit}"),
        ALERTS,
    )


# -- rows ----------------------------------------------------------------------------------------


def overview(*panels: Panel) -> Row:
    """What is seen first."""
    return Row("Overview", panels)


def process(*, victoria: bool = False) -> Row:
    """What a program written in Go takes of its machine (USE: usage, saturation, errors)."""
    panels = [
        series(
            "CPU", "Cores that the process keeps busy.",
            query("rate(process_cpu_seconds_total{@}[$__rate_interval])"), width=8,
        ),
        series(
            "Memory", "Resident memory, and what of it is the program's own (anonymous) or Go's heap.",
            query("process_resident_memory_bytes{@}", "{{ins}} resident"),
            query("go_memstats_heap_inuse_bytes{@}", "{{ins}} Go's heap"), unit="bytes", width=8,
        ),
        series(
            "Open files", "File descriptors in use, as a share of those allowed.",
            query("process_open_fds{@} / process_max_fds{@}"), unit="percentunit", width=8,
            steps=USAGE,
        ),
        series(
            "Goroutines", "A number that only grows is a leak.",
            query("go_goroutines{@}"), width=8,
        ),
        series(
            "Garbage collection", "Collections of Go's heap per second.",
            query("rate(go_gc_duration_seconds_count{@}[$__rate_interval])"), unit="ops", width=8,
        ),
        series(
            "Restarts", "Starts of the process: its counters began anew.",
            query("resets(process_cpu_seconds_total{@}[$__rate_interval])"), width=8, steps=ANY_WARNS,
        ),
    ]  # fmt: skip
    if victoria:
        panels += [
            series(
                "Waiting for resources",
                "Share of time in which some of the process's threads wait for CPU, disk or memory "
                "(the kernel's pressure information); above a tenth the machine is too small for it.",
                query("rate(process_pressure_cpu_waiting_seconds_total{@}[$__rate_interval])", "{{ins}} CPU"),
                query("rate(process_pressure_io_waiting_seconds_total{@}[$__rate_interval])", "{{ins}} disk"),
                query("rate(process_pressure_memory_waiting_seconds_total{@}[$__rate_interval])", "{{ins}} memory"),
                unit="percentunit", about="recent VictoriaMetrics",
            ),
            series(
                "Disk", "Bytes that the process reads from and writes to disks.",
                query("rate(process_io_storage_read_bytes_total{@}[$__rate_interval])", "{{ins}} read"),
                query("rate(process_io_storage_written_bytes_total{@}[$__rate_interval])", "{{ins}} written"),
                unit="binBps",
            ),
        ]  # fmt: skip
    return Row("Process", tuple(panels), folded=True)


def journal(unit: str, name: str) -> Row:
    """The journal of a component, from the store of logs."""
    where = '{job="syslog",ip=~`${ip:regex}`} unit:="' + unit + '"'
    return Row(
        "Log",
        (
            volume(
                "Lines by level", f"How much {name} writes to its journal, by level.",
                f"{where} | stats by (level) count() lines", "{{level}}",
            ),
            lines("Journal", f"What {name} writes to its journal; newest first.", where, height=10),
        ),
        folded=True,
    )  # fmt: skip
