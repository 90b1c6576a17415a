"""Whether units stay up: what systemd reports, and what becomes of it at the end of an apply."""

import json
import re
import subprocess
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import process, systemd
from infra_formula.daemon import checks
from infra_formula.daemon import units as infra_units
from infra_formula.minion import Minion
from salt.exceptions import CommandExecutionError

from _states import infra_units as states

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / "infra/status/files/unit-restarts"


def block(state="active/running", restarts=0, invocation="a", entered=100.0, loaded="loaded"):
    active, sub = state.split("/")
    return (
        f"NRestarts={restarts}\nId=x.service\nLoadState={loaded}\nActiveState={active}\n"
        f"SubState={sub}\nInvocationID={invocation}\n"
        f"ActiveEnterTimestampMonotonic={int(entered * 1e6)}\n"
    )


def values(*state, **fields):
    return dict(line.split("=", 1) for line in block(*state, **fields).splitlines())


# -- what systemd reports ---


def test_properties_of_a_unit_are_read():
    assert infra_units.facts(values(restarts=3), 130.5) == {
        "loaded": True,
        "state": "active/running",
        "result": "success",
        "restarts": 3,
        "invocation": "a",
        "age": 30.5,
    }
    assert infra_units.facts(values("activating/auto-restart", loaded="not-found"), 130.5) == {
        "loaded": False,
        "state": "activating/auto-restart",
        "result": "success",
        "restarts": 0,
        "invocation": "a",
        "age": 0.0,
    }
    assert infra_units.facts({}, 1.0)["state"] == "unknown/unknown"


def test_units_are_asked_about_by_one_call(monkeypatch):
    calls = []

    def run_all(command, **_):
        calls.append(command)
        return {"stdout": block() + "\n" + block("failed/failed"), "stderr": "", "retcode": 0}

    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=run_all))
    found = infra_units.observe(["vmetrics", "certbot.timer", "vmetrics"])
    assert [(name, unit["state"]) for name, unit in found.items()] == [
        ("certbot.timer", "active/running"),
        ("vmetrics", "failed/failed"),
    ]
    assert [call[-2:] for call in calls] == [["certbot.timer", "vmetrics.service"]]
    assert infra_units.observe([]) == {}


def test_a_systemd_that_does_not_answer_is_an_error(monkeypatch):
    answer = {"stdout": "", "stderr": "Failed to connect to bus", "retcode": 1}
    monkeypatch.setattr(process, "run", create_autospec(process.run, return_value=answer))
    with pytest.raises(CommandExecutionError, match="Failed to connect to bus"):
        infra_units.observe(["vmetrics"])


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ({}, ""),
        ({"state": "reloading/reload"}, ""),
        ({"invocation": "b"}, ""),  # somebody restarted it
        ({"restarts": 7}, ""),  # before its health was asked
        ({"invocation": "b", "restarts": 1}, "systemd restarted it (once)"),
        ({"invocation": "b", "restarts": 22}, "systemd restarted it (22 times)"),
        ({"state": "activating/auto-restart"}, "it is activating/auto-restart"),
        ({"state": "failed/failed"}, "it is failed/failed"),
        (
            {"state": "activating/auto-restart", "result": "timeout"},
            "it is activating/auto-restart (timeout), although",
        ),
        ({"state": "inactive/dead"}, "it is inactive/dead"),
        ({"state": "deactivating/stop-sigterm"}, "it is deactivating/stop-sigterm"),
    ],
)
def test_a_unit_that_was_healthy_and_does_not_stay_up_is_noticed(seen, fault):
    unit = {**infra_units.facts(values(), 200.0), **seen}
    assert infra_units.instability(unit, "a").startswith(fault)
    assert bool(infra_units.instability(unit, "a")) is bool(fault)


ENTRY = st.one_of(
    st.text(max_size=20),
    st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists).map(json.dumps),
    st.dictionaries(st.just("UNIT"), st.one_of(st.text(max_size=8), st.integers())).map(json.dumps),
)


@given(st.lists(ENTRY))
def test_restarts_are_counted_by_unit_whatever_else_the_journal_prints(entries):
    entries = [entry for entry in entries if len(entry.splitlines()) == 1]
    good = [json.dumps({"UNIT": name, "__CURSOR": "x"}) for name in ("a.service", "a.service")]
    found = infra_units.count_by_unit("\n".join([*entries, *good]))
    assert found["a.service"] >= 2
    assert all(isinstance(name, str) and count > 0 for name, count in found.items())


# -- at the end of an apply ---


class Machine:
    """Units over time: each look gives the next of the prepared reports, the last one for good."""

    def __init__(self, *reports):
        self.reports = list(reports)
        self.now = 200.0
        self.looks = 0

    def observe(self, units):
        self.looks += 1
        report = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
        return {unit: infra_units.facts(values(**report), self.now) for unit in units}

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


