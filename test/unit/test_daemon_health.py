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


STAMP = {"reload_counter": "last_timestamp_seconds"}


@pytest.mark.parametrize(
    ("verified_by", "after", "log"),
    [
        (DAEMON["reload"], "good 1\nreloads_total 5\n", ""),
        (DAEMON["reload"], "good 1\nreloads_total 4\n", "info: nothing changed, skipping\n"),
        (STAMP, "last_timestamp_seconds 99999999999\n", ""),
        ({"reload_log_message": "Vector has reloaded"}, "", "Vector has reloaded.\n"),
    ],
    ids=["counter", "nothing changed", "timestamp", "log message"],
)
def test_a_reload_is_verified(machine, verified_by, after, log):
    machine["request"].side_effect = [(200, "good 1\nreloads_total 4\n"), (200, after)]
    machine["journal"].return_value = log
    health.reload({**DAEMON, "reload": verified_by})
    machine["systemctl"].assert_called_once_with("reload", "vmetrics.service")


def test_a_timestamp_of_an_earlier_reload_does_not_verify_this_one(machine):
    machine["request"].return_value = (200, f"last_timestamp_seconds {int(time.time()) - 5}\n")
    with pytest.raises(CommandFailed):
        health.reload({**DAEMON, "reload": STAMP}, 0.01)


def test_a_configuration_that_is_not_loaded_is_reported_with_the_log(machine):
    machine["request"].return_value = (200, "good 0\nreloads_total 4\n")
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
