"""Every rule, evaluated by the real vmalert over samples in a real VictoriaMetrics.

Samples lie in worlds of their own: stretches of time so far apart that no rule sees two of them.
vmalert replays the rules over each, those that build on others after them.
"""

import re
import subprocess
import time
from pathlib import Path

import programs
import pytest
import yaml
from infra_formula.monitoring import vmalert as infra_rules
from support.rule_templates import TEMPLATES
from victoriametrics import Store

REPO = Path(__file__).resolve().parents[2]
CASES = yaml.safe_load((Path(__file__).parent / "cases/rules.yaml").read_text(encoding="utf-8"))
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
STEP = 10  # seconds between samples, as scraped by default
SAMPLED = 2 * 3600  # seconds of samples in a world
REPLAYED = 100 * 60  # seconds of it that are replayed: more than the longest `for`
APART = 10 * 3600  # seconds from one world to the next
LEVELS = {
    "cpu": '{ins="a",cpu="0",mode=~"idle|"}',
    "fs": '{ins="a",device="/dev/sda1"}',
    "ins": '{ins="a"}',
    "cls": '{cls="c"}',
    "env": "",
}


def groups():
    """Groups of the rendered rules over metrics."""
    files = infra_rules.files(SETTINGS, TEMPLATES)
    found = {rel: yaml.safe_load(spec["text"])["groups"] for rel, spec in files.items()}
    return [g for rel, gs in found.items() if not rel.startswith("logs/") for g in gs]


def rules(kind):
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def samples(series, end, **labels):
    """Turn what a case says into series of VictoriaMetrics' import format."""
    moments = range(end - SAMPLED, end + 1, STEP)
    for notation, value in series.items():
        name, _, rest = notation.partition("{")
        own = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        metric = {"__name__": name, "job": "node", "cls": "c", "ip": "10.0.0.1", **labels, **own}
        metric.setdefault("instance", f"{metric['ip']}:1")
        yield {
            "metric": metric,
            "values": [_value(value, i, t - end, end) for i, t in enumerate(moments)],
            "timestamps": [t * 1000 for t in moments],
        }


def _value(value, index, offset, end):
    if isinstance(value, list):
        return value[0] + value[1] * offset
    if isinstance(value, dict):
        return value["repeat"][index % len(value["repeat"])]
    if isinstance(value, str):
        return end + int(value.removeprefix("end"))
    return value


def layers():
    """Rules in the order in which they can be evaluated: those that build on others after them."""
    wanted = [dict(rule) for group in groups() for rule in group["rules"]]
    names = {rule["record"] for rule in wanted if "record" in rule}
    done: set[str] = set()
    while wanted:
        ready = [r for r in wanted if not _used(r, names) - done]
        assert ready, f"rules that build on one another in a circle: {wanted}"
        yield ready
        done |= {r["record"] for r in ready if "record" in r}
        wanted = [r for r in wanted if r not in ready]


def _used(rule, names):
    own = {rule.get("record")}
    return {w for w in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", rule["expr"])} & (names - own)


def replay(store, folder, end):
    for index, layer in enumerate(layers()):
        path = folder / f"layer{index}.yml"
        path.write_text(
            yaml.safe_dump({"groups": [{"name": "g", "interval": "20s", "rules": layer}]})
        )
        form = "%Y-%m-%dT%H:%M:%SZ"
        done = subprocess.run(
            [
                programs.program("vmalert"),
                f"-rule={path}",
                f"-datasource.url={store.url}",
                f"-remoteWrite.url={store.url}",
                f"-replay.timeFrom={time.strftime(form, time.gmtime(end - REPLAYED))}",
                f"-replay.timeTo={time.strftime(form, time.gmtime(end))}",
                "-replay.rulesDelay=0s",
                "-replay.maxDatapointsPerQuery=5000",
                "-remoteWrite.maxQueueSize=5000000",
                "-datasource.queryStep=20s",  # that of the groups; other gaps would end a `for`
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        store.get("/internal/force_flush")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The store with all worlds replayed, and when each world ends."""
    folder = tmp_path_factory.mktemp("rules")
    store = Store(folder)
    alone = [name for name, case in CASES["alerts"].items() if case.get("alone")]
    names = ["alerts", "records", *(f"{n} {k}" for n in alone for k in ("fires", "quiet"))]
    now = int(time.time()) // 3600 * 3600
    ends = {name: now - 3600 - i * APART for i, name in enumerate(names)}
    try:
        series = []
        for name, case in CASES["alerts"].items():
            for kind, ins in (("fires", "yes"), ("quiet", "no")):
                world = f"{name} {kind}" if name in alone else "alerts"
                series += samples(case[kind], ends[world], ins=ins, case=name)
        for ins, machine in CASES["samples"].items():
            series += samples(machine, ends["records"], ins=ins)
        store.put(series)
        for end in ends.values():
            replay(store, folder, end)
        yield store, ends
    finally:
        store.stop()


@pytest.mark.parametrize("name", list(CASES["alerts"]))
def test_an_alert_fires_when_it_should_and_only_then(worlds, name):
    store, ends = worlds
    alone = CASES["alerts"][name].get("alone")
    expression = f'ALERTS{{alertname="{name}", alertstate="firing"}}'
    if alone:
        assert store.at(expression, ends[f"{name} fires"])
        assert not store.at(expression, ends[f"{name} quiet"])
        return
    found = store.at(expression, ends["alerts"])
    of_case = [labels for labels, _ in found if labels.get("case", name) == name]
    assert {labels["ins"] for labels in of_case} == {"yes"}
    assert all(labels["severity"] in ("CRIT", "WARN", "INFO") for labels in of_case)


@pytest.mark.parametrize("name", list(CASES["records"]))
def test_a_record_says_what_was_computed_by_hand(worlds, name):
    store, ends = worlds
    level = name.split(":")[1] if ":" in name else "ins"
    if level == "dev":
        selector = f'{{ins="a",device="{"eth0" if "net_" in name else "sda"}"}}'
    else:
        selector = LEVELS[level]
    found = store.at(name + selector, ends["records"])
    assert len(found) == 1, found
    assert found[0][1] == pytest.approx(CASES["records"][name], rel=0.01, abs=1e-9)


def test_each_rule_has_a_case():
    assert {rule["alert"] for rule in rules("alert")} == set(CASES["alerts"])
    assert {rule["record"] for rule in rules("record")} == set(CASES["records"])


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do_and_where_to_look(rule):
    levels = {"CRIT": "0", "WARN": "1", "INFO": "2"}
    assert rule["labels"]["level"] == levels[rule["labels"]["severity"]]
    assert rule["labels"]["category"] in ("infra", "node")
    assert len(rule["annotations"]["action"]) > 30
    assert rule["annotations"]["dashboard"].startswith("https://i.pigsty/ui/d/")
    assert rule["annotations"]["summary"].startswith(rule["alert"])
    assert "[[" not in str(rule["annotations"]), "a placeholder of the template"


def test_rules_over_logs_say_what_to_do_and_where_to_look():
    files = infra_rules.files(SETTINGS, TEMPLATES)
    for group in yaml.safe_load(files["logs/node.yml"]["text"])["groups"]:
        assert group["type"] == "vlogs"
        for rule in group["rules"]:
            assert rule["annotations"]["action"]
            assert "| filter" in rule["expr"]
