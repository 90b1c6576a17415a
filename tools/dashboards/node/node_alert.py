"""Every alert: what fires, and what each rule looks at beside the value at which it fires."""

from __future__ import annotations

from typing import NamedTuple

from .. import machines, parts
from ..model import Board, Column, Link, Panel, Row
from ..parts import query, series, stat, table

WHERE = 'cls=~"$cls", ins=~"$ins", ip=~"$ip"'
FIRING = 'ALERTS{alertstate="firing", ip=~"$ip|"}'


class Watched(NamedTuple):
    """An alert, and what it looks at.

    Attributes:
        name: of the alert.
        says: when it fires.
        expr: what it looks at.
        unit: of that.
        limit: the value at which it fires.
        below: it fires below the limit, not above.
        about: program whose metrics it is about.
        legend: of a series.
        quiet: why there may be nothing to see.
    """

    name: str
    says: str
    expr: str
    unit: str = "short"
    limit: float = 1
    below: bool = False
    about: str = "node_exporter"
    legend: str = "{{ins}}"
    quiet: str = ""


DEVICE = "{{ins}} {{device}}"
WATCHED = (
    Watched(
        "NodeDown",
        "The exporter of a machine does not answer for a minute.",
        "node_up{@}",
        below=True,
    ),
    Watched(
        "NodeCpuHigh",
        "A machine's cores are busy for more than 70 % of a minute.",
        "node:ins:cpu_usage_1m{@}",
        "percentunit",
        0.7,
    ),
    Watched(
        "NodeLoadHigh",
        "More runs or waits than there are cores, for a minute.",
        "node:ins:stdload1{@}",
    ),
    Watched(
        "NodeOutOfMem",
        "Less than a tenth of the memory is available.",
        "node:ins:mem_usage{@}",
        "percentunit",
        0.9,
    ),
    Watched(
        "NodeMemSwapped",
        "More than half of the swap is used for five minutes, or pages go in and out all the time.",
        "node:ins:swap_usage{@}",
        "percentunit",
        0.5,
        quiet="No machine here has swap.",
    ),
    Watched(
        "NodeFsSpaceFull",
        "A file system is used by more than 90 %.",
        "node:fs:space_usage{@}",
        "percentunit",
        0.9,
        legend=DEVICE,
    ),
    Watched(
        "NodeFsFullSoon",
        "A file system of which more than half is used will be full in a day.",
        "node:fs:space_predict_1d{@}",
        "bytes",
        0,
        below=True,
        legend=DEVICE,
    ),
    Watched(
        "NodeFsFilesFull",
        "More than 90 % of a file system's inodes are used.",
        "node:fs:inode_usage{@}",
        "percentunit",
        0.9,
        legend=DEVICE,
    ),
    Watched(
        "NodeFdFull",
        "More than 90 % of the files that may be open are.",
        "node:ins:fd_usage{@}",
        "percentunit",
        0.9,
    ),
    Watched(
        "NodeDiskSlow",
        "A read or a write takes longer than 32 ms for a minute.",
        "max by (cls, ins, ip, device) (node:dev:disk_read_rt_1m{@} or node:dev:disk_write_rt_1m{@})",
        "s",
        0.032,
        legend=DEVICE,
        quiet="No disk was asked for anything.",
    ),
    Watched(
        "NodeTcpErrHigh", "More than one TCP error a second.", "node:ins:tcp_error_rate1m{@}", "ops"
    ),
    Watched(
        "NodeTcpRetransHigh",
        "More than one TCP segment in a hundred is sent again.",
        "node:ins:tcp_retrans_rate1m{@}",
        "percentunit",
        0.01,
    ),
    Watched(
        "NodeTimeDrift",
        "The kernel says that its clock is not kept.",
        "node_timex_sync_status{@}",
        below=True,
    ),
    Watched(
        "NodeTimeSourceLost",
        "No time source has corrected the clock for half an hour.",
        "node_timex_maxerror_seconds{@}",
        "s",
    ),
    Watched(
        "HaproxyDown", "An HAProxy does not answer.", "haproxy_up{@}", below=True, about="haproxy"
    ),
    Watched("VectorDown", "A Vector does not answer.", "vector_up{@}", below=True, about="vector"),
    Watched(
        "DockerDown", "A Docker daemon does not answer.", "docker_up{@}", below=True, about="docker"
    ),
    Watched(
        "KeepalivedDown",
        "A keepalived does not run.",
        "keepalived_up{@}",
        below=True,
        about="keepalived",
    ),
    Watched(
        "PingFailed",
        "An address does not answer pings for a minute.",
        'probe_success{@, job=~"ping|.*-vip"}',
        below=True,
        about="blackbox",
    ),
    Watched(
        "PingLoss",
        "More than a tenth of the pings of ten minutes are lost.",
        '1 - avg_over_time(probe_success{@, job=~"ping|.*-vip"}[10m])',
        "percentunit",
        0.1,
        about="blackbox",
    ),
    Watched(
        "ProbeNotRun",
        "A probe has no result for five minutes: its module is unknown, or it takes too long.",
        'up{@, job=~"ping|probe|.*-vip"}',
        below=True,
        about="blackbox",
    ),
)
INFRA = (
    Watched(
        "InfraDown",
        "A service of an INFRA node does not answer for a minute.",
        'infra_up{ip=~"$ip"}',
        below=True,
        about="vmetrics",
    ),
    Watched(
        "AgentDown",
        "An exporter of a family without an alert of its own does not answer for a minute.",
        'agent_up{ip=~"$ip"}',
        below=True,
        about="others",
        quiet="There is no such exporter.",
    ),
    Watched(
        "ScrapeFailed",
        "A target of a family without rules of ours cannot be scraped for five minutes.",
        'up{job=~"etcd|minio|pgsql|redis|mysql|kafka", ip=~"$ip"}',
        below=True,
        about="others",
        quiet="There is no such target.",
    ),
    Watched(
        "ScrapeSlow",
        "A scrape needs more than 0.8 of vmetrics_scrape_timeout (8 s) for five minutes.",
        'scrape_duration_seconds{job!~"ping|probe", ip=~"$ip"}',
        "s",
        6.4,
        about="vmetrics",
    ),
    Watched(
        "ProbeFailed",
        "A name, port or address does not answer for two minutes.",
        'probe_success{job="probe", cls!~"dns|repo"}',
        below=True,
        about="blackbox",
    ),
    Watched(
        "DnsNotAnswering",
        "A name server does not answer for a minute.",
        'probe_success{job="probe", cls="dns"}',
        below=True,
        about="blackbox",
        legend="{{ins}} {{module}}",
    ),
    Watched(
        "RepoIncomplete",
        "A repository has no repo_complete for ten minutes.",
        'probe_success{job="probe", cls="repo"}',
        below=True,
        about="blackbox",
    ),
    Watched(
        "RepoStale",
        "A repository was last completed more than 90 days ago.",
        'time() - probe_http_last_modified_timestamp_seconds{job="probe", cls="repo"}',
        "s",
        90 * 86400,
        about="blackbox",
    ),
    Watched(
        "CertExpiring",
        "A certificate ends within 14 days.",
        "probe_ssl_earliest_cert_expiry - time()",
        "s",
        14 * 86400,
        below=True,
        about="blackbox",
        legend="{{hostname}} {{ins}}",
    ),
    Watched(
        "CertExpiresSoon",
        "A certificate ends within 7 days.",
        "probe_ssl_earliest_cert_expiry - time()",
        "s",
        7 * 86400,
        below=True,
        about="blackbox",
        legend="{{hostname}} {{ins}}",
    ),
    Watched(
        "CertNotRenewed",
        "A certificate of the site's CA should have been renewed two days ago.",
        "time() - infra_certificate_renewal_seconds",
        "s",
        2 * 86400,
        legend="{{ins}} {{path}}",
    ),
    Watched(
        "ConfigNotReloaded",
        "A service refused its newer configuration at the last reload.",
        '{__name__=~"vm_promscrape_config_last_reload_successful|vmalert_config_last_reload_successful|'
        'alertmanager_config_last_reload_successful|blackbox_exporter_config_last_reload_successful", ip=~"$ip"}',
        below=True,
        about="vmetrics",
    ),
    Watched(
        "UnitRestarting",
        "systemd restarted a unit more than twice within an hour, since it died by itself.",
        "increase(infra_unit_restarts_total[1h])",
        limit=2,
        legend="{{ins}} {{unit}}",
    ),
    Watched(
        "Drift",
        "The next apply would change states of a component, and would have a day ago.",
        "infra_drift_states",
        limit=0,
        legend="{{ins}} {{component}}",
    ),
    Watched(
        "DriftNotChecked",
        "No check for drift has ended for three times its interval.",
        "(time() - infra_drift_check_seconds) / infra_drift_check_interval_seconds",
        limit=3,
    ),
    Watched(
        "StorageReadOnly",
        "A store takes nothing in, since its disk is full.",
        '{__name__=~"vm_storage_is_read_only|vl_storage_is_read_only|vt_storage_is_read_only", ip=~"$ip"}',
        about="vmetrics",
    ),
    Watched(
        "RowsDropped",
        "Samples were thrown away in the last five minutes.",
        'sum by (ins) (increase(vm_rows_ignored_total{ip=~"$ip"}[5m]))',
        limit=1,
        about="vmetrics",
    ),
    Watched(
        "LogsDropped",
        "Log lines or spans were thrown away in the last five minutes.",
        'sum by (ins) (increase({__name__=~"vl_rows_dropped_total|vt_rows_dropped_total|vl_too_long_lines_skipped_total", ip=~"$ip"}[5m]))',
        about="vlogs",
    ),
    Watched(
        "EvaluationsMissed",
        "Evaluations of rules were left out in the last five minutes.",
        'sum by (ins) (increase(vmalert_iteration_missed_total{ip=~"$ip"}[5m]))',
        about="vmalert",
    ),
    Watched(
        "RuleFailed",
        "A rule could not be evaluated in the last five minutes.",
        'sum by (ins) (increase(vmalert_execution_errors_total{ip=~"$ip"}[5m]))',
        about="vmalert",
    ),
    Watched(
        "AlertsNotSent",
        "Alerts, or messages about them, could not be delivered in the last five minutes.",
        'sum by (ins) (increase(vmalert_alerts_send_errors_total{ip=~"$ip"}[5m])) or '
        'sum by (ins) (increase(alertmanager_notifications_failed_total{ip=~"$ip"}[5m]))',
        about="alertmanager",
    ),
    Watched(
        "AlertmanagerAlone",
        "The mesh of the Alertmanagers lacks a member for five minutes.",
        "alertmanager_cluster_members",
        below=True,
        about="alertmanager",
        quiet="A single INFRA node has no mesh.",
    ),
    Watched(
        "InfraOutOfStep",
        "The INFRA nodes differ in their targets for ten minutes; they should be full replicas.",
        'max(sum by (ins) (vm_promscrape_targets{job="infra"})) - min(sum by (ins) (vm_promscrape_targets{job="infra"}))',
        about="vmetrics",
        legend="difference",
    ),
)


