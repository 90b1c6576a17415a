"""What VictoriaLogs and VictoriaTraces tell of themselves alike: one store, two names."""

from __future__ import annotations

from . import parts
from .model import Column, Panel, Row
from .parts import query, series, stat, table


def overview(prefix: str, rows: str) -> Row:
    """The first row.

    Args:
        prefix: of the names of its metrics, `vl`.
        rows: what it stores, `log lines`.
    """
    return parts.overview(
        parts.aliveness("Aliveness", "Whether it answers its scrape.", "up{@}", width=4),
        stat("Stored", f"{rows.capitalize()} that are stored.", f"sum({prefix}_storage_rows{{@}})"),
        stat("Taken in", f"{rows.capitalize()} per second that are stored.",
             f"sum(rate({prefix}_rows_ingested_total{{@}}[5m]))", "recps"),
        stat("On disk", "What the data takes on disk.", f"sum({prefix}_data_size_bytes{{@}})", "bytes"),
        stat("Disk left", "Free share of its disk; with none left it takes nothing in.",
             f"min({prefix}_free_disk_space_bytes{{@}} / {prefix}_total_disk_space_bytes{{@}})", "percentunit",
             steps=((None, parts.BAD), (0.1, parts.WARN), (0.2, parts.GOOD))),
        stat("Compression", "How many bytes become one on disk.",
             f"sum({prefix}_uncompressed_data_size_bytes{{@}}) / sum({prefix}_compressed_data_size_bytes{{@}})",
             "none"),
        table(
            "Instances", "A line for each instance; a click on its address leads to the machine.",
            ("ins", "ip", "version"),
            Column("ip", to="node-instance"),
            Column("uptime", "time() - vm_app_start_timestamp{@} * on (instance) group_left (version) vm_app_version{@}", "s"),
            height=5, carry=("ip",),
        ),
    )  # fmt: skip


def traffic(prefix: str, rows: str) -> Row:
    """What goes in, and what is refused."""
    return Row("Ingestion", (
        series(f"{rows.capitalize()} taken in", f"{rows.capitalize()} per second, by the form in which they come.",
               query(f"sum by (ins, type) (rate({prefix}_rows_ingested_total{{@}}[$__rate_interval]))",
                     "{{ins}} {{type}}"), unit="recps", width=8),
        series("Bytes taken in", "Bytes per second, before they are compressed.",
               query(f"sum by (ins, type) (rate({prefix}_bytes_ingested_total{{@}}[$__rate_interval]))",
                     "{{ins}} {{type}}"), unit="binBps", width=8),
        series("Thrown away", f"{rows.capitalize()} per second that are refused, by the reason: too old, from "
               "the future, too long.",
               query(f"sum by (ins, reason) (rate({prefix}_rows_dropped_total{{@}}[$__rate_interval]))",
                     "{{ins}} {{reason}}"), unit="recps", width=8, steps=parts.ANY_WARNS),
        series("Streams", "Streams (sets of labels) that got something lately. A sudden growth is a label with "
               "too many values.",
               query(f"{prefix}_active_streams{{@}}"), width=12),
        series("New streams", "Streams per second that were not known before.",
               query(f"rate({prefix}_streams_created_total{{@}}[$__rate_interval])"), unit="ops", width=12),
    ))  # fmt: skip


def questions(prefix: str) -> Row:
    """RED of its interfaces: rate, errors, duration."""
    return Row("Requests", (
        series("Requests", "Requests per second, by path.",
               query(f"sum by (ins, path) (rate({prefix}_http_requests_total{{@}}[$__rate_interval])) > 0",
                     "{{ins}} {{path}}"), unit="reqps", width=8),
        series("Failed requests", "Requests per second that were answered with an error, by path.",
               query(f"sum by (ins, path) (rate({prefix}_http_errors_total{{@}}[$__rate_interval]))",
                     "{{ins}} {{path}}"), unit="reqps", width=8, steps=parts.ANY_WARNS),
        series("Duration", "How long 99 of 100 requests take at most, by path.",
               query(f'max by (ins, path) ({prefix}_http_request_duration_seconds{{@, quantile="0.99"}}) > 0',
                     "{{ins}} {{path}}"), unit="s", width=8),
        series("Concurrent searches", "Searches that run at a time, of those that may; more wait.",
               query(f"{prefix}_concurrent_select_current{{@}}", "{{ins}} running"),
               query(f"{prefix}_concurrent_select_capacity{{@}}", "{{ins}} may run")),
        series("Searches that waited", "Searches per second that had to wait for others, and that gave up.",
               query(f"rate({prefix}_concurrent_select_limit_reached_total{{@}}[$__rate_interval])", "{{ins}} waited"),
               query(f"rate({prefix}_concurrent_select_limit_timeout_total{{@}}[$__rate_interval])", "{{ins}} gave up"),
               unit="ops", steps=parts.ANY_WARNS),
    ))  # fmt: skip


def storage(prefix: str, extra: tuple[Panel, ...] = ()) -> Row:
    """What lies on disk, and how it is kept."""
    return Row("Storage", (
        series("Size", "Bytes on disk, by kind of part.",
               query(f"sum by (ins, type) ({prefix}_data_size_bytes{{@}})", "{{ins}} {{type}}"),
               unit="bytes", stack=True, width=8),
        series("Disk left", "Free bytes on its disk.",
               query(f"{prefix}_free_disk_space_bytes{{@}}"), unit="bytes", width=8),
        series("Partitions", "Days that are stored: each is a partition.",
               query(f"{prefix}_partitions{{@}}"), width=8),
        series("Merges", "Merges of parts that run.",
               query(f"sum by (ins, type) ({prefix}_active_merges{{@}})", "{{ins}} {{type}}"), width=12),
        series("Pending", "Rows that are not on disk yet.",
               query(f"sum by (ins) ({prefix}_pending_rows{{@}})"), width=12),
        *extra,
    ))  # fmt: skip
