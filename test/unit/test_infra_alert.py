"""Alertmanager's configuration from pillar, and what is told of faults in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.daemon import checks
from infra_formula.monitoring import alertmanager as infra_alert
from salt.exceptions import CommandExecutionError
from support.doubles import double

EMPTY = {
    "receivers": {},
    "severities": {},
    "routes": [],
    "route": {},
    "inhibit_rules": [],
    "global": {},
}


def config(**settings):
    return infra_alert.config({**EMPTY, **settings})


def test_without_receivers_nobody_is_told():
    made = config()
    assert made["receivers"] == [{"name": "default"}]
    assert made["route"]["receiver"] == "default"
    assert "routes" not in made["route"]


@pytest.mark.parametrize(("integration", "key"), infra_alert.INTEGRATIONS.items())
def test_each_integration_is_written_under_alertmanagers_name(integration, key):
    (made,) = config(receivers={"ops": {integration: {"x": 1}}})["receivers"]
    assert made == {"name": "ops", key: [{"send_resolved": True, "x": 1}]}


def test_a_receiver_may_have_several_integrations():
    integrations = {
        "dingtalk": {"url": "a"},
        "feishu": [{"url": "b"}, {"url": "c", "send_resolved": False}],
    }
    (made,) = config(receivers={"ops": integrations})["receivers"]
    assert [c["url"] for c in made["webhook_configs"]] == ["a", "b", "c"]
    assert [c["send_resolved"] for c in made["webhook_configs"]] == [True, True, False]


def test_severities_lead_to_their_receivers_and_the_rest_to_the_first():
    receivers = {"chat": {"slack": {}}, "mail": {"mail": {}}}
    made = config(receivers=receivers, severities={"CRIT": ["chat", "mail"], "INFO": "mail"})
    assert made["route"]["receiver"] == "chat"
    told = [
        (r["receiver"], r["matchers"], r.get("continue", False)) for r in made["route"]["routes"]
    ]
    assert told == [
        ("chat", ['severity="CRIT"'], True),
        ("mail", ['severity="CRIT"'], False),
        ("mail", ['severity="INFO"'], False),
    ]


def test_routes_of_the_site_come_first_and_timing_is_a_parameter():
    own = {"receiver": "a", "matchers": ['cls="x"']}
    made = config(
        receivers={"a": {"webhook": {}}},
        severities={"CRIT": "a"},
        routes=[own],
        route={"group_wait": "1s"},
    )
    assert made["route"]["routes"][0] == own
    assert made["route"]["group_wait"] == "1s"
    assert "group_wait" not in made["route"]["routes"][1]


def test_routes_of_the_root_come_after_the_sites_and_before_the_severities():
    mine, theirs = ({"receiver": "a", "matchers": [f'cls="{cls}"']} for cls in "xy")
    made = config(
        receivers={"a": {"webhook": {}}},
        severities={"CRIT": "a"},
        routes=[mine],
        route={"routes": [theirs], "group_by": ["cls"]},
    )["route"]
    assert made["routes"][:2] == [mine, theirs]
    assert made["routes"][2]["matchers"] == ['severity="CRIT"']
    assert made["group_by"] == ["cls"]


def test_severities_of_other_peoples_rules_are_routed_beside_the_formulas():
    made = config(receivers={"a": {"mail": {}}}, severities={"CRIT": "a", "critical": "a"})
    ours, theirs = made["route"]["routes"]
    assert theirs == {**ours, "matchers": ['severity="critical"']}


def test_what_alertmanager_calls_so_is_said_so():
    nights = {"name": "nights", "time_intervals": [{"times": [{"start_time": "22:00"}]}]}
    made = config(
        receivers={"null": {}},
        time_intervals=[nights],
        templates={"shop": "x"},
        tracing={"endpoint": "h:1"},
    )
    assert made["receivers"] == [{"name": "null"}]
    assert made["time_intervals"] == [nights]
    assert made["templates"] == ["alertmanager/templates/*.tmpl"]
    assert made["tracing"] == {"endpoint": "h:1"}
    assert not {"time_intervals", "templates", "tracing"} & {*config()}


def test_a_template_is_a_file_of_alertmanagers_alone():
    made = infra_alert.files(config(), {"shop": '{{ define "shop" }}x{{ end }}'})
    spec = made["alertmanager/templates/shop.tmpl"]
    assert spec["mode"] == "0600"
    assert "Managed by Salt" in spec["text"]


def test_a_receiver_that_sends_nothing_and_a_route_that_sees_all_are_allowed():
    parameters = {
        "alertmanager_receivers": {"null": {}, "blackhole": {}, "log": {"webhook": {"url": "x"}}},
        "alertmanager_routes": [
            {"receiver": "log", "continue": True},
            {"receiver": "null", "matchers": ["severity=none"]},
        ],
    }
    assert infra_alert.problems(parameters) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"alertmanager_routes": [{"receiver": "default", "matchers": []}]},
            "alertmanager_routes[0].matchers: expected a matcher",
        ),
        (
            {"alertmanager_routes": [{"receiver": "default", "match": {}, "continue": False}]},
            "alertmanager_routes[0].matchers: missing",
        ),
        (
            {"alertmanager_route": {"routes": [{"receiver": "x", "matchers": ["a=b"]}]}},
            "alertmanager_route.routes[0].receiver: expected a name",
        ),
        ({"alertmanager_route": {"routes": {"receiver": "x"}}}, "alertmanager_route.routes: exp"),
        ({"alertmanager_route": {"routes": [{"receiver": "default"}]}}, "alertmanager_route.rout"),
        ({"alertmanager_templates": {"a/b": "x"}}, "alertmanager_templates.a/b: expected a name"),
        ({"alertmanager_templates": {"a": " "}}, "alertmanager_templates.a: expected a template"),
        (
            {"alertmanager_receivers": {"a": {}}},
            "alertmanager_receivers.a: expected an integration",
        ),
        (
            {"alertmanager_receivers": {"a": {"slak": {}}}},
            "alertmanager_receivers.a.slak: expected one of mail",
        ),
        (
            {"alertmanager_receivers": {"a": {"mail": "x"}}},
            "alertmanager_receivers.a.mail: expected",
        ),
        (
            {
                "alertmanager_receivers": {"ops": {"mail": {}}},
                "alertmanager_severities": {"CRIT": ["op"]},
            },
            "alertmanager_severities.CRIT: expected a name of alertmanager_receivers, got 'op'",
        ),
        (
            {"alertmanager_routes": [{"matchers": ["a=b"], "receiver": "x"}]},
            "alertmanager_routes[0].receiver",
        ),
        ({"alertmanager_routes": [{"receiver": "default"}]}, "alertmanager_routes[0].matchers"),
        (
            {"alertmanager_routes": [{"matchers": ["a=b"], "routes": [{"receiver": "x"}]}]},
            "alertmanager_routes[0].routes[0].receiver",
        ),
        ({"alertmanager_route": {"receiver": "x"}}, "alertmanager_route.receiver"),
    ],
)
def test_a_fault_is_told_by_its_key(parameters, message):
    (found,) = infra_alert.problems(parameters)
    assert found.startswith(message)


def test_the_file_is_its_users_alone_and_never_shown():
    (spec,) = infra_alert.files(config(receivers={"a": {"webhook": {"url": "x"}}})).values()
    assert (spec["mode"], spec["user"], spec["secret"]) == ("0600", "prometheus", True)


SECRET = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=8, max_size=20)


@given(SECRET, st.sampled_from(["api_url", "auth_password", "bot_token", "routing_key", "url"]))
def test_secrets_are_known_wherever_they_stand(secret, key):
    made = config(receivers={"a": {"slack": [{"http_config": {key: secret}}]}})
    assert secret in infra_alert.secrets(made)


@pytest.mark.parametrize("secret", ["hunter2hunter2", "https://hooks.example.com/T0/B0/x"])
def test_a_tools_complaint_is_quoted_without_secrets(monkeypatch, secret):
    double(monkeypatch, checks, "run_check", return_value=(False, f"bad {secret}"))
    settings = {**EMPTY, "receivers": {"a": {"webhook": {"url": secret}}}}
    with pytest.raises(CommandExecutionError) as caught:
        infra_alert.check(settings)
    assert secret not in str(caught.value)
    assert str(caught.value).startswith("alertmanager_receivers.a: amtool refuses it")