def look(monkeypatch, *reports, healthy=(("vmetrics", "a"),), test=False, journal=""):
    machine = Machine(*reports)
    observe = create_autospec(infra_units.observe, side_effect=machine.observe)
    monkeypatch.setattr(infra_units, "observe", observe)
    logged = create_autospec(systemd.journal, return_value=journal)
    monkeypatch.setattr(systemd, "journal", logged)
    dunders = {
        "salt": {},
        "opts": {"test": test},
        "grains": {},
        "context": {infra_units._HEALTHY: dict(healthy)},
    }
    for name, value in dunders.items():
        monkeypatch.setattr(states, f"__{name}__", value, raising=False)
    monkeypatch.setattr(infra_units.time, "sleep", machine.sleep)
    return states.stable("x"), machine


def test_units_that_run_for_long_are_looked_at_once(monkeypatch):
    ret, machine = look(monkeypatch, {})
    assert ret == {
        "name": "x",
        "changes": {},
        "result": True,
        "comment": "1 units run without a restart.",
    }
    assert machine.looks == 1


def test_a_unit_that_was_just_started_is_watched_until_it_has_settled(monkeypatch):
    ret, machine = look(monkeypatch, {"entered": 199.0})
    assert ret["result"] is True
    assert machine.now - 199.0 == pytest.approx(8.0, abs=0.01)


PANIC = """\
2026-11-28T10:00:00.000Z\twarn\tlib/x.go:1\tcannot find file, it is not fatal yet
2026-11-28T10:00:01.000Z\tinfo\tlib/x.go:1\tloading failed parts
2026-11-28T10:00:02.000Z\tpanic\tlib/fs/mincore.go:18\tFATAL: cannot call mincore(ptr=1, 1)
panic: FATAL: cannot call mincore(ptr=1, 1)
goroutine 1 [running]:
vmetrics.service: Main process exited, code=exited, status=2/INVALIDARGUMENT
vmetrics.service: Failed with result 'exit-code'.
2026-11-28T10:00:12.000Z\tpanic\tlib/fs/mincore.go:18\tFATAL: cannot call mincore(ptr=1, 1)
"""


