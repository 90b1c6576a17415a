"""What systemd reported is used again only while nothing happened to a unit."""

import itertools
import os
import time
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import yaml
from infra_formula import process, systemd
from infra_formula.daemon import health, units
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion

REPO = Path(__file__).resolve().parents[2]
UNITS = ("nginx.service", "vmetrics.service", "infra-units.timer")


class Machine:
    """systemd and its files; each query is counted, and what it answers can be set."""

    def __init__(self, root):
        self.queries = []
        self.actions = []
        self.running = root / "run/units"
        self.reloaded = root / "run/systemd-units-load"
        self.etc = root / "etc"
        self.lib = root / "lib"
        for folder in (self.running, self.etc / "multi-user.target.wants", self.lib):
            folder.mkdir(parents=True)
        (self.etc / "timers.target.wants").mkdir()
        self.reloaded.write_text("")
        self.shown = {}
        for unit in UNITS:
            (self.etc / unit).write_text("")
            (self.running / f"invocation:{unit}").symlink_to("1")
            well = {"ActiveState": "active", "NeedDaemonReload": "no"}
            self.shown[unit] = {**well, "MainPID": "7", "InvocationID": "1"}
        self.clock = itertools.count(10**18, 10**9)
        self.settle()

    def settle(self):
        """Give everything that was written since a time of its own: clocks of files are coarse."""
        for path in (self.running.parent, self.etc, self.lib):
            for each in (path, *path.rglob("*")):
                if not each.is_symlink() and each.stat().st_mtime_ns > 10**18 + 10**17:
                    self.touch(each)

    def touch(self, path):
        os.utime(path, ns=(moment := next(self.clock), moment))

    def run(self, command, **_options):
        if command[:2] != ["systemctl", "show"]:
            self.actions.append(command[1:])
            return {"retcode": 0, "stdout": "", "stderr": ""}
        names = command[command.index("--") + 1 :]
        self.queries.append(names)
        blocks = [self.shown.get(n, {"ActiveState": "inactive"}) for n in names]
        text = "\n\n".join("\n".join(f"{k}={v}" for k, v in b.items()) for b in blocks)
        return {"retcode": 0, "stdout": text, "stderr": ""}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    machine = Machine(tmp_path)
    monkeypatch.setattr(process, "run", create_autospec(process.run, side_effect=machine.run))
    monkeypatch.setattr(systemd, "_RUNNING", machine.running)
    monkeypatch.setattr(systemd, "_RELOADED", machine.reloaded)
    monkeypatch.setattr(systemd, "_ETC", machine.etc)
    monkeypatch.setattr(systemd, "_UNIT_FOLDERS", (machine.etc, machine.lib))
    return machine


def test_all_units_of_the_formula_are_queried_once(machine):
    for _ in range(3):
        assert systemd.unit_state("nginx")["pid"] == 7
        assert systemd.unit_state("vmetrics")["active"]
        assert systemd.SNAPSHOT.show("infra-units.timer")["ActiveState"] == "active"
    assert machine.queries == [sorted(UNITS)]


def test_another_unit_is_queried_by_itself(machine):
    systemd.unit_state("nginx")
    systemd.unit_state("cron")
    assert machine.queries[1:] == [["cron.service"]]


@pytest.mark.parametrize(
    "words",
    [
        ("start", "x"),
        ("stop", "x"),
        ("restart", "x"),
        ("reload", "x"),
        ("enable", "x"),
        ("disable", "--now", "x"),
        ("kill", "x"),
        ("daemon-reload",),
        ("reset-failed", "x"),
    ],
)
def test_an_action_on_any_unit_drops_what_is_known_of_all(machine, words):
    systemd.unit_state("nginx")
    systemd.systemctl(*words)
    machine.shown["nginx.service"]["MainPID"] = "8"
    assert systemd.unit_state("nginx")["pid"] == 8
    assert machine.actions == [list(words)]


def test_an_action_that_fails_drops_it_as_well(machine, monkeypatch):
    systemd.unit_state("nginx")

    def failing(command, **options):
        if command[1] == "restart":
            raise CommandFailed("systemctl: not found")
        return machine.run(command, **options)

    monkeypatch.setattr(process.run, "side_effect", failing)
    with pytest.raises(CommandFailed):
        systemd.systemctl("restart", "nginx")
    systemd.unit_state("nginx")
    assert len(machine.queries) == 2


def restarted(machine):
    (machine.running / "invocation:nginx.service").unlink()
    (machine.running / "invocation:nginx.service").symlink_to("2")


def stopped(machine):
    (machine.running / "invocation:nginx.service").unlink()