def panel(watched: Watched) -> Panel:
    """What an alert looks at, with the value at which it fires."""
    colours = (parts.BAD, parts.GOOD) if watched.below else (parts.GOOD, parts.BAD)
    return series(
        watched.name, watched.says, query(watched.expr, watched.legend), unit=watched.unit, width=8, height=7, about=watched.about,
        steps=((None, colours[0]), (watched.limit, colours[1])), quiet=watched.quiet,
        low=None if watched.name == "NodeFsFullSoon" else 0,
    )  # fmt: skip


BOARD = Board(
    uid="node-alert",
    title="Alerts",
    folder="node",
    about="vmalert",
    purpose="Which alerts fire, since when, and how near to firing every other one is.",
    selector=WHERE,
    variables=machines.variables('__name__="up", job=~"node|infra"'),
    alerts='ip=~"$ip"',
    links=(
        parts.HOME,
        Link("node-overview", "up", carry=("ip",)),
        Link("infra-overview", "up", carry=("ip",)),
        Link("node-instance", "down", "Machine", carry=("ip",)),
        Link("vmalert-instance", "across", carry=()),
        Link("alertmanager-instance", "across", carry=()),
        parts.logs_of(),
    ),
    since="now-3h",
    rows=(
        parts.overview(
            stat("Critical", "Firing alerts of severity CRIT.", f"count({FIRING[:-1]}, severity=\"CRIT\"}}) or vector(0)",
                 steps=parts.NONE_IS_GOOD),
            stat("Warnings", "Firing alerts of severity WARN.", f"count({FIRING[:-1]}, severity=\"WARN\"}}) or vector(0)",
                 steps=((None, parts.GOOD), (1, parts.WARN))),
            stat("Notes", "Firing alerts of severity INFO.", f"count({FIRING[:-1]}, severity=\"INFO\"}}) or vector(0)",
                 steps=((None, parts.GOOD), (1, "blue"))),
            stat("Pending", "Alerts whose condition holds, but not for long enough yet.",
                 'count(ALERTS{alertstate="pending", ip=~"$ip|"}) or vector(0)', steps=((None, parts.GOOD), (1, parts.WARN))),
            stat("Silenced", "Alerts that Alertmanager tells nobody of.", 'max(alertmanager_alerts{state="suppressed"})', about="alertmanager"),
            stat("Failing rules", "Rules that could not be evaluated in the last five minutes.",
                 "sum(increase(vmalert_execution_errors_total[5m]))", steps=parts.NONE_IS_GOOD),
            table("Firing and pending", "A line for each alert; a click on an address leads to the machine.",
                  ("alertname", "severity", "category", "alertstate", "cls", "ins", "ip"),
                  Column("ip", to="node-instance"),
                  Column("since", 'ALERTS_FOR_STATE{ip=~"$ip|"} * 1000 * ignoring (alertstate) group_right () ALERTS{ip=~"$ip|"}', "dateTimeFromNow"),
                  height=9, carry=("ip",), quiet="Nothing fires."),
            parts.timeline("Firing", "When each alert fired.", f"max by (alertname, ins) ({FIRING})", "{{alertname}} {{ins}}",
                           mapping={1: ("firing", parts.BAD)}, quiet="Nothing fired."),
        ),
        Row("Alerts about machines", tuple(panel(watched) for watched in WATCHED)),
        Row("Alerts about INFRA services", tuple(panel(watched) for watched in INFRA)),
        Row("Alerts about logs", (
            parts.volume("NodeOomKill", "Processes that the kernel ended for want of memory.",
                         '{job="syslog",ip=~`${ip:regex}`} app:kernel "Out of memory" | stats by (ins) count() lines', "{{ins}}",
                         width=12, height=7),
            parts.volume("LogErrorsMany", "Lines of level error and worse: over a hundred of one unit in five minutes are told.",
                         '{job="syslog",ip=~`${ip:regex}`} level:in(emerg, alert, crit, err) | stats by (ins, unit) count() lines',
                         "{{ins}} {{unit}}", width=12, height=7),
        )),
    ),
)  # fmt: skip
