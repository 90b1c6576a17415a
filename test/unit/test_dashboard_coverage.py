"""What the dashboards cover: Pigsty's metrics, what the rules record, and every alert."""

import re
from pathlib import Path

import metric_names
import panels
import pytest
import yaml
from infra_formula.monitoring import vmalert as infra_rules
from support.rule_templates import TEMPLATES

REPO = Path(__file__).resolve().parents[2]
SETTINGS = {
    "node_exporter_port": 9100,
    "vector_port": 9598,
    "portal_url": "https://i.pigsty",
    "nodes": 2,
    "timeout_seconds": 8,
    "dashboards": True,
    "alertmanager_cluster_port": 9094,
    "logs": True,
}
# Recorded for the rules themselves, or for those who ask by hand.
NOT_SHOWN = {
    r"node:env:.*": "of all there is; the home and the overviews show clusters and machines",
    r"node:cpu:.*": "of single cores; node-instance shows their usage",
    r"node:cls:.*": "of clusters; node-overview and node-cluster show those that matter",
    r"node:ins:disk_.*|node:ins:net_.*": "sums over devices; node-instance shows each device",
    r"node:ins:(cpu_usage|cpu_usage_15m)": "the usage over one and five minutes is shown",
    r"node:ins:(free|avail|size)_bytes|node:ins:space_usage": "sums over file systems, each of "
    "which is shown",
    r"node:fs:(free_bytes|inode_free|inode_total)": "parts of the usage, which is shown",
    r"node:ins:tcp_(in|out)segs_rate1m|node:ins:tcp_(retrans)?segs_rate1m": "parts of the share "
    "that was sent again",
    r"haproxy:cls:.*|haproxy:ins:service_up": "node-haproxy shows each server",
    r"node:dev:disk_(iops_1m|rw_bytes_rate1m)": "sums of reads and writes, which are shown apart",
    r"(pg|pgbouncer|pgbackrest|mysql|kafka)_exporter.*|(patroni|etcd|minio|kafka)_up": "families "
    "of other modules",
}


def rules():
    made = infra_rules.files(SETTINGS, TEMPLATES)
    for spec in made.values():
        for group in yaml.safe_load(spec["text"])["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDS = sorted({rule["record"] for rule in rules() if "record" in rule})


@pytest.mark.parametrize("name", [n for n in metric_names.NAMED if "*" not in n])
def test_a_metric_of_pigstys_dashboards_is_shown_or_left_out_for_a_reason(name):
    assert (name in metric_names.shown()) != metric_names.left_out(name)


@pytest.mark.parametrize("pattern", [n for n in metric_names.NAMED if "*" in n])
def test_of_a_family_of_metrics_some_are_shown_or_all_are_left_out(pattern):
    expression = re.compile(pattern.replace("*", ".*"))
    found = [name for name in metric_names.shown() if expression.fullmatch(name)]
    assert bool(found) != (pattern in metric_names.LEFT_OUT and not found)


def test_each_reason_is_about_a_metric_that_pigsty_shows():
    bare = [pattern.replace("*", "x") for pattern in metric_names.LEFT_OUT]
    assert [name for name in bare if not metric_names.named(name)] == []
    assert all(len(reason) >= 9 for reason in metric_names.LEFT_OUT.values())


@pytest.mark.parametrize("record", RECORDS)
def test_what_the_rules_record_is_shown_or_left_out_for_a_reason(record):
    excused = [reason for name, reason in NOT_SHOWN.items() if re.fullmatch(name, record)]
    assert record in metric_names.shown() or excused


@pytest.mark.parametrize("pattern", NOT_SHOWN)
def test_each_reason_for_not_showing_a_recording_is_needed(pattern):
    unseen = set(RECORDS) - metric_names.shown()
    assert [record for record in unseen if re.fullmatch(pattern, record)]


def test_every_alert_has_a_panel_with_what_it_looks_at():
    titles = {panel["title"] for panel in panels.panels(panels.load()["node-alert"])}
    assert set(ALERTS) - titles == set()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_a_dashboard_that_takes_what_it_hands_over(name):
    url = ALERTS[name]["annotations"]["dashboard"]
    value = r"\{\{ \$labels\.\w+(?: \| queryEscape)? \}\}"
    way = re.fullmatch(rf"https://i\.pigsty/ui/d/([\w-]+)(?:\?var-(\w+)={value})?", url)
    assert way, url
    board = panels.load()[way[1]]
    if way[2]:
        assert way[2] in {variable["name"] for variable in board["templating"]["list"]}