def read_again(machine):
    machine.reloaded.write_text("again")


def written(machine):
    (machine.etc / "nginx.service").write_text("[Service]")


def dropped_in(machine):
    (machine.etc / "nginx.service.d").mkdir()
    (machine.etc / "nginx.service.d/x.conf").write_text("[Service]")


def upgraded(machine):
    (machine.lib / "nginx.service").write_text("[Service]")


def enabled(machine):
    (machine.etc / "multi-user.target.wants/nginx.service").symlink_to("../nginx.service")


def timer_enabled(machine):
    (machine.etc / "timers.target.wants/x.timer").symlink_to("../x.timer")


@pytest.mark.parametrize(
    "event",
    [restarted, stopped, read_again, written, dropped_in, upgraded, enabled, timer_enabled],
)
def test_what_others_do_to_a_unit_is_seen(machine, event):
    systemd.unit_state("nginx")
    event(machine)
    machine.settle()
    machine.shown["nginx.service"]["MainPID"] = "8"
    assert systemd.unit_state("nginx")["pid"] == 8
    systemd.unit_state("nginx")
    assert len(machine.queries) == 2


def test_a_drop_in_that_is_written_in_place_is_seen(machine):
    dropped_in(machine)
    machine.settle()
    systemd.unit_state("nginx")
    (machine.etc / "nginx.service.d/x.conf").write_text("[Unit]")
    machine.settle()
    systemd.unit_state("nginx")
    assert len(machine.queries) == 2


@pytest.mark.parametrize(
    "state",
    [
        {"ActiveState": "activating", "NeedDaemonReload": "no"},
        {"ActiveState": "failed", "NeedDaemonReload": "no"},
        {"ActiveState": "reloading", "NeedDaemonReload": "no"},
        {"ActiveState": "active", "NeedDaemonReload": "yes"},
        {"ActiveState": "active"},
        {},
    ],
)
def test_only_an_answer_that_needs_no_action_is_used_again(machine, state):
    machine.shown["nginx.service"] = state or {"LoadState": "not-found"}
    for _ in range(2):
        systemd.unit_state("nginx")
    assert machine.queries == [sorted(UNITS), ["nginx.service"]]


def test_an_answer_is_used_for_half_a_minute_at_most(machine, monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", create_autospec(time.monotonic, return_value=now))
    systemd.unit_state("nginx")
    time.monotonic.return_value = now + 29
    systemd.unit_state("nginx")
    assert len(machine.queries) == 1
    time.monotonic.return_value = now + 31
    systemd.unit_state("nginx")
    assert len(machine.queries) == 2


def test_nothing_is_used_again_where_no_file_shows_that_a_unit_was_started(machine, monkeypatch):
    monkeypatch.setattr(systemd, "_RUNNING", machine.running / "missing")
    for _ in range(2):
        systemd.unit_state("nginx")
    assert machine.queries == [["nginx.service"]] * 2


def test_waiting_for_health_looks_at_the_unit_each_time(machine, monkeypatch):
    """A unit that answers nothing is looked at again, although nothing was done to it."""
    answers = iter([(None, "refused"), (None, "refused"), (200, "")])
    request = create_autospec(health.local_ports.request, side_effect=lambda *_a: next(answers))
    monkeypatch.setattr(health.local_ports, "request", request)
    listeners = create_autospec(health.local_ports.listeners, return_value=set())
    monkeypatch.setattr(health.local_ports, "listeners", listeners)
    daemon = {"unit": "vmetrics", "port": 8428, "health": "/health", "writes": []}
    health.wait_until_healthy(daemon)
    assert len([names for names in machine.queries if "vmetrics.service" in names]) >= 3


def test_the_last_look_of_a_run_is_never_answered_from_a_snapshot(machine):
    minion = Minion()
    units.record_healthy(minion, "nginx")
    shown = {"NRestarts": "2", "InvocationID": "2", "ActiveState": "active", "SubState": "running"}
    machine.shown["nginx.service"] = shown
    with pytest.raises(CommandFailed, match="nginx: systemd restarted it"):
        units.watch(minion, 0)


def test_the_snapshot_has_every_unit_of_a_component():
    """One that is missing takes a query of its own in each run."""
    rows = yaml.safe_load((REPO / "infra/components.yaml").read_text(encoding="utf-8"))
    daemons = [daemon for row in rows for daemon in row.get("daemons", {}).values()]
    named = {row["unit"] for row in [*daemons, *rows] if "unit" in row}
    named |= {path.name for path in (REPO / "infra").glob("*/files/*.timer")}
    assert {systemd.unit_name(unit) for unit in named} - set(systemd._UNITS) == set()
