"""A daemon's health, restart and reload, with doubles of systemd and of its port."""

import math
import time

import pytest
from infra_formula import systemd
from infra_formula.daemon import health, local_ports
from infra_formula.errors import CommandFailed
from support.doubles import double

DAEMON = {
    "unit": "vmetrics", "port": 8428, "port_parameter": "vmetrics_port", "health": "/health",
    "writes": [], "writes_parameter": "infra_data",
    "reload": {"success_metric": "good", "reload_counter": "reloads_total"},
}  # fmt: skip
STATE = {"active": True, "state": "active/running", "pid": 7}


@pytest.fixture
def machine(monkeypatch):
    """A machine on which the daemon is healthy; tests change what it answers."""
    returns = {
        (systemd, "systemctl"): None,
        (systemd, "unit_state"): STATE,
        (systemd, "restarts"): 0,
        (systemd, "has_process"): False,
        (systemd, "journal"): "",
        (local_ports, "request"): (200, "good 1\nreloads_total 4\n"),
        (local_ports, "listeners"): {7},
        (local_ports, "listens"): False,
        (local_ports, "process_name"): "nginx",
    }
    double(monkeypatch, time, "sleep")
    return {
        name: double(monkeypatch, module, name, return_value=value)
        for (module, name), value in returns.items()
    }


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({}, ""),
        ({"unit_state": {**STATE, "active": False, "state": "failed/failed"}},
         "its unit is failed/failed"),
        ({"unit_state": {**STATE, "pid": 0}}, "its unit is active/running"),
        ({"request": (None, "refused")},
         "no answer from port 8428/health; its unit is active/running"),
        ({"request": (503, "")}, "HTTP 503 from port 8428/health; its unit is active/running"),
        ({"listeners": {8}}, "another program answers on port 8428"),
        ({"listeners": {8}, "has_process": True}, ""),
        ({"listeners": set()}, ""),
    ],
)  # fmt: skip
def test_a_daemon_is_healthy_if_its_own_process_answers(machine, answers, problem):
    for name, answer in answers.items():
        machine[name].return_value = answer
    assert health.health_problem(DAEMON) == problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"data": {"groups": [{"name": "a"}]}}', ""),
        ('{"data": {"groups": []}}', "it has loaded no rules"),
        ('{"data": {"groups": null}}', "it has loaded no rules"),
        ("{}", "it has loaded no rules"),
        ("not found", "it has loaded no rules"),
    ],
)
def test_a_daemon_that_loaded_nothing_of_what_it_is_there_for_is_unhealthy(
    machine, answer, problem
):
    machine["request"].side_effect = [(200, ""), (200, answer)]
    expects = {"path": "/api/v1/rules", "key": ["data", "groups"], "what": "rules"}
    assert health.health_problem({**DAEMON, "expects": expects}) == problem


def test_no_other_process_is_looked_at_if_the_daemon_itself_listens(machine):
    machine["listens"].return_value = True
    assert health.health_problem(DAEMON) == ""
    machine["listens"].assert_called_once_with(7, 8428)
    machine["listeners"].assert_not_called()


def test_a_restart_waits_until_the_daemon_is_healthy(machine):
    machine["request"].side_effect = [(None, "refused"), (503, ""), (200, "")]
    health.restart(DAEMON)
    words = [call.args[0] for call in machine["systemctl"].mock_calls]
    assert words == ["daemon-reload", "reset-failed", "restart"]
    assert machine["request"].call_count == 3


def test_a_daemon_that_does_not_get_healthy_is_reported_with_port_and_log(machine, tmp_path):
    machine["request"].return_value = (None, "refused")
    machine["listeners"].return_value = {8}
    machine["journal"].return_value = "level=info starting\ncannot listen on :8428\n"
    with pytest.raises(CommandFailed) as caught:
        health.wait_until_healthy({**DAEMON, "writes": [str(tmp_path)]}, 0)
    assert str(caught.value) == (
        "vmetrics: no answer from port 8428/health; its unit is active/running; vmetrics_port: "
        "port 8428 is taken by nginx (process 8); stop it or choose another port; its journal: "
        "cannot listen on :8428"
    )


def test_a_daemon_that_keeps_restarting_is_not_waited_for(machine):
    machine["unit_state"].return_value = {**STATE, "active": False, "state": "activating/auto"}
    machine["restarts"].return_value = 3
    with pytest.raises(CommandFailed, match="vmetrics: its unit is activating/auto"):
        health.wait_until_healthy(DAEMON, 600)
    assert machine["unit_state"].call_count == 2  # once for its health, once for its port


STAMP = {"reload_counter": "last_timestamp_seconds", "success_metric": "good"}
COUNTED = {
    "success_metric": "good", "reload_counter": "stamp", "error_counter": "errors",
    "attempt_counter": "attempts",
}  # fmt: skip
HEALTHY = "good 1\nreloads_total 4\n"
BROKEN = "good 0\nstamp 70\nerrors 3\nattempts 8\n"