@pytest.mark.parametrize(
    "later",
    [
        {"state": "activating/auto-restart"},
        {"state": "failed/failed"},
        {"invocation": "b", "restarts": 1, "entered": 204.0},
    ],
)
def test_a_unit_that_dies_while_it_is_watched_fails_the_run(monkeypatch, later):
    ret, machine = look(monkeypatch, *[{"entered": 199.0}] * 20, later, journal=PANIC)
    assert ret["result"] is False
    assert ret["comment"].startswith("vmetrics: ")
    assert machine.now < 207.0
    # The panic's line, not the warnings beside it, and not once per restart.
    assert ret["comment"].count("lib/fs/mincore.go:18\tFATAL: cannot call mincore(ptr=1, 1)") == 1
    assert "warn" not in ret["comment"]
    assert "Main process exited" not in ret["comment"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_unit_that_is_about_to_end_may_log_why_but_not_for_ever(monkeypatch, ends):
    stopping = {"state": "deactivating/stop-sigterm"}
    later = [{"state": "activating/auto-restart"}] if ends else []
    ret, machine = look(monkeypatch, *[stopping] * 3, *later)
    assert ret["result"] is False
    assert ("auto-restart" in ret["comment"]) is ends
    assert machine.now - 200.0 == pytest.approx(0.75 if ends else 10.0)


def test_each_unit_is_named_on_a_line_of_its_own(monkeypatch):
    both = (("vlogs", "a"), ("vmetrics", "a"))
    ret, _ = look(monkeypatch, {"state": "failed/failed"}, healthy=both)
    assert [line.partition(":")[0] for line in ret["comment"].splitlines()] == ["vlogs", "vmetrics"]


def test_without_a_health_check_there_is_nothing_to_look_at(monkeypatch):
    ret, machine = look(monkeypatch, {"state": "failed/failed"}, healthy=())
    assert (ret["result"], machine.looks) == (True, 1)


def test_a_test_run_looks_at_nothing(monkeypatch):
    ret, machine = look(monkeypatch, {"state": "failed/failed"}, test=True)
    assert (ret["result"], ret["changes"], machine.looks) == (True, {}, 0)


def test_what_answered_is_recorded_with_its_invocation(monkeypatch):
    show = create_autospec(systemd.show, return_value={"nginx.service": {"InvocationID": "z"}})
    monkeypatch.setattr(systemd, "show", show)
    minion = Minion()
    assert infra_units.healthy(minion) == {}
    infra_units.record_healthy(minion, "nginx")
    assert infra_units.healthy(minion) == {"nginx": "z"}


def included(sls, seen=()):
    """What an SLS includes, itself and what that includes too; by its text, whatever the pillar."""
    if sls in seen:
        return set()
    path = REPO / sls.replace(".", "/")
    path = path / "init.sls" if path.is_dir() else path.with_suffix(".sls")
    found = re.findall(r"^  - (infra\.[\w.]+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {sls}.union(*(included(name, (*seen, sls)) for name in found))


def test_no_state_waits_for_the_last_look():
    """Salt 3007 and later let `require: sls: X` wait for all that X includes."""
    texts = [path.read_text(encoding="utf-8") for path in (REPO / "infra").rglob("*.*")
             if path.suffix in (".sls", ".jinja")]  # fmt: skip
    awaited = {
        name for text in texts for name in re.findall(r"- sls: (infra\.[\w.]+)$", text, re.M)
    }
    awaited -= {"infra.register", "infra.clean"}  # of orchestrations: whole runs
    assert "infra.daemon" in awaited
    assert [name for name in awaited if "infra.daemon.stable" in included(name)] == []


@pytest.mark.parametrize("component", ["vmetrics", "nginx", "dns", "ntp", "vector", "grafana"])
def test_each_component_ends_with_the_last_look(component):
    assert "infra.daemon.stable" in included(f"infra.{component}")


# -- the lines of a program that tell why ---


@pytest.mark.parametrize(
    ("output", "quoted"),
    [
        (PANIC.splitlines()[0] + "\n", PANIC.splitlines()[0]),
        ("level=warn msg='cannot x'\nlevel=error msg='cannot y'\n", "level=error msg='cannot y'"),
        ("fatal error: out of memory\nlevel=error msg=no\n", "fatal error: out of memory"),
        ("ts=2026-11-28T10:00:00Z level=error err=x\nts=2026-11-28T10:00:09Z level=error err=x\n",
         "ts=2026-11-28T10:00:09Z level=error err=x"),
        ("x.service: error: Main process exited\n", "x.service: error: Main process exited"),
        ("\n", "(no output)"),
    ],
)  # fmt: skip
def test_the_telling_lines_are_quoted(output, quoted):
    assert checks.extract_error_lines(output) == quoted


def test_of_a_journal_the_end_is_quoted():
    lines = [f"2026-11-28T10:00:{n:02} error: cannot scrape {n}" for n in range(9)]
    journal = [
        *lines,
        "x.service: Failed with result 'timeout'.",
        "x.service: Started x.",
        lines[0],
    ]
    quoted = checks.extract_error_lines("\n".join(journal), last=True)
    assert quoted.endswith(f"x.service: Failed with result 'timeout'. | {lines[0]}")
    assert len(quoted.split(" | ")) == 6
    assert checks.extract_error_lines("\n".join(journal)).startswith(lines[0])


@given(st.text())
def test_of_any_output_something_short_is_quoted(output):
    quoted = checks.extract_error_lines(output)
    assert quoted
    assert len(quoted) <= 6 * 503


# -- the script that writes the metrics ---


def test_restarts_become_metrics(tmp_path):
    program = tmp_path / "systemctl"
    shown = [
        "NRestarts=3\nId=vmetrics.service\nLoadState=loaded\n",
        'NRestarts=1\nId=x"\\n{}.service\nLoadState=loaded\n',
        "NRestarts=0\nId=nothing.service\nLoadState=not-found\n",
        "Id=chrony.service\nLoadState=loaded\nNRestarts=0\n",
    ]
    text = "\n".join(shown)
    program.write_text(f"#!/bin/sh\necho \"$@\" >{tmp_path}/asked\ncat <<'E'\n{text}E\n")
    program.chmod(0o755)
    target = tmp_path / "infra_units.prom"
    subprocess.run(
        [SCRIPT, target, "vmetrics", "chrony"],
        check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    lines = [x for x in target.read_text().splitlines() if not x.startswith("#")]
    assert lines == [
        'infra_unit_restarts_total{unit="vmetrics.service"} 3',
        'infra_unit_restarts_total{unit="chrony.service"} 0',
    ]
    assert target.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "asked").read_text().endswith("-- vmetrics chrony\n")
    assert {path.name for path in tmp_path.iterdir()} == {"asked", "systemctl", target.name}


def test_metrics_stay_as_they_were_where_systemd_does_not_answer(tmp_path):
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    target = tmp_path / "infra_units.prom"
    target.write_text("as before\n")
    done = subprocess.run(
        [SCRIPT, target, "vmetrics"], check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert done.returncode != 0
    assert target.read_text() == "as before\n"
    assert {path.name for path in tmp_path.iterdir()} == {"systemctl", target.name}
