"""Alerts of the formula that a site switches off or changes, and rules as served files."""

import re
from pathlib import Path

import pytest
import yaml
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.monitoring import rule_overrides, vmalert
from support.rule_templates import TEMPLATES

REPO = Path(__file__).resolve().parents[2]
SETTINGS = {
    "node_exporter_port": 9100, "vector_port": 9598, "portal_url": "https://i.pigsty", "nodes": 2,
    "timeout_seconds": 8, "dashboards": True, "alertmanager_cluster_port": 9094, "logs": True,
}  # fmt: skip


def alerts(**overrides):
    files = vmalert.files(SETTINGS, TEMPLATES, None, None, overrides)
    groups = [g for file in files.values() for g in yaml.safe_load(file["text"])["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_the_names_of_the_alerts_are_those_of_the_rules():
    assert sorted(alerts()) == sorted(rule_overrides.ALERTS)


def test_an_alert_is_switched_off_and_no_other():
    before, after = alerts(), alerts(NodeMemSwapped=False)
    assert before.pop("NodeMemSwapped")
    assert after == before


def test_a_group_of_which_every_alert_is_off_is_left_out():
    assert not alerts(**dict.fromkeys(rule_overrides.ALERTS, False))


def test_an_alert_is_changed_in_part_and_no_other():
    before = alerts()
    after = alerts(NodeCpuHigh={"for": "15m", "expr": "1", "labels": {"severity": "INFO"},
                                "annotations": {"runbook": "x"}})  # fmt: skip
    old, new = before.pop("NodeCpuHigh"), after.pop("NodeCpuHigh")
    assert after == before
    assert (new["for"], new["expr"]) == ("15m", "1")
    assert new["labels"] == {**old["labels"], "severity": "INFO"}
    assert new["annotations"] == {**old["annotations"], "runbook": "x"}


def test_a_file_without_a_changed_alert_stays_as_it_is():
    before = vmalert.files(SETTINGS, TEMPLATES)
    after = vmalert.files(SETTINGS, TEMPLATES, None, None, {"NodeCpuHigh": False})
    assert [rel for rel in before if before[rel] != after[rel]] == ["node.yml"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"NodeCpuHihg": False},
            "vmalert_rule_overrides.NodeCpuHihg: expected the name of an alert of the formula; "
            "did you mean 'NodeCpuHigh'?",
        ),
        ({"NodeCpuHigh": True}, "vmalert_rule_overrides.NodeCpuHigh: expected false"),
        ({"NodeCpuHigh": {}}, "vmalert_rule_overrides.NodeCpuHigh: expected false"),
    ],
)
def test_what_changes_nothing_is_refused(overrides, message):
    (found,) = vmalert.problems({"vmalert_rule_overrides": overrides})
    assert found.startswith(message)


RULES = (
    "groups:\n- name: shop\n  rules:\n  - {alert: A, expr: up, annotations: {x: '{{ $value }}'}}\n"
)


def served(text, kind="custom"):
    given = {
        kind: {"shop": "salt://shop/rules.yml"},
        "served_rules": {"salt://shop/rules.yml": text},
    }
    return vmalert.files(SETTINGS, TEMPLATES, **given)


def test_a_served_file_of_rules_is_one_of_the_site():
    assert vmalert.problems({"vmalert_rules": {"shop": "salt://shop/rules.yml"}}) == []
    made = yaml.safe_load(served(RULES)["site-shop.yml"]["text"])
    assert made == yaml.safe_load(RULES)
    (group,) = yaml.safe_load(served(RULES, "logs")["logs/site-shop.yml"]["text"])["groups"]
    assert group["type"] == "vlogs"


@pytest.mark.parametrize(
    ("text", "why"),
    [("groups: {", "expected YAML in salt://shop/rules.yml"), ("a: b", "a list of groups"),
     ("groups: [{name: x}]", r"\[0\]: expected a group with name and rules")],
)  # fmt: skip
def test_a_served_file_without_rules_is_named(text, why):
    with pytest.raises(InvalidInput, match=rf"vmalert_rules\.shop.*{why}"):
        served(text)


def test_a_path_that_is_no_salt_url_is_refused():
    (found,) = vmalert.problems({"vmalert_rules": {"shop": "/srv/rules.yml"}})
    assert re.match(r"vmalert_rules\.shop: expected a list of groups.*salt://", found)


def test_a_file_that_is_not_served_is_named(minion_that_serves_nothing):
    with pytest.raises(CommandFailed, match=r"vmalert_rules\.shop: salt://shop/rules.yml is not"):
        vmalert.served(minion_that_serves_nothing, SETTINGS, {"shop": "salt://shop/rules.yml"})


@pytest.fixture
def minion_that_serves_nothing():
    class Minion:
        """Serves the formula's own files only."""

        def call(self, function, path):
            assert function == "cp.get_file_str"
            found = REPO / path.removeprefix("salt://")
            return found.read_text() if found.is_file() else ""

    return Minion()
