"""Services that read their files when they start: restarted in the run after a killed one, too."""

from unittest.mock import create_autospec

import pytest
from infra_formula import paths, systemd
from infra_formula.daemon import started_files as infra_service
from salt.exceptions import CommandExecutionError

from _states import infra_service as states


def state(active, replaced=False):
    return {"active": active, "replaced": replaced}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A service that runs, with one file; returns what tests change."""
    path = tmp_path / "a.conf"
    path.write_text("1")
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    running = create_autospec(systemd.unit_state, return_value=state(active=True))
    systemctl = create_autospec(systemd.systemctl)
    monkeypatch.setattr(systemd, "unit_state", running)
    monkeypatch.setattr(systemd, "systemctl", systemctl)
    opts = {"test": False}
    monkeypatch.setattr(states, "__opts__", opts, raising=False)
    return {
        "running": running,
        "systemctl": systemctl,
        "opts": opts,
        "path": path,
        "files": [str(path), str(tmp_path / "none")],
    }


def restarts(machine):
    return [c.args for c in machine["systemctl"].call_args_list].count(("restart", "x.service"))


def test_what_runs_is_restarted_once_for_each_change(machine):
    for text in ("1", "2"):
        machine["path"].write_text(text)
        assert states.current("x", machine["files"])["changes"]
        assert states.current("x", machine["files"])["changes"] == {}
    assert restarts(machine) == 2


def test_a_run_that_was_killed_before_the_restart_is_made_up_for(machine):
    states.current("x", machine["files"])
    machine["path"].write_text("2")  # and then the run was killed
    assert states.current("x", machine["files"])["changes"]
    assert restarts(machine) == 2


def test_what_runs_is_restarted_when_its_program_was_upgraded(machine):
    """Debian's dnsmasq-base does not restart dnsmasq, and our files are the same."""
    states.current("x", machine["files"])
    machine["running"].return_value = state(active=True, replaced=True)
    machine["opts"]["test"] = True
    assert states.current("x", machine["files"])["result"] is None
    machine["opts"]["test"] = False
    told = states.current("x", machine["files"])
    assert told["changes"] == {"x": "restarted: its program was upgraded"}
    machine["running"].return_value = state(active=True)
    assert states.current("x", machine["files"])["changes"] == {}
    assert restarts(machine) == 2


def test_one_that_fails_to_restart_is_tried_again(machine):
    systemctl = machine["systemctl"]
    systemctl.side_effect = CommandExecutionError("systemctl restart x.service: no")
    told = states.current("x", machine["files"])
    assert (told["result"], told["changes"]) == (False, {})
    systemctl.side_effect = None
    assert states.current("x", machine["files"])["changes"]


def test_what_does_not_run_is_left_to_be_started(machine):
    machine["running"].return_value = state(active=False)
    assert states.current("x", machine["files"])["changes"] == {}
    machine["running"].return_value = state(active=True)
    assert states.current("x", machine["files"])["changes"] == {}
    assert restarts(machine) == 0


def test_beforehand_it_is_told_and_nothing_is_done(machine):
    machine["opts"]["test"] = True
    assert states.current("x", machine["files"])["result"] is None
    assert restarts(machine) == 0
    assert infra_service.started_with("x") == ""


def test_what_is_remembered_may_be_damaged(machine):
    states.current("x", machine["files"])
    (paths.STATE_DIR / "started/x").write_bytes(b"\xff\x00")
    assert states.current("x", machine["files"])["changes"]
    assert states.current("x", machine["files"])["changes"] == {}


@pytest.mark.parametrize(
    ("shown", "left_alone"),
    [
        ({"ActiveState": "active", "UnitFileState": "enabled"}, True),
        ({"ActiveState": "active", "UnitFileState": "disabled"}, False),
        ({"ActiveState": "active", "UnitFileState": "enabled-runtime"}, False),
        ({"ActiveState": "activating", "UnitFileState": "enabled"}, False),
        ({"ActiveState": "failed", "UnitFileState": "enabled"}, False),
        ({}, False),  # systemd does not answer
    ],
)
def test_a_unit_that_runs_and_is_enabled_is_looked_at_once_and_left_alone(
    monkeypatch, shown, left_alone
):
    show = create_autospec(systemd.show, return_value={"x.service": shown})
    monkeypatch.setattr(systemd, "show", show)
    calls = []

    def running(name, enable):
        calls.append((name, enable))
        return {"name": name, "changes": {"x": True}, "result": True, "comment": "started"}

    monkeypatch.setattr(states, "__states__", {"service.running": running}, raising=False)
    ret = states.running("x")
    assert show.call_count == 1
    assert calls == ([] if left_alone else [("x", True)])
    assert bool(ret["changes"]) is not left_alone


def test_a_unit_that_does_not_start_says_why(monkeypatch):
    """What systemd says, "Job for x.service failed", sends the reader elsewhere."""
    monkeypatch.setattr(
        systemd, "show", create_autospec(systemd.show, return_value={"x.service": {}})
    )
    log = 'x: [emerg] host not found in upstream "a" in /etc/nginx/conf.d/a.conf:3'
    monkeypatch.setattr(systemd, "journal", create_autospec(systemd.journal, return_value=log))
    failed = {"name": "x", "changes": {}, "result": False, "comment": "Job for x.service failed"}
    start = create_autospec(lambda name, enable: None, return_value=failed)
    monkeypatch.setattr(states, "__states__", {"service.running": start}, raising=False)
    assert states.running("x")["comment"] == f"Job for x.service failed; its journal: {log}"