@pytest.mark.parametrize(
    ("verified_by", "answers", "log"),
    [
        (DAEMON["reload"], [HEALTHY, "good 1\nreloads_total 5\n"], ""),
        (DAEMON["reload"], [HEALTHY, HEALTHY], "info: nothing changed, skipping\n"),
        (DAEMON["reload"], ["good 0\nreloads_total 4\n", "good 1\nreloads_total 4\n"], ""),
        (STAMP, ["good 1\nlast_timestamp_seconds 1.5\n",
                 "good 1\nlast_timestamp_seconds 1.75\n"], ""),
        ({"reload_log_message": "Vector has reloaded"}, ["", ""], "Vector has reloaded.\n"),
        # It reports the failure of an earlier reload until it has read the repaired file.
        (STAMP, ["good 0\nlast_timestamp_seconds 1.5\n"] * 4
         + ["good 1\nlast_timestamp_seconds 9.5\n"], ""),
        (COUNTED, [BROKEN, BROKEN, BROKEN.replace("attempts 8", "attempts 9"),
                   "good 1\nstamp 71\nerrors 3\nattempts 9\n"], ""),
        # It does not answer yet.
        (STAMP, ["", "", "good 1\nlast_timestamp_seconds 1.5\n",
                 "good 1\nlast_timestamp_seconds 2.5\n"], ""),
    ],
    ids=["counter", "nothing changed", "good again", "timestamp", "log message",
         "earlier failure", "earlier failure, counted", "starting"],
)  # fmt: skip
def test_a_reload_is_verified(machine, verified_by, answers, log):
    machine["request"].side_effect = [(200, answer) for answer in answers]
    machine["journal"].return_value = log
    health.reload({**DAEMON, "reload": verified_by})
    assert machine["request"].call_count == len(answers)
    sent = {call.args for call in machine["systemctl"].mock_calls}
    assert sent == {("reload", "vmetrics.service")}


@pytest.mark.parametrize(("ports", "is_reloaded"), [({9093}, False), ({9093, 8428}, True)])
def test_a_daemon_that_still_runs_on_another_port_is_not_reloaded(
    machine, monkeypatch, ports, is_reloaded
):
    """Its port changes in the same run: it reads its configuration when it starts anew."""
    machine["request"].return_value = (None, "refused")
    monkeypatch.setattr(health, "_START_SECONDS", 0.0)
    double(monkeypatch, local_ports, "ports_of", return_value=ports)
    if is_reloaded:
        with pytest.raises(CommandFailed):
            health.reload({**DAEMON, "reload": STAMP}, 0.01)
    else:
        health.reload({**DAEMON, "reload": STAMP})
    assert machine["systemctl"].called is is_reloaded


def test_a_reload_that_changes_nothing_ended_when_a_second_begins(machine):
    answers = ["good 1\nstamp 70\nerrors 3\nattempts 8\n"]
    answers += [answers[0].replace("attempts 8", f"attempts {count}") for count in (9, 9, 10)]
    machine["request"].side_effect = [(200, answer) for answer in answers]
    health.reload({**DAEMON, "reload": COUNTED})
    assert machine["systemctl"].call_count == 2


def test_an_attempt_that_begins_is_no_success_before_it_ended(machine):
    before = "good 1\nstamp 70\nerrors 3\nattempts 8\n"
    begun = before.replace("attempts 8", "attempts 9")
    failed = "good 0\nstamp 70\nerrors 4\nattempts 9\n"
    machine["request"].side_effect = [(200, answer) for answer in (before, begun, begun, failed)]
    with pytest.raises(CommandFailed, match="did not load its new configuration"):
        health.reload({**DAEMON, "reload": COUNTED})


def test_a_failure_after_a_failure_is_one(machine):
    failed = BROKEN.replace("errors 3", "errors 4").replace("attempts 8", "attempts 9")
    machine["request"].side_effect = [(200, BROKEN), (200, failed)]
    with pytest.raises(CommandFailed, match="did not load its new configuration"):
        health.reload({**DAEMON, "reload": COUNTED})


def test_a_timestamp_of_an_earlier_reload_does_not_verify_this_one(machine):
    machine["request"].return_value = (200, "good 1\nlast_timestamp_seconds 5\n")
    with pytest.raises(CommandFailed):
        health.reload({**DAEMON, "reload": STAMP}, 0.01)


@pytest.mark.parametrize("good", [0, 1])
def test_a_program_that_counts_failures_and_logs_nothing_is_believed_in_the_end(machine, good):
    machine["request"].return_value = (200, f"good {good}\nreloads_total 4\nerrors 1\n")
    daemon = {**DAEMON, "reload": {**DAEMON["reload"], "error_counter": "errors"}}
    if good:
        health.reload(daemon, 0.01)
    else:
        with pytest.raises(CommandFailed):
            health.reload(daemon, 0.01)


def test_a_configuration_that_is_not_loaded_is_reported_with_the_log(machine):
    machine["request"].side_effect = [(200, HEALTHY), (200, "good 0\nreloads_total 4\n")]
    machine["journal"].return_value = "error: cannot parse prometheus.yml\n"
    message = "vmetrics did not load its new configuration; its journal: error: cannot parse"
    with pytest.raises(CommandFailed, match=message):
        health.reload(DAEMON)


def test_a_daemon_that_does_not_run_is_not_reloaded(machine):
    machine["unit_state"].return_value = {**STATE, "active": False}
    health.reload(DAEMON)
    machine["systemctl"].assert_not_called()


def test_metrics_without_labels_are_read():
    body = '# HELP a\na 1\nb 2.5e3 1700000000000\nc{x="y"} 3\nd NaN\nmalformed\n'
    answer = (200, body)
    with pytest.MonkeyPatch.context() as patch:
        double(patch, local_ports, "request", return_value=answer)
        found = health.metrics(1)
    assert math.isnan(found.pop("d"))
    assert found == {"a": 1.0, "b": 2500.0}
