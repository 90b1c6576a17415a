"""Drift: what a check finds, publishes and keeps, and how it gives way to an apply."""

import json
import os

import pytest
from infra_formula import paths
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.status import drift

CLEAN = {"result": True, "changes": {}, "comment": "up to date"}
RUN = {
    "file_|-a_|-a_|-managed": {"__id__": "a", "__sls__": "infra.dns", **CLEAN},
    "file_|-b_|-b_|-managed": {
        "__id__": "b", "__sls__": "infra.dns", "result": None,
        "changes": {"/etc/hosts": "-x\n+y"}, "comment": "1 record would change.",
    },
    "x_|-c_|-c_|-y": {"__id__": "c", "__sls__": "infra.register.publish", "result": False,
                     "changes": {}, "comment": "not there"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def state_dir(tmp_path, monkeypatch):
    (tmp_path / "textfile").mkdir()
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path)
    monkeypatch.setattr(drift, "_PAUSE", 0.01)
    return tmp_path


class Machine:
    """A minion whose runs return what they are given, and on which applies run at times."""

    def __init__(self, *runs, applies=()):
        self.runs, self.applies, self.calls = list(runs), list(applies), []
        functions = {"state.apply": self.apply, "saltutil.is_running": self.is_running}
        self.minion = Minion(functions, {}, {}, {})

    def apply(self, sls, **options):
        self.calls.append((sls, options))
        self.minion.context["retcode"] = 2
        return self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]

    def is_running(self, function):
        assert function == "state.*"
        return self.applies.pop(0) if self.applies else []


def check(*runs, **options):
    return drift.check(Machine(*runs, **options).minion)


def test_a_check_counts_by_component_and_changes_nothing():
    machine = Machine(RUN)
    found = drift.check(machine.minion)
    assert machine.calls == [("infra", {"test": True, "concurrent": True})]
    assert machine.minion.context["retcode"] == 0
    assert found["count"] == 2
    assert {c: [s["id"] for s in rows] for c, rows in found["components"].items()} == {
        "dns": ["b"], "register": ["c"],
    }  # fmt: skip
    assert found["components"]["dns"][0]["changes"] == ["/etc/hosts"]


def test_the_metrics_say_how_much_and_since_when(state_dir):
    check(RUN)
    text = (state_dir / "textfile/infra_drift.prom").read_text()
    assert 'infra_drift_states{component="dns",kind="changed"} 1\n' in text
    assert 'infra_drift_states{component="register",kind="failed"} 1\n' in text
    assert 'infra_drift_since_seconds{component="dns",kind="changed"}' in text
    assert "infra_drift_check_interval_seconds 86400\n" in text
    check({"a": {"__id__": "a", "__sls__": "infra.dns", **CLEAN}})
    text = (state_dir / "textfile/infra_drift.prom").read_text()
    assert "infra_drift_states{" not in text
    assert "infra_drift_check_seconds " in text


def test_the_age_is_that_of_the_first_check_that_found_it(state_dir, monkeypatch):
    monkeypatch.setattr(drift.time, "time", lambda: 1000.0)
    check(RUN)
    monkeypatch.setattr(drift.time, "time", lambda: 5000.0)
    found = check(RUN)
    assert found["components"]["dns"][0]["since"] == "1970-01-01T00:16:40Z"
    assert (
        'infra_drift_since_seconds{component="dns",kind="changed"} 1000'
        in (state_dir / "textfile/infra_drift.prom").read_text()
    )


def test_what_was_found_is_for_root_alone_and_holds_no_contents(state_dir):
    check(RUN)
    path = state_dir / "drift.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "+y" not in path.read_text()
    assert os.stat(state_dir / "textfile/infra_drift.prom").st_mode & 0o777 == 0o644


def test_a_check_waits_for_an_apply_and_does_not_look_meanwhile():
    machine = Machine(RUN, applies=[[{"pid": 1}]] * 3)
    drift.check(machine.minion)
    assert len(machine.calls) == 1
    assert not machine.applies


def test_what_was_found_during_an_apply_is_not_kept():
    other = {"z": {"__id__": "z", "__sls__": "infra.ntp", "result": None, "changes": {"x": 1}}}
    machine = Machine(other, RUN)

    def apply_during_the_first(sls, **options):
        if not machine.calls:
            machine.applies = [[{"pid": 1}]] * 2
        return Machine.apply(machine, sls, **options)

    machine.minion.salt["state.apply"] = apply_during_the_first
    found = drift.check(machine.minion)
    assert len(machine.calls) == 2
    assert set(found["components"]) == {"dns", "register"}


def test_with_applies_all_the_time_the_last_result_stays(state_dir):
    check(RUN)
    before = (state_dir / "drift.json").read_text()
    machine = Machine(RUN)

    def apply(sls, **options):
        machine.applies = [[{"pid": 1}]]
        return Machine.apply(machine, sls, **options)

    machine.minion.salt["state.apply"] = apply
    with pytest.raises(CommandFailed, match="during each look"):
        drift.check(machine.minion)
    assert (state_dir / "drift.json").read_text() == before


def test_an_apply_that_does_not_end_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(drift, "WAIT", 0.0)
    machine = Machine(RUN, applies=[[{"pid": 1}]] * 100)
    with pytest.raises(CommandFailed, match="An apply has been running"):
        drift.check(machine.minion)
    assert not machine.calls


@pytest.mark.parametrize("returned", [["Rendering SLS failed"], "no", None, {"a": "b"}])
def test_a_run_that_was_none_is_an_error_and_the_last_result_stays(state_dir, returned):
    check(RUN)
    before = (state_dir / "drift.json").read_text()
    with pytest.raises(CommandFailed, match="test=True"):
        check(returned)
    assert (state_dir / "drift.json").read_text() == before


def test_drift_says_what_the_last_check_found_by_its_code_too():
    minion = Minion({}, {}, {}, {})
    with pytest.raises(CommandFailed, match="infra_drift_check"):
        drift.report(minion)
    check(RUN)
    assert drift.report(minion)["count"] == 2
    assert minion.context["retcode"] == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"states": 1}', json.dumps({"states": {}})])
def test_a_damaged_record_is_none(state_dir, text):
    (state_dir / "drift.json").write_text(text)
    with pytest.raises(CommandFailed, match="No check"):
        drift.report(Minion({}, {}, {}, {}))
    assert check(RUN)["count"] == 2


def test_an_interval_is_one_of_those_of_the_parameter():
    with pytest.raises(CommandFailed, match="daily"):
        drift.check(Machine(RUN).minion, "yearly")
